"""Bulk queries over real HTTP: every customer once, in no order, and nothing believed that is short."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.write import SetMetafields
from reconciler.errors import PermanentError, TemporaryError
from reconciler.ports import BulkReader, BulkState
from reconciler.shopify.bulk.reader import ShopBulkReader
from reconciler.simulator.bulk.files import Depot
from tests.shopify.conftest import STORE, TOKEN, Acme


def reader(acme: Acme) -> BulkReader:
    return ShopBulkReader(acme.client(), STORE)


def ended(bulk: BulkReader, operation: str) -> BulkState:
    while True:
        state = bulk.state(operation)
        assert state is not None
        if state.status != "running":
            return state


def read(bulk: BulkReader, operation: str, **options: int) -> list[dict[str, Any]]:
    return [json.loads(line) for batch in bulk.lines(operation, **options) for line in batch]


@pytest.fixture
def full(ready: Acme) -> Acme:
    ready.sim.shop.depot = Depot()  # the world outlives the shop, and so would its files
    ready.sim.shop.populate(120, tags=("app-user",), unlinked=0.25)
    return ready


def test_every_customer_comes_once_with_all_that_a_point_read_shows(full: Acme) -> None:
    bulk = reader(full)
    operation = bulk.start()
    state = ended(bulk, operation)
    assert (state.status, state.objects, state.readable, state.error_code) == ("completed", 120, True, None)
    assert state.created_at is not None
    assert state.completed_at is not None
    found = {row["id"]: row for row in read(bulk, operation)}
    assert len(found) == 120
    points = full.customers().by_ids([CustomerId(i) for i in found])
    for id_, seen in points.items():
        assert shown(found[id_]) == comparable(seen)
    assert list(found) != sorted(found)


def shown(row: dict[str, Any]) -> tuple[Any, ...]:
    email, phone, link = row["defaultEmailAddress"], row["defaultPhoneNumber"], row["m0"]
    return (
        email and email["emailAddress"], row["firstName"], row["lastName"], phone and phone["phoneNumber"],
        row["locale"], row["note"], tuple(row["tags"]), link and link["value"], row["canDelete"],
    )  # fmt: skip


def comparable(c: Customer) -> tuple[Any, ...]:
    return (c.email, c.first_name, c.last_name, c.phone, c.locale, c.note, c.tags, c.backlink, c.can_delete)


def test_the_stores_own_metafields_come_along(full: Acme) -> None:
    customer = full.made(email="ada@example.com")
    full.customers().send(SetMetafields({customer: {"clerk.avatar_url": ("https://img.example.com/a.png", "url")}}))
    bulk = reader(full)
    operation = bulk.start()
    ended(bulk, operation)
    row = next(r for r in read(bulk, operation) if r["id"] == customer)
    assert row["m1"]["value"] == "https://img.example.com/a.png"


def test_lines_come_in_batches_and_the_first_may_be_left_out(full: Acme) -> None:
    bulk = reader(full)
    operation = bulk.start()
    ended(bulk, operation)
    whole = [line for batch in bulk.lines(operation) for line in batch]
    batches = list(bulk.lines(operation, batch=50))
    assert [len(batch) for batch in batches] == [50, 50, 20]
    for skip in (0, 1, 49, 50, 51, 119, 120):
        assert [line for batch in bulk.lines(operation, skip=skip, batch=50) for line in batch] == whole[skip:]


def test_an_empty_shop_gives_nothing(ready: Acme) -> None:
    bulk = reader(ready)
    operation = bulk.start()
    state = ended(bulk, operation)
    assert (state.status, state.objects, state.readable) == ("completed", 0, False)
    assert read(bulk, operation) == []


def test_a_query_costs_next_to_nothing(full: Acme) -> None:
    bulk = reader(full)
    spent = full.sim.bucket.spent
    operation = bulk.start()
    full.sim.shop.settle()
    ended(bulk, operation)
    read(bulk, operation)
    assert full.sim.bucket.spent - spent < 10 + 30


@pytest.mark.parametrize("fault", ["lost_before", "lost_after"])
def test_a_query_with_a_lost_start_is_started_again(full: Acme, fault: Any) -> None:
    full.sim.faults.add(fault, on="bulkOperationRunQuery")
    bulk = reader(full)
    assert ended(bulk, bulk.start()).status == "completed"


@pytest.mark.parametrize("code", ["ACCESS_DENIED", "INTERNAL_SERVER_ERROR", "TIMEOUT"])
def test_a_query_that_fails_says_why_and_what_it_has(full: Acme, code: str) -> None:
    full.sim.staff("bulk_fault", status="FAILED", error_code=code, after_rows=30)
    bulk = reader(full)
    operation = bulk.start()
    state = ended(bulk, operation)
    assert (state.status, state.error_code, state.readable) == ("failed", code, True)
    assert len(read(bulk, operation)) == 30


def test_a_query_that_is_cancelled_ends_and_may_be_cancelled_again(full: Acme) -> None:
    full.sim.shop.bulk_rows_per_s = 0.01
    bulk = reader(full)
    operation = bulk.start()
    bulk.cancel(operation)
    assert ended(bulk, operation).status == "canceled"
    bulk.cancel(operation)
    bulk.cancel("gid://shopify/BulkOperation/4711")


def test_the_sixth_query_at_once_waits_for_its_turn(full: Acme) -> None:
    full.sim.shop.bulk_rows_per_s = 0.01
    bulk = reader(full)
    running = [bulk.start() for _ in range(5)]
    with pytest.raises(TemporaryError, match="already in progress") as caught:
        bulk.start()
    assert caught.value.retry_after_s
    assert running[0] in caught.value.message
    bulk.cancel(running[0])
    ended(bulk, running[0])
    assert bulk.start() not in running


def test_an_unknown_operation_is_none_and_has_no_lines(ready: Acme) -> None:
    bulk = reader(ready)
    assert bulk.state("gid://shopify/BulkOperation/4711") is None
    with pytest.raises(PermanentError, match="is deleted"):
        read(bulk, "gid://shopify/BulkOperation/4711")


def test_lines_of_a_query_that_runs_are_not_there_yet(full: Acme) -> None:
    full.sim.shop.bulk_rows_per_s = 0.01
    bulk = reader(full)
    with pytest.raises(TemporaryError, match="not ended"):
        read(bulk, bulk.start())


# --- the file --------------------------------------------------------------------------------------------------------


def done(acme: Acme) -> tuple[BulkReader, str]:
    bulk = reader(acme)
    operation = bulk.start()
    ended(bulk, operation)
    return bulk, operation


def test_an_address_that_has_run_out_is_asked_for_again_once(full: Acme) -> None:
    bulk, operation = done(full)
    fault = full.sim.faults.add("status", on="bulkResult", status=403)
    assert len(read(bulk, operation)) == 120
    assert fault.hits == 1
    full.sim.faults.add("status", on="bulkResult", status=403, times=2)
    with pytest.raises(TemporaryError, match=r"127\.0\.0\.1 answers HTTP 4"):
        read(bulk, operation)


@pytest.mark.parametrize(("kind", "status"), [("status", 503), ("lost_before", None), ("lost_after", None)])
def test_a_storage_that_does_not_answer_is_a_matter_of_time(full: Acme, kind: Any, status: int | None) -> None:
    bulk, operation = done(full)
    full.sim.faults.add(kind, on="bulkResult", status=status)
    with pytest.raises(TemporaryError):
        read(bulk, operation)
    assert len(read(bulk, operation)) == 120


def test_a_result_that_is_cut_off_is_never_taken_for_a_whole_one(full: Acme) -> None:
    bulk, operation = done(full)
    full.sim.faults.add("truncated", on="bulkResult")
    with pytest.raises(TemporaryError, match=r"incomplete"):
        read(bulk, operation, batch=10)
    assert len(read(bulk, operation)) == 120


class Watching(httpx.HTTPTransport):
    """Sends as ever, and keeps what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return super().handle_request(request)


def test_the_token_never_goes_to_where_files_lie(full: Acme) -> None:
    watching = Watching()
    bulk = ShopBulkReader(full.client(transport=watching), STORE)
    operation = bulk.start()
    ended(bulk, operation)
    assert len(read(bulk, operation)) == 120
    files = [request for request in watching.sent if not request.url.path.startswith("/admin/")]
    assert len(files) == 1
    assert not [name for name in files[0].headers if "token" in name or name in {"authorization", "cookie"}]
    assert TOKEN not in str(files[0].headers)
    assert any(request.headers.get("x-shopify-access-token") == TOKEN for request in watching.sent)


def test_a_result_that_is_said_to_lie_elsewhere_is_not_followed(full: Acme) -> None:
    bulk, operation = done(full)
    full.sim.faults.add("status", on="bulkResult", status=302)
    with pytest.raises((PermanentError, TemporaryError)):
        read(bulk, operation)
