"""Taking back what was written: only what is still as we left it, and not written again by the next look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.controller.scan import Ask, scan_store
from reconciler.controller.undo import undo_plan, undone
from reconciler.core.report.drift import drift_of, unswitched
from tests.controller.test_apply import ADA, BOB, acme, at_rest, hers
from tests.inprocess import Rig


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme()) as made:
        for user in (ADA, BOB):
            made.user(user, email=f"{user}@x.example.com", first_name="First")
        made.cycle()
        made.clock.sleep(3600)
        yield made


def take_back(house: Rig) -> tuple[set[str], set[str]]:
    """Undo the last half hour; gives the results and the reasons of what is held."""
    store = next(iter(house.stores.values()))
    events = house.state.events(since=house.clock.now() - timedelta(minutes=30))
    scan_result = undo_plan(store, house.readers(store), events)
    results = {str(o.result) for o in undone(scan_result, house.store_context(store))}
    return results, {h.reason for h in scan_result.plan.holds}


def test_a_change_is_taken_back_and_waits_until_the_profile_moves(house: Rig) -> None:
    house.user(ADA, first_name="Wrong")
    house.cycle()
    assert take_back(house) == ({"applied"}, set())
    assert hers(house, ADA).first_name == "First"
    cycle = house.cycle(explicit=True)
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["Undone"]
    assert cycle.mutations == 0
    house.user(ADA, first_name="Right")
    house.cycle()
    assert hers(house, ADA).first_name == "Right"
    at_rest(house)


def test_what_somebody_has_changed_since_stays(house: Rig) -> None:
    house.user(ADA, first_name="Wrong")
    house.cycle()
    house.sim("acme").staff("edit", id=hers(house, ADA).id, first_name="Staff")
    assert take_back(house) == (set(), {"CannotUndo"})
    assert hers(house, ADA).first_name == "Staff"


def test_what_is_not_shown_to_us_is_neither_taken_back_nor_deleted(house: Rig) -> None:
    house.user("user_new", email="new@x.example.com")
    house.user(ADA, first_name="Wrong")
    house.cycle()
    house.sim("acme").staff("unapprove", fields=["firstName", "defaultPhoneNumber"])
    assert take_back(house) == (set(), {"CannotUndo"})
    house.sim("acme").staff("unapprove", fields=[])
    assert hers(house, ADA).first_name == "Wrong"
    assert house.of_user("acme", "user_new") is not None


def test_a_created_customer_goes_again_unless_she_has_bought(house: Rig) -> None:
    for user in ("user_new", "user_buyer"):
        house.user(user, email=f"{user}@x.example.com")
    house.cycle()
    house.sim("acme").staff("order", id=hers(house, "user_buyer").id)
    assert take_back(house) == ({"applied"}, {"CannotUndo"})
    assert house.of_user("acme", "user_new") is None
    assert house.of_user("acme", "user_buyer") is not None


def test_drift_and_intent_are_told_apart(house: Rig) -> None:
    house.sim("acme").staff("edit", id=hers(house, ADA).id, first_name="Staff")
    house.user(BOB, first_name="Later")
    house.user("user_new", email="new@x.example.com")
    store = house.rotate("acme", heal_drift="hold", roll_out="hold", paused=True)
    scan_result = scan_store(
        unswitched(store), house.readers(store), Ask(now=house.clock.now(), guards=False, keep_all=True)
    )
    found = drift_of(store, scan_result.decisions.values())
    assert [(f.clerk_user_id, f.how) for f in found.drift] == [(ADA, "edited")]
    assert [(f.clerk_user_id, f.kind) for f in found.intent] == [(BOB, "update"), ("user_new", "create")]
