"""Access tokens as apps get and lose them: client credentials, rotating pairs, organisations."""

from collections.abc import Iterator
from typing import cast

import httpx
import pytest

from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.shop import Shop
from reconciler.simulator.world import World
from tests.simulator.domain import Clock, TinyShop

DOMAIN = "tiny.myshopify.com"
OAUTH = "/admin/oauth/access_token"
APP = {"client_id": "app", "client_secret": "hush"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> World:
    world = World(clock)
    shop = cast("Shop", TinyShop(DOMAIN))
    world.add_shop(
        DOMAIN, client_id="app", client_secret="hush", refresh_token="r1", scopes=["write_customers"], shop=shop
    )
    return world


@pytest.fixture
def http(world: World) -> Iterator[httpx.Client]:
    with SimulatorServer(world) as server, httpx.Client(base_url=server.url(DOMAIN)) as http:
        yield http


def status(http: httpx.Client, token: str) -> int:
    path = "/admin/api/2026-10/graphql.json"
    return http.post(path, json={"query": "{ __typename }"}, headers={"X-Shopify-Access-Token": token}).status_code


def test_client_credentials_give_a_token_for_a_day(http: httpx.Client, clock: Clock) -> None:
    reply = http.post(OAUTH, data={"grant_type": "client_credentials", **APP}).json()
    assert (reply["scope"], reply["expires_in"]) == ("write_customers", 86399)
    assert status(http, reply["access_token"]) == 200
    clock.now += 86_400
    assert status(http, reply["access_token"]) == 401


def test_client_credentials_end_at_the_border_of_the_organisation(http: httpx.Client, world: World) -> None:
    world.shops[DOMAIN].tokens.same_organisation = False
    refused = http.post(OAUTH, data={"grant_type": "client_credentials", **APP})
    assert refused.status_code == 400
    assert "shop_not_permitted: Client credentials cannot be performed on this shop." in refused.text


def test_a_wrong_secret_or_grant_is_refused(http: httpx.Client) -> None:
    wrong = http.post(OAUTH, json={"grant_type": "client_credentials", "client_id": "app", "client_secret": "no"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    other = http.post(OAUTH, data={"grant_type": "password", **APP})
    assert (other.status_code, other.json()["error"]) == (400, "unsupported_grant_type")


def test_a_refresh_rotates_both_tokens_and_may_be_repeated_until_the_new_pair_is_used(http: httpx.Client) -> None:
    first = http.post(OAUTH, data={"grant_type": "refresh_token", "refresh_token": "r1", **APP}).json()
    assert first["expires_in"] == 3600
    assert first["refresh_token"] != "r1"
    again = http.post(OAUTH, data={"grant_type": "refresh_token", "refresh_token": "r1", **APP}).json()
    assert again == first
    assert status(http, first["access_token"]) == 200
    lost = http.post(OAUTH, data={"grant_type": "refresh_token", "refresh_token": "r1", **APP})
    assert (lost.status_code, lost.json()["error"]) == (401, "invalid_grant")
    second = http.post(OAUTH, data={"grant_type": "refresh_token", "refresh_token": first["refresh_token"], **APP})
    assert second.json()["access_token"] != first["access_token"]


def test_revoked_tokens_end_immediately(http: httpx.Client, world: World) -> None:
    world.shops[DOMAIN].tokens.allow("fixed")
    assert status(http, "fixed") == 200
    world.shops[DOMAIN].tokens.revoke_all()
    assert status(http, "fixed") == 401


def test_the_token_endpoint_fails_on_demand_too(http: httpx.Client, world: World) -> None:
    world.shops[DOMAIN].faults.add("status", on="oauth", status=503)
    world.shops[DOMAIN].faults.add("lost_after", on="oauth")
    ask = {"grant_type": "client_credentials", **APP}
    assert http.post(OAUTH, data=ask).status_code == 503
    with pytest.raises(httpx.TransportError):
        http.post(OAUTH, data=ask)
    assert http.post(OAUTH, data=ask).status_code == 200
    assert world.shops[DOMAIN].tokens.issued == 2
