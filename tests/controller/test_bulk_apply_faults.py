"""Whatever goes wrong with bulk operations, the shop ends as it would have without them, and people are informed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.bulk.context import BulkContext
from reconciler.core.model.write import AddTags, Write
from reconciler.errors import LeaseLost
from reconciler.simulator.faults import FaultKind
from tests.controller.bulk_rig import NAME, BulkRig, check_at_rest, customers, outcomes, populate, rows, user_of

PEOPLE = 24
ALL_APPLIED = {user_of(n): ("create", "applied") for n in range(PEOPLE)}
EIGHT_DAYS_S = 8 * 86_400


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """How everything ends one by one."""
    with BulkRig(tmp_path_factory.mktemp("paced"), by_bulk=False) as paced:
        populate(paced, PEOPLE)
        paced.cycle()
        return customers(paced), rows(paced)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[BulkRig]:
    with BulkRig(tmp_path) as made:
        populate(made, PEOPLE)
        yield made


Wanted = tuple[dict[str, Any], dict[str, Any]]


def check_well(rig: BulkRig, wanted: Wanted) -> None:
    found = rig.cycle()
    assert outcomes(found.outcomes) == ALL_APPLIED
    ended(rig, wanted)


def ended(rig: BulkRig, wanted: Wanted) -> None:
    assert (customers(rig), rows(rig)) == wanted
    check_at_rest(rig)
    assert rig.files.tokens_leaked == 0


def operations(rig: BulkRig) -> int:
    return rig.acme.counts.get("bulkOperationRunMutation", 0)


# --- operations that end badly ---------------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("after_rows", [0, 3])
@pytest.mark.parametrize(
    ("status", "code"), [("FAILED", "INTERNAL_SERVER_ERROR"), ("FAILED", "TIMEOUT"), ("CANCELED", None)]
)
def test_an_operation_that_ends_early_is_reported_and_made_good(
    rig: BulkRig, wanted: Wanted, status: str, code: str | None, after_rows: int
) -> None:
    rig.acme.staff("bulk_fault", status=status, error_code=code, after_rows=after_rows)
    check_well(rig, wanted)
    assert any(f"ended as {status.lower()}" in said and (code or "") in said for said in rig.warnings)


def test_many_lines_of_a_failed_operation_go_by_bulk_once_more(rig: BulkRig, wanted: Wanted) -> None:
    rig.lines_min = 5
    rig.acme.staff("bulk_fault", status="FAILED", after_rows=0)
    check_well(rig, wanted)
    assert rig.acme.counts.get("customerSet", 0) == 0


def test_operations_that_fail_again_and_again_end_in_single_calls(rig: BulkRig, wanted: Wanted) -> None:
    rig.lines_min = 5
    for _ in range(30):
        rig.acme.staff("bulk_fault", status="FAILED", after_rows=1)
    check_well(rig, wanted)
    assert rig.acme.counts["customerSet"] > 0
    assert operations(rig) <= 20


def test_users_of_an_operation_that_the_shop_forgets_are_observed_again(rig: BulkRig, wanted: Wanted) -> None:
    def forgotten() -> None:
        rig.acme.shop.operations.clear()
        rig.while_waiting = lambda: None

    rig.acme.shop.bulk_rows_per_s = 2
    rig.while_waiting = forgotten
    check_well(rig, wanted)
    assert any("not known to the shop any more" in said for said in rig.warnings)


# --- answers that don't come -------------------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "truncated"])
@pytest.mark.parametrize("on", ["stagedUploadsCreate", "bulkOperationRunMutation", "bulkOperation", "bulkOperations"])
def test_an_answer_that_is_lost_costs_no_more_than_time(rig: BulkRig, wanted: Wanted, kind: FaultKind, on: str) -> None:
    rig.acme.faults.add(kind, on=on, times=2)
    if on == "bulkOperations":  # it is only asked where the start was not answered
        rig.acme.faults.add("lost_after", on="bulkOperationRunMutation")
    check_well(rig, wanted)
    assert len(rig.acme.shop.operations) <= 6


def test_an_operation_with_an_unanswered_start_is_not_started_twice(rig: BulkRig, wanted: Wanted) -> None:
    rig.acme.faults.add("lost_after", on="bulkOperationRunMutation", times=2)
    check_well(rig, wanted)
    assert len(rig.acme.shop.operations) == operations(rig) == 4  # two files of customers, and of their metafields


@pytest.mark.matrix
@pytest.mark.parametrize("on", ["stagedUpload", "bulkResult"])
@pytest.mark.parametrize(("kind", "status"), [("status", 503), ("status", 403), ("lost_after", None), ("html", 302)])
def test_a_storage_that_fails_for_a_while_is_asked_again(
    rig: BulkRig, wanted: Wanted, on: str, kind: FaultKind, status: int | None
) -> None:
    rig.acme.faults.add(kind, on=on, times=3, status=status)
    if (on, status) == ("bulkResult", 302):
        found = rig.cycle()
        assert {o.result for o in found.outcomes} <= {"applied", "not tried"}
        rig.cycle()
        ended(rig, wanted)
        return
    check_well(rig, wanted)
    assert rig.acme.counts.get("customerSet", 0) == 0


def test_ended_files_are_read_while_no_further_one_can_be_sent(rig: BulkRig, wanted: Wanted) -> None:
    rig.lines_min, rig.piece_lines = 2, 3
    fault = rig.acme.faults.add("status", on="stagedUpload", times=3, after=5, status=503)
    tried: list[int] = []

    def note(lines: list[bytes]) -> list[bytes]:
        tried.append(fault.hits)
        return lines

    rig.files.tampered = note
    check_well(rig, wanted)
    assert tried[0] == 1


def test_a_result_that_is_cut_off_is_not_believed(rig: BulkRig, wanted: Wanted) -> None:
    rig.acme.faults.add("truncated", on="bulkResult", times=2)
    check_well(rig, wanted)
    assert rig.acme.counts.get("customerSet", 0) == 0


def test_without_the_storage_everybody_is_sent_one_by_one(rig: BulkRig, wanted: Wanted) -> None:
    rig.acme.faults.add("status", on="stagedUpload", times=None, status=503)
    check_well(rig, wanted)
    assert any("bulk operations can't be used now" in said for said in rig.warnings)


def test_users_without_a_file_are_sent_one_by_one_where_apply_gives_up_on_bulk(rig: BulkRig, wanted: Wanted) -> None:
    rig.piece_lines, rig.file_bytes_max = 5, 700
    rig.acme.faults.add("status", on="bulkOperation", times=8, status=500)
    found = rig.cycle()
    assert outcomes(found.outcomes).keys() == ALL_APPLIED.keys()
    results = [o.result for o in found.outcomes]
    in_files = PEOPLE - rig.acme.counts["customerSet"]
    assert 0 < in_files == results.count("failed") < PEOPLE == in_files + results.count("applied")
    rig.cycle()
    ended(rig, wanted)


def test_users_of_results_that_can_never_be_fetched_are_observed_again(rig: BulkRig, wanted: Wanted) -> None:
    rig.acme.faults.add("status", on="bulkResult", times=None, status=404)
    check_well(rig, wanted)
    assert rig.acme.counts.get("customerSet", 0) == 0


def test_users_of_a_result_that_is_gone_after_seven_days_are_observed_again(rig: BulkRig, wanted: Wanted) -> None:
    with rig.killed_after(60):
        rig.cycle()
    assert rig.state.bulk_files(rig.stores[NAME].shop)
    rig.clock.sleep(EIGHT_DAYS_S)
    rig.cycle()
    rig.cycle()
    ended(rig, wanted)


@pytest.mark.parametrize("tamper", ["missing", "twice", "garbled", "strangers"])
def test_users_of_lines_that_are_missing_or_strange_are_observed_again(
    rig: BulkRig, wanted: Wanted, tamper: str
) -> None:
    """The place of a line that is left out stays blank, so that the file's size tells nothing."""

    def change(lines: list[bytes]) -> list[bytes]:
        first = lines[0]
        blank = b" " * len(first)
        return {
            "missing": [blank, *lines[1:]],
            "twice": [*lines, lines[-1]],
            "garbled": [first[: len(first) // 2].ljust(len(first)), *lines[1:]],
            "strangers": [*lines, b'{"data":{"x":{}},"__lineNumber":4711}', b"[]", b'{"__lineNumber":"0"}'],
        }[tamper]

    rig.files.tampered = change
    check_well(rig, wanted)
    assert rig.acme.counts.get("customerSet", 0) == 0


# --- a shop that says no -------------------------------------------------------------------------------------------------


def test_too_many_operations_of_others_are_waited_for(rig: BulkRig, wanted: Wanted) -> None:
    others = rig.writer()
    rig.acme.shop.bulk_rows_per_s = 0.0001
    path = others.upload("add_tags", [_tag(rig)]).path
    running = [others.run("add_tags", path, f"other{n}") for n in range(5)]

    def ended_one() -> None:
        rig.acme.shop.bulk_rows_per_s = None
        if running:
            others.cancel(running.pop())

    rig.while_waiting = ended_one
    check_well(rig, wanted)
    assert rig.acme.counts.get("customerSet", 0) == 0


def test_a_store_that_closes_stops_and_is_gone_on_with_once_it_opens(rig: BulkRig, wanted: Wanted) -> None:
    def closes() -> None:
        rig.acme.status = 402

    rig.acme.shop.bulk_rows_per_s = 2
    rig.while_waiting = closes
    found = rig.cycle()
    assert {o.result for o in found.outcomes} == {"not tried"}
    assert len(found.outcomes) == PEOPLE
    rig.while_waiting = lambda: None
    rig.acme.status = None
    rig.cycle()
    ended(rig, wanted)


def test_a_shop_without_the_definition_says_so_for_everybody(rig: BulkRig) -> None:
    planned = rig.plan()
    rig.acme.shop.definitions.clear()
    found = rig.apply(planned)
    assert {o.result for o in found} == {"failed"}
    assert len(found) == PEOPLE
    assert all("bootstrap" in o.hint for o in found)
    assert rig.people(NAME) == {}


def test_an_uploaded_file_that_is_gone_is_made_again(rig: BulkRig, wanted: Wanted) -> None:
    rig.acme.faults.add("internal_error", on="bulkOperationRunMutation")

    def lost() -> None:
        rig.acme.shop.staged.clear()
        rig.while_waiting = lambda: None

    rig.while_waiting = lost
    check_well(rig, wanted)


# --- others at work --------------------------------------------------------------------------------------------------------


def test_another_process_at_the_same_store_is_waited_for_and_then_told_of(rig: BulkRig) -> None:
    shop, now = rig.stores[NAME].shop, rig.clock.now()
    rig.state.acquire(f"bulk {shop}", "another", ttl_s=590, now=now)
    found = rig.cycle()
    assert {o.result for o in found.outcomes} == {"failed"}
    assert all("--bulk never" in o.hint for o in found.outcomes)
    assert rig.people(NAME) == {}


def test_a_process_that_was_frozen_and_taken_over_stops(rig: BulkRig, wanted: Wanted) -> None:
    shop = rig.stores[NAME].shop

    def frozen() -> None:
        rig.clock.sleep(1000)
        assert rig.state.acquire(f"bulk {shop}", "another", ttl_s=1, now=rig.clock.now())

    rig.acme.shop.bulk_rows_per_s = 2
    rig.while_waiting = frozen
    with pytest.raises(LeaseLost):
        rig.cycle()
    rig.while_waiting = lambda: None
    rig.clock.sleep(10)
    rig.cycle()
    rig.cycle()
    ended(rig, wanted)


def test_nudges_continue_beside_it_and_no_one_is_made_twice(rig: BulkRig, wanted: Wanted) -> None:
    nudged: list[str] = []

    def nudge() -> None:
        if len(nudged) < PEOPLE:
            user = user_of(len(nudged))
            nudged.append(user)
            found = rig.requested(NAME, user)
            assert found[0][1].result in {"applied", "in_sync"}

    rig.acme.shop.bulk_rows_per_s = 0.5
    rig.while_waiting = nudge
    check_well(rig, wanted)
    assert len(nudged) > 5


def test_a_user_who_loses_a_customer_to_an_answer_is_nudged(rig: BulkRig) -> None:
    """Staff write another user's back-link on the customer while the other user's line is under way."""
    rig.requested(NAME, user_of(1))
    customer = rig.of_user(NAME, user_of(1))
    assert customer is not None

    def relink() -> None:
        rig.acme.staff("set_metafield", id=customer.id, namespace="clerk", key="user_id", value=user_of(2))
        rig.acme.shop.bulk_rows_per_s = None
        rig.while_waiting = lambda: None

    rig.acme.shop.bulk_rows_per_s = 1e-12
    rig.while_waiting = relink
    nudged: list[str] = []
    planned, context = rig.plan(), rig.store_context(rig.stores[NAME])
    assert isinstance(context.bulk, BulkContext)
    list(apply_plan(planned.scans[NAME], replace(context, bulk=replace(context.bulk, nudge=nudged.extend)), fresh=True))
    assert nudged == [user_of(1)]
    rig.requested(NAME, user_of(1))
    links = [c.backlink for c in rig.people(NAME).values()]
    assert sorted(map(str, links)) == [user_of(n) for n in range(PEOPLE)]
    check_at_rest(rig)


def test_while_a_killed_run_can_not_be_gone_on_with_nothing_new_is_begun(rig: BulkRig, wanted: Wanted) -> None:
    with rig.killed_after(16):  # a file lies ready, and no one knows whether it runs
        rig.cycle()
    shop = rig.stores[NAME].shop
    assert [file.operation for file in rig.state.bulk_files(shop)] == [None]
    rig.acme.faults.add("internal_error", on="bulkOperations", times=1)
    found = rig.cycle()
    assert {o.result for o in found.outcomes} == {"failed"}
    assert rig.people(NAME) == {}
    rig.cycle()
    ended(rig, wanted)


def test_a_store_that_is_paused_is_left_alone(rig: BulkRig, wanted: Wanted) -> None:
    with rig.killed_after(60):
        rig.cycle()
    rig.rotate(NAME, paused=True)
    before = rig.mutations()
    rig.cycle()
    assert rig.mutations() == before
    rig.rotate(NAME, paused=False)
    rig.cycle()
    rig.cycle()
    ended(rig, wanted)


def test_what_a_killed_run_left_harms_no_one_who_goes_without(rig: BulkRig, wanted: Wanted) -> None:
    with rig.killed_after(60):
        rig.cycle()
    rig.by_bulk = False
    rig.cycle()
    assert customers(rig) == wanted[0]
    assert rig.plan().plan.summary.actions == 0
    rig.by_bulk = True
    rig.cycle()
    ended(rig, wanted)


def _tag(rig: BulkRig) -> Write:
    made = rig.acme.staff("create", email="noone@x.example.com")
    rig.acme.staff("delete", id=made["id"])
    return AddTags(made["id"], ("x",))
