"""The whole simulator end to end: the real shop behind real HTTP, as a reconciler uses it."""

from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest

from reconciler.simulator.control import fallback
from reconciler.simulator.graphql.documents import load_schema
from reconciler.simulator.graphql.execution import snake
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import World
from tests.simulator.domain import Clock

US = "acme-us.myshopify.com"
UK = "acme-uk.myshopify.com"
DEFINE = """
mutation($d: MetafieldDefinitionInput!) {
  metafieldDefinitionCreate(definition: $d) {
    createdDefinition { namespace key type { name } } userErrors { code message }
  }
}"""
SET = """
mutation($n: CustomerSetIdentifiers, $i: CustomerSetInput!) {
  customerSet(identifier: $n, input: $i) { customer { id updatedAt } userErrors { code field message } }
}"""
BY_LINK = """
query($n: CustomerIdentifierInput!) {
  customerByIdentifier(identifier: $n) {
    id email firstName tags numberOfOrders canDelete
    defaultEmailAddress { emailAddress marketingState } defaultPhoneNumber { phoneNumber }
    metafield(namespace: "clerk", key: "user_id") { value type namespace compareDigest }
    metafields(first: 5) { nodes { key value } }
  }
}"""
LINK = {"namespace": "clerk", "key": "user_id", "value": "user_1"}


@pytest.fixture
def world() -> World:
    world = World(Clock())
    world.add_shop(US, access_token="us")
    world.add_shop(UK, access_token="uk", country="GB")
    return world


@pytest.fixture
def server(world: World) -> Iterator[SimulatorServer]:
    with SimulatorServer(world) as server:
        yield server


def post(server: SimulatorServer, domain: str, text: str, **variables: Any) -> dict[str, Any]:
    response = httpx.post(
        f"{server.url(domain)}/admin/api/2026-10/graphql.json",
        json={"query": text, "variables": variables},
        headers={"X-Shopify-Access-Token": domain[5:7]},
    )
    assert response.status_code == 200
    reply = cast("dict[str, Any]", response.json())
    assert "errors" not in reply, reply["errors"]
    return cast("dict[str, Any]", reply["data"])


def define(server: SimulatorServer, domain: str) -> None:
    link = {"name": "Clerk user", "namespace": "clerk", "key": "user_id", "ownerType": "CUSTOMER", "type": "id"}
    made = post(server, domain, DEFINE, d=link)["metafieldDefinitionCreate"]
    assert made == {
        "createdDefinition": {"namespace": "clerk", "key": "user_id", "type": {"name": "id"}},
        "userErrors": [],
    }


def test_a_customer_is_created_by_back_link_and_found_by_it(server: SimulatorServer) -> None:
    define(server, US)
    wanted = {"email": "ada@example.com", "firstName": "Ada", "phone": "+16134505293", "tags": ["b", "A"]}
    first = post(server, US, SET, n={"customId": LINK}, i=wanted)["customerSet"]
    again = post(server, US, SET, n={"customId": LINK}, i=wanted)["customerSet"]
    assert first["userErrors"] == again["userErrors"] == []
    assert first["customer"]["id"] == again["customer"]["id"]
    found = post(server, US, BY_LINK, n={"customId": LINK})["customerByIdentifier"]
    assert found["id"] == first["customer"]["id"]
    assert (found["email"], found["firstName"], found["tags"]) == ("ada@example.com", "Ada", ["A", "b"])
    assert (found["numberOfOrders"], found["canDelete"]) == ("0", True)
    assert found["defaultEmailAddress"]["emailAddress"] == "ada@example.com"
    assert found["defaultPhoneNumber"]["phoneNumber"] == "+16134505293"
    assert (found["metafield"]["value"], found["metafield"]["type"]) == ("user_1", "id")
    assert {"key": "user_id", "value": "user_1"} in found["metafields"]["nodes"]


def test_shops_do_not_see_each_other(server: SimulatorServer) -> None:
    define(server, US)
    define(server, UK)
    post(server, US, SET, n={"customId": LINK}, i={"email": "ada@example.com"})
    assert post(server, UK, BY_LINK, n={"customId": LINK})["customerByIdentifier"] is None


def test_what_staff_do_is_seen_at_the_next_read(server: SimulatorServer, world: World) -> None:
    made = post(server, US, SET, i={"email": "ada@example.com"})["customerSet"]["customer"]["id"]
    world.shops[US].staff("delete", id=made)
    assert post(server, US, BY_LINK, n={"id": made})["customerByIdentifier"] is None
    assert httpx.get(f"{server.url(US)}/_sim/{US}/customers").json() == []


def test_the_habits_of_a_shop_are_set_over_http(server: SimulatorServer, world: World) -> None:
    there = f"{server.url(US)}/_sim/{US}"
    assert httpx.post(f"{there}/populate", json={"count": 30, "tags": ["x"]}).json() == {"added": 30}
    post(server, US, SET, i={"email": "ada+news@example.com", "firstName": "Ada"})
    changed = httpx.post(f"{there}/habits", json={"fold_plus_addresses": True, "refused_domains": ["no.example"]})
    assert (changed.status_code, changed.json()["refused_domains"]) == (200, ["no.example"])
    assert (
        post(server, US, BY_LINK, n={"emailAddress": "ada@example.com"})["customerByIdentifier"]["firstName"] == "Ada"
    )
    pace = {"search_lag_s": 0, "latency_s": 0.0, "bulk_rows_per_s": 5}
    assert httpx.post(f"{there}/pace", json=pace).json() == pace
    assert world.shops[US].shop.search_lag_s == 0
    for action in ("habits", "pace"):
        refused = httpx.post(f"{there}/{action}", json={"nonsense": 1})
        assert (refused.status_code, "unknown" in refused.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "said"),
    [('{"id": "gid://shopify/Customer/…"}', "Invalid id"), ("nonsense", "no JSON"), ("[1]", "no JSON object")],
)
def test_an_act_of_staff_that_makes_no_sense_is_refused_with_the_reason(
    server: SimulatorServer, body: str, said: str
) -> None:
    refused = httpx.post(f"{server.url(US)}/_sim/{US}/edit", content=body)
    assert refused.status_code == 400
    assert said in refused.json()["error"]


def test_an_uninstalled_app_is_let_in_no_more(server: SimulatorServer) -> None:
    there = f"{server.url(UK)}/_sim/{UK}"
    assert httpx.post(f"{there}/unapprove", json={"fields": ["email"]}).json() == {"unapproved_fields": ["email"]}
    assert httpx.post(f"{there}/uninstall").json() == {"removed": 0}
    url = f"{server.url(UK)}/admin/api/2026-10/graphql.json"
    refused = httpx.post(url, json={"query": "{ shop { id } }"}, headers={"X-Shopify-Access-Token": "uk"})
    assert refused.status_code == 401


def test_every_root_field_of_the_schema_is_answered(world: World) -> None:
    sim = world.shops[US]
    schema = load_schema()
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    roots = {*schema.query_type.fields, *schema.mutation_type.fields}
    answered = fallback(world, sim)
    assert [root for root in sorted(roots) if not hasattr(sim.shop, snake(root)) and root not in answered] == []
