"""Bulk operations of the simulated shop: what may run, what comes of it, and how it can go wrong."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import World
from tests.simulator.domain import Clock
from tests.simulator.harness import LINK, SimulatorHarness

FIELDS = "id type status errorCode objectCount rootObjectCount fileSize url partialDataUrl createdAt completedAt"
RUN_QUERY = f"""mutation($q: String!, $g: Boolean!) {{
  bulkOperationRunQuery(query: $q, groupObjects: $g) {{
    bulkOperation {{ {FIELDS} }} userErrors {{ field message code }} }} }}"""
RUN_MUTATION = f"""mutation($m: String!, $p: String!) {{
  bulkOperationRunMutation(mutation: $m, stagedUploadPath: $p) {{
    bulkOperation {{ {FIELDS} }} userErrors {{ field message code }} }} }}"""
POLL = f"query($id: ID!) {{ bulkOperation(id: $id) {{ {FIELDS} }} }}"
CANCEL = "mutation($id: ID!) { bulkOperationCancel(id: $id) { bulkOperation { status } userErrors { field message } } }"
STAGE = """mutation($i: [StagedUploadInput!]!) {
  stagedUploadsCreate(input: $i) { stagedTargets { url parameters { name value } } userErrors { field message } } }"""
EVERYBODY = """{ customers { edges { node {
  id email tags link: metafield(namespace: "clerk", key: "user_id") { value }
  metafields { edges { node { key value } } } } } } }"""
SET = """mutation($identifier: CustomerSetIdentifiers, $input: CustomerSetInput!) {
  customerSet(identifier: $identifier, input: $input) { customer { id } userErrors { message code } } }"""


class Bulk(SimulatorHarness):
    """A harness with bulk operations that are run to their end."""

    def run(self, query: str = EVERYBODY, *, grouped: bool = False) -> Any:
        done = self(RUN_QUERY, q=query, g=grouped)
        assert done["userErrors"] == [], done
        assert done["bulkOperation"]["status"] == "CREATED"
        return self.ended(done["bulkOperation"]["id"])

    def ended(self, identifier: str) -> Any:
        while (found := self(POLL, id=identifier))["status"] in {"CREATED", "RUNNING", "CANCELING"}:
            pass
        return found

    def why_not(self, query: str) -> str:
        done = self(RUN_QUERY, q=query, g=False)
        assert done["bulkOperation"] is None
        error = done["userErrors"][0]
        assert (error["field"], error["code"]) == (["query"], "INVALID")
        return str(error["message"])

    def rows(self, operation: Any, url: str = "url") -> list[dict[str, Any]]:
        path = self.shop.result_file(operation[url].rpartition("/")[2])
        assert path is not None
        return [json.loads(line) for line in path.read_text().splitlines()]

    def upload(self, *lines: Any) -> str:
        """Put a file where an upload would have; its staged path."""
        given = {
            "resource": "BULK_MUTATION_VARIABLES",
            "filename": "x.jsonl",
            "mimeType": "text/jsonl",
            "httpMethod": "POST",
        }
        target = self(STAGE, i=[given])["stagedTargets"][0]
        key = next(each["value"] for each in target["parameters"] if each["name"] == "key")
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.shop.upload_place(key).write_text("".join(text + "\n" for text in texts))
        return str(key)

    def mutate(self, path: str, mutation: str = SET) -> Any:
        done = self(RUN_MUTATION, m=mutation, p=path)
        assert done["userErrors"] == [], done
        return self.ended(done["bulkOperation"]["id"])

    def refusal(self, path: str, mutation: str = SET) -> tuple[str | None, str]:
        done = self(RUN_MUTATION, m=mutation, p=path)
        assert done["bulkOperation"] is None
        return done["userErrors"][0]["code"], done["userErrors"][0]["message"]


@pytest.fixture
def bulk() -> Bulk:
    bulk = Bulk()
    bulk.shop.populate(40, tags=("app-user",), unlinked=0.25)
    return bulk


def test_a_query_gives_every_customer_and_what_is_nested_in_no_order(bulk: Bulk) -> None:
    operation = bulk.run()
    rows = bulk.rows(operation)
    customers = {row["id"]: row for row in rows if "id" in row}
    nested = [row for row in rows if "__parentId" in row]
    linked = {each.number: each.metafields[0].value for each in bulk.shop.people if each.metafields}
    assert len(customers) == 40
    assert {row["__parentId"]: row["value"] for row in nested} == {
        f"gid://shopify/Customer/{number}": value for number, value in linked.items()
    }
    assert {row["id"]: row["link"] for row in customers.values() if row["link"]} == {
        row["__parentId"]: {"value": row["value"]} for row in nested
    }
    assert list(customers) != sorted(customers)
    assert all(row["tags"] == ["app-user"] for row in customers.values())
    assert (operation["status"], operation["errorCode"], operation["partialDataUrl"]) == ("COMPLETED", None, None)
    assert (operation["objectCount"], operation["rootObjectCount"]) == (str(len(rows)), "40")
    path = bulk.shop.result_file(operation["url"].rpartition("/")[2])
    assert path is not None
    assert operation["fileSize"] == str(path.stat().st_size)
    assert "gid:\\/\\/shopify\\/Customer\\/" in path.read_text()


def test_grouped_rows_follow_their_parent(bulk: Bulk) -> None:
    parent = ""
    for row in bulk.rows(bulk.run(grouped=True)):
        parent = row.get("id", parent)
        assert row.get("__parentId", parent) == parent


def test_the_same_world_gives_the_same_file(bulk: Bulk) -> None:
    one, two = Bulk(), Bulk()
    for each in (one, two):
        each.shop.populate(30)
    assert one.rows(one.run()) == two.rows(two.run())


def test_no_one_is_no_file(bulk: Bulk) -> None:
    empty = Bulk()
    operation = empty.run()
    assert (operation["status"], operation["url"], operation["objectCount"]) == ("COMPLETED", None, "0")
    assert operation["fileSize"] is None


def test_a_search_narrows_it_and_sorting_by_updated_at_loses_rows(bulk: Bulk) -> None:
    query = '{ customers(query: "email:\\"person7.0@example.com\\"") { edges { node { id email } } } }'
    assert [row["email"] for row in bulk.rows(bulk.run(query))] == ["person7.0@example.com"]
    bulk.shop.bulk_sort_drops = 0.5
    query = "{ customers(sortKey: UPDATED_AT) { edges { node { id } } } }"
    assert 0 < len(bulk.rows(bulk.run(query))) < 40
    assert len(bulk.rows(bulk.run("{ customers(first: 3, sortKey: ID) { edges { node { id } } } }"))) == 40


DEEP = "{ customers { edges { node { id metafields { edges { node { id owner { ... on Customer { addressesV2 { edges { node { id } } } } } } } } } } } }"  # noqa: E501
MANY = (
    "{ customers { edges { node { id "
    + " ".join(f"m{n}: metafields {{ edges {{ node {{ key }} }} }}" for n in range(5))
    + " } } } }"
)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ shop { name } }", "Bulk queries must contain at least one connection."),
        ("{ customers { nodes { id } } }", "must select their contents using 'edges' > 'node'"),
        (MANY, "cannot contain more than 5 connections"),
        (DEEP, "nesting depth greater than 2"),
        (
            "{ customers { edges { node { x: id metafields { edges { node { key } } } } } } }",
            "must select the 'id' field without an alias",
        ),
        ('{ node(id: "gid://shopify/Customer/1") { id } }', "cannot contain a top level `node` field"),
        ("{ nodes(ids: []) { id } }", "cannot contain a top level `nodes` field"),
        ("{ customers { edges { node { nothing } } } }", "Field 'nothing' doesn't exist on type 'Customer'"),
        ("{ customers {", "Invalid bulk query"),
        (
            ('{ customers { edges { node { metafield(namespace: "clerk", key: "id") {'
            " owner { metafields { edges { node { id } } } } } } } } }"),
            "of nodes only",
        ),
        ("mutation { customerDelete(input: {id: 1}) { deletedCustomerId } }", "Only `query` operations are supported."),
        ("{ webhookSubscriptions { edges { node { id } } } }", "exactly one top level connection"),
        ("{ customers { edges { node { id } } } } #" + "x" * 65_535, "Query is too large"),
    ],
)  # fmt: skip
def test_queries_that_may_not_run(bulk: Bulk, query: str, words: str) -> None:
    assert words in bulk.why_not(query)


def test_five_at_a_time_of_each_kind(bulk: Bulk) -> None:
    bulk.shop.bulk_rows_per_s = 0.001
    path = bulk.upload({"input": {"firstName": "Ada"}})
    ids = [bulk(RUN_QUERY, q=EVERYBODY, g=False)["bulkOperation"]["id"] for _ in range(5)]
    sixth = bulk(RUN_QUERY, q=EVERYBODY, g=False)["userErrors"][0]
    assert (sixth["code"], sixth["field"]) == ("OPERATION_IN_PROGRESS", None)
    assert all(each in sixth["message"] for each in ids)
    for _ in range(5):
        assert bulk(RUN_MUTATION, m=SET, p=path)["userErrors"] == []
    assert bulk.refusal(path)[0] == "OPERATION_IN_PROGRESS"
    assert bulk.refusal("tmp/none")[0] == "NO_SUCH_FILE"


def test_work_continues_with_the_clock(bulk: Bulk) -> None:
    bulk.shop.bulk_rows_per_s = 10
    made = bulk(RUN_QUERY, q=EVERYBODY, g=False)["bulkOperation"]["id"]
    bulk.clock.now += 2
    half = bulk(POLL, id=made)
    assert (half["status"], half["rootObjectCount"], half["url"]) == ("RUNNING", "20", None)
    assert bulk.shop.result_file(f"bulk-{made.rpartition('/')[2]}.jsonl") is None
    bulk.clock.now += 2
    assert bulk(POLL, id=made)["status"] == "COMPLETED"


def test_customers_who_come_and_go_meanwhile(bulk: Bulk) -> None:
    bulk.shop.bulk_rows_per_s = 10
    made = bulk(RUN_QUERY, q=EVERYBODY, g=False)["bulkOperation"]["id"]
    bulk.clock.now += 2
    bulk(POLL, id=made)
    for person in list(bulk.shop.people)[15:25]:
        bulk.shop.staff_delete(f"gid://shopify/Customer/{person.number}")
    bulk.set(email="late@example.com")
    bulk.clock.now += 60
    rows = [row for row in bulk.rows(bulk.ended(made)) if "email" in row]
    assert len(rows) == 40 - 5 + 1


def test_no_one_is_listed_twice_where_found_ones_vanish_meanwhile(bulk: Bulk) -> None:
    bulk.shop.search_lag_s = 0
    bulk.shop.bulk_rows_per_s = 10
    query = '{ customers(query: "tag:app-user") { edges { node { id } } } }'
    made = bulk(RUN_QUERY, q=query, g=False)["bulkOperation"]["id"]
    bulk.clock.now += 1
    bulk(POLL, id=made)
    for person in [*list(bulk.shop.people)[:5], *list(bulk.shop.people)[20:23]]:
        bulk.shop.staff_delete(f"gid://shopify/Customer/{person.number}")
    bulk.clock.now += 1
    assert bulk(POLL, id=made)["objectCount"] == "20"
    bulk.clock.now += 60
    ids = [row["id"] for row in bulk.rows(bulk.ended(made))]
    assert len(set(ids)) == len(ids) == 40 - 3


def test_cancel_and_what_was_written_until_then(bulk: Bulk) -> None:
    bulk.shop.bulk_rows_per_s = 10
    made = bulk(RUN_QUERY, q=EVERYBODY, g=False)["bulkOperation"]["id"]
    bulk.clock.now += 1
    bulk(POLL, id=made)
    assert bulk(CANCEL, id=made) == {"bulkOperation": {"status": "CANCELING"}, "userErrors": []}
    ended = bulk.ended(made)
    assert (ended["status"], ended["url"]) == ("CANCELED", None)
    assert len([row for row in bulk.rows(ended, "partialDataUrl") if "email" in row]) == 10
    message = "A bulk operation cannot be canceled when it is canceled"
    assert bulk(CANCEL, id=made)["userErrors"] == [{"field": None, "message": message}]
    unknown = bulk(CANCEL, id="gid://shopify/BulkOperation/404")["userErrors"]
    assert unknown == [{"field": ["id"], "message": "Bulk operation does not exist"}]


@pytest.mark.parametrize(
    ("status", "code"), [("FAILED", "INTERNAL_SERVER_ERROR"), ("FAILED", "TIMEOUT"), ("CANCELED", None)]
)
def test_an_operation_can_be_made_to_fail_half_way(bulk: Bulk, status: str, code: str | None) -> None:
    bulk.shop.staff_bulk_fault(status, code, after_rows=7)
    ended = bulk.run("{ customers { edges { node { id } } } }")
    assert (ended["status"], ended["errorCode"], ended["url"]) == (status, code, None)
    assert len(bulk.rows(ended, "partialDataUrl")) == 7
    assert bulk.run()["status"] == "COMPLETED"


def test_fields_that_are_not_approved_fail_the_whole(bulk: Bulk) -> None:
    bulk.shop.unapproved_fields = {"email"}
    ended = bulk.run()
    assert (ended["status"], ended["errorCode"]) == ("FAILED", "ACCESS_DENIED")
    assert bulk.run("{ customers { edges { node { id } } } }")["status"] == "COMPLETED"
    bulk.shop.scopes = set()
    assert bulk.run("{ customers { edges { node { id } } } }")["errorCode"] == "ACCESS_DENIED"


def test_an_operation_that_takes_too_long_is_ended(bulk: Bulk) -> None:
    bulk.shop.bulk_rows_per_s = 0.00001
    made = bulk(RUN_QUERY, q=EVERYBODY, g=False)["bulkOperation"]["id"]
    lines = bulk.upload(*[{"input": {"firstName": "Ada"}}] * 5)
    mutation = bulk(RUN_MUTATION, m=SET, p=lines)["bulkOperation"]["id"]
    bulk.clock.now += 86_401
    assert bulk(POLL, id=made)["status"] == "RUNNING"
    assert bulk(POLL, id=mutation)["errorCode"] == "TIMEOUT"
    bulk.clock.now += 9 * 86_400
    assert bulk(POLL, id=made)["errorCode"] == "TIMEOUT"


def test_results_are_kept_for_seven_days(bulk: Bulk) -> None:
    ended = bulk.run()
    bulk.clock.now += 7 * 86_400 + 1
    old = bulk(POLL, id=ended["id"])
    assert (old["status"], old["url"]) == ("EXPIRED", None)
    assert bulk.shop.result_file(ended["url"].rpartition("/")[2]) is None


def test_operations_are_listed_by_status_and_type(bulk: Bulk) -> None:
    bulk.run()
    bulk.mutate(bulk.upload({"input": {"firstName": "Ada"}}))
    bulk.shop.bulk_rows_per_s = 0.001
    bulk(RUN_QUERY, q=EVERYBODY, g=False)
    text = "query($q: String) { bulkOperations(first: 10, query: $q) { nodes { type status } } }"

    def listed(query: str) -> list[tuple[str, str]]:
        return [(each["type"], each["status"]) for each in bulk(text, q=query)["nodes"]]

    assert listed("status:completed operation_type:mutation") == [("MUTATION", "COMPLETED")]
    assert listed("status:running") == [("QUERY", "RUNNING")]
    assert len(listed("nonsense:x")) == 3
    assert bulk.reply(text, q="nonsense:x")["extensions"]["search"][0]["warnings"][0]["field"] == "nonsense"


def test_a_mutation_is_run_for_each_line_and_told_by_line_number(bulk: Bulk) -> None:
    link = {"customId": {**LINK, "value": "user_new"}}
    lines: list[Any] = [{"input": {"email": f"new{n}@example.com"}} for n in range(20)]
    lines[3] = {"input": {"email": "person1.0@example.com"}}
    lines[5] = "no json"
    lines[7] = {"input": {"nothing": 1}}
    lines[9] = {"identifier": link, "input": {"firstName": "Ada"}}
    lines[11] = []
    ended = bulk.mutate(bulk.upload(*lines))
    assert (ended["status"], ended["objectCount"], ended["errorCode"]) == ("COMPLETED", "20", None)
    rows = bulk.rows(ended)
    assert [row["__lineNumber"] for row in rows] != list(range(20))
    by_line = {row["__lineNumber"]: row for row in rows}
    assert sorted(by_line) == list(range(20))
    for number in (5, 7, 11):
        assert "data" not in by_line[number]
        assert by_line[number]["errors"]
    assert by_line[3]["data"]["customerSet"] == {
        "customer": None, "userErrors": [{"message": "Email has already been taken", "code": "TAKEN"}]
    }  # fmt: skip
    assert bulk.linked("user_new")["id"] == by_line[9]["data"]["customerSet"]["customer"]["id"]
    assert bulk.find(emailAddress="new0@example.com") is not None


def test_an_operation_is_completed_although_every_line_failed(bulk: Bulk) -> None:
    ended = bulk.mutate(bulk.upload(*[{"input": {}}] * 3))
    assert ended["status"] == "COMPLETED"
    assert all(row["data"]["customerSet"]["customer"] is None for row in bulk.rows(ended))


def test_mutations_that_may_not_run(bulk: Bulk) -> None:
    path = bulk.upload({"input": {}})
    bulk_in_bulk = 'mutation { bulkOperationRunQuery(query: "{ shop { id } }") { userErrors { message } } }'
    assert bulk.refusal(path, bulk_in_bulk) == (None, "You must use an allowed mutation name.")
    assert bulk.refusal(path, EVERYBODY) == (
        "INVALID_MUTATION",
        "Invalid operation type. Only `mutation` operations are supported.",
    )
    assert bulk.refusal(path, "mutation {")[0] == "INVALID_MUTATION"
    two = SET.replace(
        "customer { id }", "customer { metafields(first: 1) { nodes { id } } addressesV2(first: 1) { nodes { id } } }"
    )
    assert bulk.refusal(path, two) == (None, "Bulk mutations cannot contain more than 1 connection.")
    assert bulk.refusal(path, SET + "#" + "x" * 65_535)[0] == "INVALID_MUTATION"
    assert bulk.refusal("tmp/nothing")[0] == "NO_SUCH_FILE"
    assert bulk.refusal(bulk.upload()) == ("INVALID_STAGED_UPLOAD_FILE", "The input file is empty.")


def test_the_end_is_reported_in_lower_case(bulk: Bulk) -> None:
    bulk.shop.webhook_secret = "hush"
    ended = bulk.run()
    told = next(each for each in bulk.shop.outbox if each.topic == "BULK_OPERATIONS_FINISH").payload
    assert (told["status"], told["type"], told["error_code"]) == ("completed", "query", None)
    assert told["admin_graphql_api_id"] == ended["id"]


def test_bulk_variables_are_uploaded_with_post(bulk: Bulk) -> None:
    given = {"resource": "BULK_MUTATION_VARIABLES", "filename": "x.jsonl", "mimeType": "text/jsonl"}
    assert bulk(STAGE, i=[given])["userErrors"][0]["field"] == ["input", "0", "httpMethod"]


# --- over HTTP ----------------------------------------------------------------------------------------------------

SHOP = "bulk.myshopify.com"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(Clock(), files=tmp_path)
    world.add_shop(SHOP, access_token="tok")
    return world


@pytest.fixture
def server(world: World) -> Iterator[SimulatorServer]:
    with SimulatorServer(world) as server:
        yield server


def post(server: SimulatorServer, text: str, **variables: Any) -> Any:
    reply = httpx.post(
        f"{server.url(SHOP)}/admin/api/2026-10/graphql.json",
        json={"query": text, "variables": variables},
        headers={"X-Shopify-Access-Token": "tok"},
    ).json()
    assert "errors" not in reply, reply
    return next(iter(reply["data"].values()))


def staged(server: SimulatorServer) -> tuple[str, dict[str, str]]:
    given = {
        "resource": "BULK_MUTATION_VARIABLES",
        "filename": "x.jsonl",
        "mimeType": "text/jsonl",
        "httpMethod": "POST",
    }
    target = post(server, STAGE, i=[given])["stagedTargets"][0]
    return target["url"], {each["name"]: each["value"] for each in target["parameters"]}


def form(fields: dict[str, str], content: bytes, *, file_first: bool = False) -> list[tuple[str, Any]]:
    """The parts of a form in their order."""
    parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in fields.items()]
    parts.insert(0 if file_first else len(parts), ("file", ("x.jsonl", content, "text/jsonl")))
    return parts


def test_from_the_upload_to_the_result_over_http(server: SimulatorServer, world: World) -> None:
    url, fields = staged(server)
    lines = b"".join(json.dumps({"input": {"email": f"a{n}@example.com"}}).encode() + b"\n" for n in range(50))
    uploaded = httpx.post(url, files=form(fields, lines))
    assert uploaded.status_code == 201
    assert f"<Key>{fields['key']}</Key>" in uploaded.text
    made = post(server, RUN_MUTATION, m=SET, p=fields["key"])["bulkOperation"]
    while (operation := post(server, POLL, id=made["id"]))["status"] != "COMPLETED":
        pass
    rows = [json.loads(line) for line in httpx.get(operation["url"]).text.splitlines()]
    assert sorted(row["__lineNumber"] for row in rows) == list(range(50))
    assert len(world.shops[SHOP].shop.people) == 50
    assert world.shops[SHOP].bucket.spent < 50 * 10


def test_an_operation_continues_though_no_one_polls(server: SimulatorServer, world: World) -> None:
    sim = world.shops[SHOP]
    with sim.lock:
        sim.shop.populate(300)
        sim.shop.bulk_rows_per_look = 1
    made = post(server, RUN_QUERY, q=EVERYBODY, g=False)["bulkOperation"]["id"]
    operation = sim.shop.operations[int(made.rpartition("/")[2])]
    wait = threading.Event()
    while operation.status in {"CREATED", "RUNNING"}:
        wait.wait(0.005)
    assert operation.status == "COMPLETED"
    assert httpx.get(post(server, POLL, id=made)["url"]).text.count("\n") == 600


def test_uploads_that_are_refused(server: SimulatorServer, world: World) -> None:
    url, fields = staged(server)
    assert httpx.post(url, files=form(fields, b"{}", file_first=True)).status_code == 403
    assert httpx.post(url, files=form(fields | {"policy": "other"}, b"{}")).status_code == 403
    assert httpx.post(url, data=fields).status_code == 400
    world.shops[SHOP].shop.upload_bytes_max = 10
    large = httpx.post(url, files=form(fields, b"x" * 11))
    assert (large.status_code, "EntityTooLarge" in large.text) == (400, True)
    elsewhere = url.replace(SHOP, "other.myshopify.com")
    assert httpx.post(elsewhere, files=form(fields, b"{}")).status_code == 404
    assert isinstance(world.clock, Clock)
    world.clock.now += 86_401
    assert httpx.post(url, files=form(fields, b"{}")).status_code == 400
    assert httpx.get(f"{server.url(SHOP)}/bulk-results/{SHOP}/bulk-1.jsonl").status_code == 404
    assert httpx.get(f"{server.url(SHOP)}/bulk-results/other.myshopify.com/bulk-1.jsonl").status_code == 404


def test_storage_fails_on_demand_too(server: SimulatorServer, world: World) -> None:
    faults = world.shops[SHOP].faults
    url, fields = staged(server)
    faults.add("status", on="stagedUpload", status=503)
    faults.add("lost_after", on="stagedUpload")
    lines = b'{"input": {"firstName": "Ada"}}\n' * 9
    assert httpx.post(url, files=form(fields, lines)).status_code == 503
    with pytest.raises(httpx.TransportError):
        httpx.post(url, files=form(fields, lines))
    made = post(server, RUN_MUTATION, m=SET, p=fields["key"])["bulkOperation"]
    while (operation := post(server, POLL, id=made["id"]))["status"] != "COMPLETED":
        pass
    faults.add("truncated", on="bulkResult")
    faults.add("lost_before", on="bulkResult")
    half = httpx.get(operation["url"]).content
    with pytest.raises(httpx.TransportError):
        httpx.get(operation["url"])
    whole = httpx.get(operation["url"]).content
    assert whole.count(b"\n") == 9
    assert whole.startswith(half)
    assert len(half) == len(whole) // 2
