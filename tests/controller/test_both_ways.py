"""One plan by bulk and one by one side by side: neither waits for the other, and what ends one ends both."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.parallel import run_parallel
from reconciler.controller.step import Outcome
from reconciler.errors import LeaseLost, StateError
from tests.controller.bulk_rig import NAME, BulkRig, check_at_rest, outcomes, populate, user_of

PEOPLE = 24
GUESTS = 6  # with customers that are there already: adoptions never go by bulk
WAIT_S = 60.0
NEVER = 1e-12  # rows a second


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[BulkRig]:
    with BulkRig(tmp_path) as made:
        populate(made, PEOPLE)
        for n in range(GUESTS):
            made.acme.staff("create", email=f"person{n}@x.example.com", note="a guest")
        yield made


def apply_actions(rig: BulkRig) -> Generator[Outcome, None, None]:
    planned = rig.plan()
    kinds = Counter(a.kind for a in planned.plan.stores[0].actions)
    assert kinds == {"adopt": GUESTS, "create": PEOPLE - GUESTS}
    scan_result = planned.scans[NAME]
    return cast(
        "Generator[Outcome, None, None]", apply_plan(scan_result, rig.store_context(rig.stores[NAME]), fresh=True)
    )


def ended(rig: BulkRig) -> None:
    """Whatever was left is done by the next runs, and everybody is there once."""
    rig.while_waiting = lambda: None
    rig.acme.shop.bulk_rows_per_s = None
    rig.clock.sleep(1000)
    for _ in range(3):
        rig.cycle()
    links = Counter(c.backlink for c in rig.people(NAME).values())
    assert links == {user_of(n): 1 for n in range(PEOPLE)}
    assert {m.status for m in rig.mappings(NAME)} == {"in_sync"}
    check_at_rest(rig)


def on_first_single_call(rig: BulkRig, then: Any) -> None:
    """Once, when a call has just written to the shop one by one."""
    left = [then]

    def seen(roots: tuple[str, ...], _: Any) -> None:
        if roots[0] not in {"stagedUploadsCreate", "bulkOperationRunMutation"} and left:
            left.pop()()

    rig.transport.seen = seen


def test_who_goes_one_by_one_does_not_wait_for_operations(rig: BulkRig) -> None:
    bulk_waits, singles_are_done = threading.Event(), threading.Event()
    waited: list[bool] = []
    rig.acme.shop.bulk_rows_per_s = NEVER

    def while_waiting() -> None:
        bulk_waits.set()
        waited.append(singles_are_done.wait(WAIT_S))

    rig.while_waiting = while_waiting
    found: list[Outcome] = []
    for outcome in apply_actions(rig):
        found.append(outcome)
        if Counter(o.action.kind for o in found)["adopt"] == GUESTS and not singles_are_done.is_set():
            assert bulk_waits.wait(WAIT_S)
            rig.acme.shop.bulk_rows_per_s = None
            singles_are_done.set()
    assert waited
    assert all(waited)
    assert [o.action.kind for o in found] == ["adopt"] * GUESTS + ["create"] * (PEOPLE - GUESTS)
    assert Counter(o.action.clerk_user_id for o in found) == {user_of(n): 1 for n in range(PEOPLE)}
    assert {o.result for o in found} == {"applied"}
    ended(rig)


def test_access_that_is_refused_to_bulk_operations_stops_single_calls(rig: BulkRig) -> None:
    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.acme.faults.add("missing_scope", on="bulkOperation")
    bulk_is_refused, waited = threading.Event(), list[bool]()
    on_first_single_call(rig, lambda: waited.append(bulk_is_refused.wait(WAIT_S)))
    found: list[Outcome] = []
    for outcome in apply_actions(rig):
        found.append(outcome)
        if outcome.result == "not tried":
            bulk_is_refused.set()
    assert waited == [True]
    told = outcomes(found)
    assert len(told) == len(found) == PEOPLE
    assert Counter(told.values()) == {
        ("create", "not tried"): PEOPLE - GUESTS, ("adopt", "applied"): 1, ("adopt", "not tried"): GUESTS - 1
    }  # fmt: skip
    ended(rig)


def test_access_that_is_refused_to_a_single_call_stops_bulk_operations(rig: BulkRig) -> None:
    """The operation would never end: only who hears of the refusal stops waiting for it."""
    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.acme.faults.add("missing_scope", on="metafieldsSet")
    found = list(apply_actions(rig))
    told = outcomes(found)
    assert len(told) == len(found) == PEOPLE
    assert Counter(told.values()) == {
        ("create", "not tried"): PEOPLE - GUESTS, ("adopt", "failed"): 1, ("adopt", "not tried"): GUESTS - 1
    }  # fmt: skip
    ended(rig)


def test_an_error_that_ends_the_bulk_half_ends_the_other_and_is_raised(rig: BulkRig) -> None:
    shop = rig.stores[NAME].shop

    def frozen() -> None:
        rig.while_waiting = lambda: None
        rig.clock.sleep(1000)
        assert rig.state.acquire(f"bulk {shop}", "another", ttl_s=1, now=rig.clock.now())

    rig.acme.shop.bulk_rows_per_s = NEVER
    rig.while_waiting = frozen
    with pytest.raises(LeaseLost):
        list(apply_actions(rig))
    ended(rig)


def test_an_error_that_ends_the_single_half_ends_the_other_and_is_raised(rig: BulkRig) -> None:
    """Our own database is away when a single call is recorded; the operation would never end."""
    rig.acme.shop.bulk_rows_per_s = NEVER
    away = threading.Event()

    @event.listens_for(rig.engine, "commit")
    def commit(_connection: Any) -> None:
        if away.is_set() and threading.current_thread().name.startswith("apply-acme"):
            raise StateError("our own database is away")

    on_first_single_call(rig, away.set)
    with pytest.raises(StateError):
        list(apply_actions(rig))
    away.clear()
    ended(rig)


def test_a_caller_who_takes_no_more_outcomes_leaves_nothing_running(rig: BulkRig) -> None:
    rig.acme.shop.bulk_rows_per_s = NEVER
    taken = apply_actions(rig)
    first = next(taken)
    assert (first.action.kind, first.result) == ("adopt", "applied")
    taken.close()
    assert_free(rig)
    ended(rig)


def test_a_caller_who_takes_no_more_of_many_stores_leaves_nothing_running_in_any(rig: BulkRig) -> None:
    """While no store has an outcome to yield: the operation would never end, and the single calls are over."""
    rig.acme.shop.bulk_rows_per_s = NEVER
    planned, context = rig.plan(), rig.store_context(rig.stores[NAME])
    works = {NAME: partial(apply_plan, planned.scans[NAME], context, fresh=True)}
    taken = run_parallel(works, context.cancellation, at_once=1, name="apply", one_ends_all=False)
    for _ in range(GUESTS):
        name, outcome = next(taken)
        assert (name, outcome.action.kind, outcome.result) == (NAME, "adopt", "applied")
    taken.close()
    assert_free(rig)
    ended(rig)


def assert_free(rig: BulkRig) -> None:
    """No thread continues, and the next to ask finds the lease free."""
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("apply", "halves", "bulk"))]
    before = rig.mutations()
    free = rig.state.acquire(f"bulk {rig.stores[NAME].shop}", "another", ttl_s=1, now=rig.clock.now())
    assert free is not None
    assert rig.mutations() == before
