"""The simulated Shopify as a client meets it: over real HTTP, with the words, codes and costs of the real one."""

from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest

from reconciler.simulator.app import make_app
from reconciler.simulator.graphql.execution import LEVEL_2_FIELDS
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.shop import Shop
from reconciler.simulator.world import SimShop, World
from tests.simulator.domain import Clock, TinyShop

DOMAIN = "tiny.myshopify.com"
PATH = "/admin/api/2026-10/graphql.json"
SET = "mutation Set($i: CustomerSetInput!) { customerSet(input: $i) { customer { id email firstName } } }"


class Client:
    """What a client sees of one shop."""

    def __init__(self, http: httpx.Client, sim: SimShop) -> None:
        self.http = http
        self.sim = sim

    def send(self, text: str, path: str = PATH, token: str | None = "tok", **variables: Any) -> httpx.Response:
        headers = {} if token is None else {"X-Shopify-Access-Token": token}
        return self.http.post(path, json={"query": text, "variables": variables}, headers=headers)

    def post(self, text: str, **variables: Any) -> dict[str, Any]:
        response = self.send(text, **variables)
        assert response.status_code == 200
        return cast("dict[str, Any]", response.json())

    def error(self, text: str, **variables: Any) -> dict[str, Any]:
        return cast("dict[str, Any]", self.post(text, **variables)["errors"][0])


@pytest.fixture(scope="module")
def world() -> World:
    return World(Clock())


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    shop = cast("Shop", TinyShop(DOMAIN))
    world.add_shop(DOMAIN, access_token="tok", client_id="app", client_secret="hush", refresh_token="r1", shop=shop)
    with SimulatorServer(world) as server:
        yield server.url(DOMAIN)


@pytest.fixture
def client(world: World, url: str) -> Iterator[Client]:
    sim = world.shops[DOMAIN]
    sim.faults.clear()
    sim.status = None
    sim.calls.clear()
    sim.shop.scopes = {"write_customers", "read_customers"}
    sim.shop.unapproved_fields = set()
    sim.bucket.refund(10_000)
    with httpx.Client(base_url=url) as http:
        yield Client(http, sim)


def test_a_customer_is_set_and_read_back_with_costs_on_every_reply(client: Client) -> None:
    done = client.post(SET, i={"email": "ada@example.com", "firstName": None})
    customer = done["data"]["customerSet"]["customer"]
    assert customer == {"id": customer["id"], "email": "ada@example.com", "firstName": None}
    assert done["extensions"]["cost"] == {
        "requestedQueryCost": 10,
        "actualQueryCost": 10,
        "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1990, "restoreRate": 100.0},
    }
    read = client.post(
        'query($id: ID!) { customer(id: $id) { m: metafield(namespace: "a", key: "b") { value } } }', id=customer["id"]
    )
    assert read["data"]["customer"]["m"]["value"] == "a.b"


def test_absent_and_null_input_stay_apart(client: Client) -> None:
    made = client.post(SET, i={"lastName": None, "email": "x@example.com"})["data"]["customerSet"]["customer"]["id"]
    kept = client.sim.shop.customer(id=made)
    assert kept is not None
    assert kept["given"] == ["email", "lastName"]


def test_the_version_that_ran_is_named_and_old_ones_fall_forward(client: Client) -> None:
    assert client.send("{ __typename }").headers["X-Shopify-API-Version"] == "2026-10"
    old = client.send("{ __typename }", path="/admin/api/2025-01/graphql.json")
    assert old.headers["X-Shopify-API-Version"] == "2026-01"
    for path in ("/admin/api/2031-01/graphql.json", "/admin/api/nonsense/graphql.json", "/elsewhere"):
        missing = client.send("{ __typename }", path=path)
        assert (missing.status_code, missing.json()) == (404, {"errors": "Not Found"})


def test_a_wrong_token_is_refused_with_401(client: Client) -> None:
    for token in ("wrong", None):
        refused = client.send("{ __typename }", token=token)
        assert refused.status_code == 401
        assert "Invalid API key or access token" in refused.json()["errors"]


@pytest.mark.parametrize(("status", "errors"), [(402, "Unavailable Shop"), (404, "Not Found")])
def test_a_shop_can_be_frozen_or_gone(client: Client, status: int, errors: str) -> None:
    client.sim.status = status
    refused = client.send("{ __typename }")
    assert (refused.status_code, refused.json()) == (status, {"errors": errors})


def test_what_is_no_graphql_request_is_a_400(client: Client) -> None:
    headers = {"X-Shopify-Access-Token": "tok"}
    for body, kind in (
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"query": 1}', "application/json"),
        (b'{"query": "{ __typename }", "variables": []}', "text/plain"),
        (b'{"query": "{ __typename }", "variables": [1]}', "application/json"),
    ):
        response = client.http.post(PATH, content=body, headers=headers | {"Content-Type": kind})
        assert response.status_code == 400
    whole = client.http.post(PATH, content=b"{ __typename }", headers=headers | {"Content-Type": "application/graphql"})
    assert whole.json()["data"] == {"__typename": "QueryRoot"}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("{ customer {", "PARSE_ERROR", "syntax error, unexpected end of file at [1, 12]"),
        ('{ customer(id: "1") { nope } }', "undefinedField", "Field 'nope' doesn't exist on type 'Customer'"),
        ("{ customer { id } }", "missingRequiredArguments", "Field 'customer' is missing required arguments: id"),
        ('{ customer(id: "1", z: 1) { id } }', "argumentNotAccepted", "Field 'customer' doesn't accept argument 'z'"),
        (
            "mutation { customerSet(input: {metafields: []}) { customer { id } } }",
            "argumentNotAccepted",
            "InputObject 'CustomerSetInput' doesn't accept argument 'metafields'",
        ),
        (
            "{ customerByIdentifier(identifier: {}) { id } }",
            "invalidOneOfInputObject",
            "'CustomerIdentifierInput' requires exactly one argument.",
        ),
    ],
)
def test_a_document_is_refused_in_shopifys_words(client: Client, text: str, code: str, message: str) -> None:
    reply = client.post(text)
    assert "data" not in reply
    assert (reply["errors"][0]["extensions"]["code"], reply["errors"][0]["message"]) == (code, message)


@pytest.mark.parametrize(
    ("kind", "value", "path", "explanation"),
    [
        ("CustomerSetInput!", {"metafields": []}, ["metafields"], "Field is not defined on CustomerSetInput"),
        ("CustomerSetInput!", {"email": 1}, ["email"], "Could not coerce value 1 to String"),
        ("CustomerSetInput!", {"tags": ["a", None]}, ["tags", 1], "Expected value to not be null"),
        ("CustomerSetInput!", {"taxExempt": "no"}, ["taxExempt"], 'Could not coerce value "no" to Boolean'),
        ("CustomerSetInput!", None, [], "Expected value to not be null"),
        ("CustomerSetInput!", "x", [], 'Expected "x" to be a key-value object.'),
        (
            "CustomerIdentifierInput!",
            {},
            [],
            "'CustomerIdentifierInput' requires exactly one argument, but 0 were provided.",
        ),
        (
            "CustomerIdentifierInput!",
            {"id": "gid://shopify/Customer/1", "emailAddress": "a@b.c"},
            [],
            "'CustomerIdentifierInput' requires exactly one argument, but 2 were provided.",
        ),
        (
            "CustomerIdentifierInput!",
            {"id": None},
            ["id"],
            "'CustomerIdentifierInput' requires exactly one argument, but 'id' was `null`.",
        ),
    ],
)
def test_a_variable_is_refused_in_shopifys_words(
    client: Client, kind: str, value: Any, path: list[Any], explanation: str
) -> None:
    if kind.startswith("CustomerSet"):
        text = f"mutation($v: {kind}) {{ customerSet(input: $v) {{ customer {{ id }} }} }}"
    else:
        text = f"query($v: {kind}) {{ customerByIdentifier(identifier: $v) {{ id }} }}"
    reply = client.post(text, v=value)
    assert "data" not in reply
    error = reply["errors"][0]
    assert error["message"].startswith(f"Variable $v of type {kind} was provided invalid value")
    assert error["extensions"] == {
        "code": "INVALID_VARIABLE",
        "value": value,
        "problems": [{"path": path, "explanation": explanation}],
    }


def test_more_than_250_elements_are_refused_whole(client: Client) -> None:
    message = "The input array size of 251 is greater than the maximum allowed of 250."
    error = client.error("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["gid://shopify/Customer/1"] * 251)
    assert (error["message"], error["extensions"]["code"]) == (message, "MAX_INPUT_SIZE_EXCEEDED")
    written = ",".join(['"gid://shopify/Customer/1"'] * 251)
    assert client.error(f"{{ nodes(ids: [{written}]) {{ id }} }}")["message"] == message


def test_nodes_keep_their_order_with_null_in_the_slot(client: Client) -> None:
    made = client.post(SET, i={"email": "n@example.com"})["data"]["customerSet"]["customer"]["id"]
    ids = ["gid://shopify/Customer/999", made]
    reply = client.post("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Customer { email } } }", ids=ids)
    assert reply["data"]["nodes"] == [None, {"__typename": "Customer", "id": made, "email": "n@example.com"}]


def test_a_missing_scope_is_access_denied_with_the_field_null(client: Client) -> None:
    client.sim.shop.scopes = {"read_customers"}
    reply = client.post(SET, i={"email": "a@example.com"})
    assert reply["data"] == {"customerSet": None}
    assert reply["errors"][0]["path"] == ["customerSet"]
    assert reply["errors"][0]["extensions"] == {
        "code": "ACCESS_DENIED",
        "documentation": "https://shopify.dev/api/usage/access-scopes",
        "requiredAccess": "`write_customers` access scope.",
    }
    client.sim.shop.scopes = set()
    assert client.error('{ customer(id: "gid://shopify/Customer/1") { id } }')["extensions"]["code"] == "ACCESS_DENIED"
    assert client.error('{ node(id: "gid://shopify/Customer/1") { id } }')["extensions"]["code"] == "ACCESS_DENIED"
    merge = "mutation($a: ID!) { customerMerge(customerOneId: $a, customerTwoId: $a) { resultingCustomerId } }"
    assert "write_customer_merge" in client.error(merge, a="gid://shopify/Customer/1")["message"]


def test_protected_customer_data_is_null_with_an_error_beside_it(client: Client) -> None:
    made = client.post(SET, i={"email": "p@example.com"})["data"]["customerSet"]["customer"]["id"]
    client.sim.shop.unapproved_fields = set(LEVEL_2_FIELDS)
    reply = client.post("query($id: ID!) { customer(id: $id) { id email } }", id=made)
    assert reply["data"] == {"customer": {"id": made, "email": None}}
    assert reply["errors"][0]["message"].startswith(
        "This app is not approved to access the Customer object. See https://"
    )


def test_an_error_of_the_domain_nulls_the_root_field(client: Client) -> None:
    text = (
        "mutation($n: CustomerSetIdentifiers, $i: CustomerSetInput!) "
        "{ customerSet(identifier: $n, input: $i) { customer { id } } }"
    )
    reply = client.post(text, n={"customId": {"key": "user_id", "value": "u"}}, i={})
    assert reply["data"] == {"customerSet": None}
    assert (reply["errors"][0]["extensions"]["code"], reply["errors"][0]["path"]) == ("NOT_FOUND", ["customerSet"])


def test_a_bug_of_the_simulator_is_an_internal_error_with_a_request_id(client: Client) -> None:
    client.sim.shop.bulk_operations = lambda **_: 1 // 0  # type: ignore[assignment,method-assign]
    try:
        reply = client.post("{ bulkOperations(first: 1) { nodes { id } } }")
    finally:
        del client.sim.shop.bulk_operations
    assert reply["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "Request ID" in reply["errors"][0]["message"]


def test_a_query_above_a_thousand_points_is_refused_before_it_runs(client: Client) -> None:
    fields = " ".join(f'f{i}: metafield(key: "k{i}") {{ id }}' for i in range(120))
    error = client.error(f"{{ customers(first: 250) {{ nodes {{ {fields} }} }} }}")
    assert error["extensions"]["code"] == "MAX_COST_EXCEEDED"
    assert error["message"].startswith("Query cost is 1333, which exceeds the single query max cost limit (1000)")


def test_an_empty_bucket_throttles_with_http_200_and_no_data(client: Client) -> None:
    client.sim.bucket.drain()
    reply = client.post(SET, i={"email": "t@example.com"})
    assert reply["errors"] == [
        {
            "message": "Throttled",
            "extensions": {"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"},
        }
    ]
    assert "data" not in reply
    assert reply["extensions"]["cost"]["requestedQueryCost"] == 10
    assert reply["extensions"]["cost"]["actualQueryCost"] is None
    assert reply["extensions"]["cost"]["throttleStatus"]["currentlyAvailable"] == 0


def test_what_was_asked_for_but_not_used_is_refunded(client: Client) -> None:
    before = client.sim.bucket.status()["currentlyAvailable"]
    reply = client.post('{ customers(first: 250, query: "x") { nodes { id metafield(key: "k") { id } } } }')
    cost = reply["extensions"]["cost"]
    assert cost["requestedQueryCost"] == 24
    assert before - client.sim.bucket.status()["currentlyAvailable"] == cost["actualQueryCost"] < 24


def test_a_search_that_was_not_understood_is_only_a_warning_beside_the_data(client: Client) -> None:
    reply = client.post('{ found: customers(first: 1, query: "nope:1") { nodes { id } } }')
    (search,) = reply["extensions"]["search"]
    assert (search["path"], search["query"], search["warnings"][0]["code"]) == (["found"], "nope:1", "invalid_field")


def test_the_app_can_ask_for_its_scopes_and_the_versions(client: Client) -> None:
    reply = client.post("{ currentAppInstallation { accessScopes { handle } } publicApiVersions { handle supported } }")
    handles = [each["handle"] for each in reply["data"]["currentAppInstallation"]["accessScopes"]]
    assert handles == ["read_customers", "write_customers"]
    assert {"handle": "2026-10", "supported": True} in reply["data"]["publicApiVersions"]


def test_calls_are_noted_and_mutations_counted(client: Client) -> None:
    before = client.sim.mutations
    client.post(SET, i={"email": "c@example.com"})
    client.post("{ __typename }")
    client.sim.shop.scopes = {"read_customers"}
    client.post(SET, i={"email": "d@example.com"})
    assert [(call.kind, call.roots, call.cost, call.status) for call in client.sim.calls][:2] == [
        ("mutation", ("customerSet",), 10, 200),
        ("query", ("__typename",), 0, 200),
    ]
    assert client.sim.mutations == before + 2


def test_in_process_the_application_serves_one_bound_shop() -> None:
    world = World(Clock())
    world.add_shop("a.myshopify.com", access_token="a", shop=cast("Shop", TinyShop("a.myshopify.com")))
    world.add_shop("b.myshopify.com", access_token="b", shop=cast("Shop", TinyShop("b.myshopify.com")))
    assert world.find(token="b") is world.shops["b.myshopify.com"]
    assert world.find(host="a.myshopify.com:443") is world.shops["a.myshopify.com"]
    assert world.find(token="c") is None
    assert make_app(world, shop="a.myshopify.com").routes
    with pytest.raises(ValueError, match="is there already"):
        world.add_shop("a.myshopify.com")
