"""What a shop needs is made once, found again, and never made wrong silently."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from reconciler.errors import PermanentError, SetupError, TemporaryError
from reconciler.ports import ShopMaker, ShopReader
from reconciler.shopify.api.auth import FixedToken
from reconciler.shopify.api.client import SHOP_ID, ShopClient
from reconciler.shopify.setup import ShopSetup
from tests.shopify.conftest import DOMAIN, SSL, TOKEN, Acme
from tests.shopify.scripted import scripted

PORTS: tuple[type[ShopReader], type[ShopMaker]] = (ShopSetup, ShopSetup)  # mypy holds it to them
HOOK = "https://hooks.example.com/webhooks/shopify/acme"


@pytest.fixture
def setup(acme: Acme) -> ShopSetup:
    return ShopSetup(acme.client())


def test_the_facts_of_a_shop(acme: Acme, setup: ShopSetup) -> None:
    facts = setup.facts()
    assert (facts.domain, facts.api_version, facts.restore_rate) == (DOMAIN, "2026-10", 1000)
    assert facts.name
    assert facts.scopes == acme.sim.shop.scopes
    assert facts.supported_versions == ("2026-01", "2026-04", "2026-07", "2026-10")
    assert facts.server_time is not None
    assert acme.sim.mutations == 0


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_the_time_of_a_shop_has_a_zone(zone: str) -> None:
    """`doctor` ended with a TypeError where a proxy wrote -0000."""
    body = {"data": {"shop": {"id": "gid://shopify/Shop/1"}}}
    transport = httpx.MockTransport(
        lambda _request: httpx.Response(200, json=body, headers={"Date": f"Mon, 30 Nov 2026 09:00:00 {zone}"})
    )
    client = ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", transport=transport)
    assert client.run(SHOP_ID).server_time == datetime(2026, 11, 30, 9, tzinfo=UTC)


def test_the_version_that_really_answered_is_reported(acme: Acme) -> None:
    assert ShopSetup(acme.client(api_version="2024-10")).facts().api_version == "2026-01"


def test_the_definition_is_made_once_pinned_and_unique(acme: Acme, setup: ShopSetup) -> None:
    assert setup.definition("clerk", "user_id") is None
    setup.create_definition("clerk", "user_id")
    setup.create_definition("clerk", "user_id")
    found = setup.definition("clerk", "user_id")
    assert found is not None
    assert (found.namespace, found.key, found.type, found.unique, found.pinned) == (
        "clerk",
        "user_id",
        "id",
        True,
        True,
    )
    assert len(acme.sim.shop.definitions) == 1


def test_a_definition_of_another_type_is_named_and_left_alone(acme: Acme, setup: ShopSetup) -> None:
    acme.sim.shop.metafield_definition_create(
        definition={"name": "x", "namespace": "clerk", "key": "user_id", "ownerType": "CUSTOMER", "type": "url"}
    )
    with pytest.raises(SetupError, match="of type url, but a back-link needs type id") as caught:
        setup.create_definition("clerk", "user_id")
    assert "backlink" in caught.value.hint


def test_where_no_more_can_be_pinned_it_is_made_unpinned(acme: Acme, setup: ShopSetup) -> None:
    error = {"code": "PINNED_LIMIT_REACHED", "field": ["definition", "pin"], "message": "Pinned limit reached"}
    body = {"data": {"metafieldDefinitionCreate": {"createdDefinition": None, "userErrors": [error]}}}
    acme.sim.faults.add("status", on="metafieldDefinitionCreate", status=200, body=json.dumps(body))
    setup.create_definition("clerk", "user_id")
    found = setup.definition("clerk", "user_id")
    assert found is not None
    assert not found.pinned


def test_a_definition_that_shopify_refuses_is_said_to_be(setup: ShopSetup) -> None:
    with pytest.raises(PermanentError, match=r"refuses the metafield definition .*too short"):
        setup.create_definition("clerk", "x")


def test_subscriptions_are_made_once(acme: Acme, setup: ShopSetup) -> None:
    assert setup.subscriptions() == ()
    setup.subscribe("CUSTOMERS_UPDATE", HOOK)
    setup.subscribe("CUSTOMERS_UPDATE", HOOK)
    setup.subscribe("CUSTOMERS_DELETE", HOOK)
    found = setup.subscriptions()
    assert {(each.topic, each.uri) for each in found} == {("CUSTOMERS_UPDATE", HOOK), ("CUSTOMERS_DELETE", HOOK)}


def test_an_address_that_shopify_does_not_take_is_refused_in_its_words(setup: ShopSetup) -> None:
    with pytest.raises(PermanentError, match=r"refuses the webhook .*http://"):
        setup.subscribe("CUSTOMERS_UPDATE", "http://hooks.example.com/x")


def test_all_pages_of_subscriptions_are_read(acme: Acme, setup: ShopSetup) -> None:
    for n in range(230):
        acme.sim.shop.webhook_subscription_create(
            topic="CUSTOMERS_UPDATE", webhook_subscription={"uri": f"{HOOK}/{n}", "format": "JSON"}
        )
    assert len({each.uri for each in setup.subscriptions()}) == 230


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], [None]])
def test_pages_that_go_in_a_circle_are_no_list(cursors: list[str | None]) -> None:
    pages = [{"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": each}} for each in cursors]
    with scripted() as shop:
        for page in pages:
            shop.then(200, json.dumps({"data": {"webhookSubscriptions": page}}).encode())
        client = ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", ssl_context=SSL, admin_url=shop.url)
        with pytest.raises(TemporaryError, match="no cursor of its own"):
            ShopSetup(client).subscriptions()
        client.close()
        assert len(shop.seen) == len(cursors)
