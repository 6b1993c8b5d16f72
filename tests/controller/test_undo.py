"""Taking back what was written: only what is still as we left it, and not written again by the next reconcile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.controller.apply.undo import apply_undo, undo_plan
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.scan.plan import scan_store
from reconciler.core.report.drift import drift_of, without_switches
from tests.controller.test_apply import ADA, BOB, acme, check_at_rest, theirs
from tests.inprocess import Rig


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme()) as made:
        for user in (ADA, BOB):
            made.user(user, email=f"{user}@x.example.com", first_name="First")
        made.cycle()
        made.clock.sleep(3600)
        yield made


def take_back(components: Rig) -> tuple[set[str], set[str]]:
    """Undo the last half hour; gives the results and the reasons of what is held."""
    store = next(iter(components.stores.values()))
    events = components.state.events(since=components.clock.now() - timedelta(minutes=30))
    scan_result = undo_plan(store, components.readers(store), events)
    results = {str(o.result) for o in apply_undo(scan_result, components.store_context(store))}
    return results, {h.reason for h in scan_result.plan.holds}


def test_a_change_is_taken_back_and_waits_until_the_profile_moves(components: Rig) -> None:
    components.user(ADA, first_name="Wrong")
    components.cycle()
    assert take_back(components) == ({"applied"}, set())
    assert theirs(components, ADA).first_name == "First"
    cycle = components.cycle(explicit=True)
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["Undone"]
    assert cycle.mutations == 0
    components.user(ADA, first_name="Right")
    components.cycle()
    assert theirs(components, ADA).first_name == "Right"
    check_at_rest(components)


def test_what_somebody_has_changed_since_stays(components: Rig) -> None:
    components.user(ADA, first_name="Wrong")
    components.cycle()
    components.sim("acme").staff("edit", id=theirs(components, ADA).id, first_name="Staff")
    assert take_back(components) == (set(), {"CannotUndo"})
    assert theirs(components, ADA).first_name == "Staff"


def test_what_is_not_shown_to_us_is_neither_taken_back_nor_deleted(components: Rig) -> None:
    components.user("user_new", email="new@x.example.com")
    components.user(ADA, first_name="Wrong")
    components.cycle()
    components.sim("acme").staff("unapprove", fields=["firstName", "defaultPhoneNumber"])
    assert take_back(components) == (set(), {"CannotUndo"})
    components.sim("acme").staff("unapprove", fields=[])
    assert theirs(components, ADA).first_name == "Wrong"
    assert components.of_user("acme", "user_new") is not None


def test_a_created_customer_that_was_changed_in_what_we_do_not_read_stays(components: Rig) -> None:
    components.user("user_new", email="new@x.example.com")
    components.cycle()
    components.clock.sleep(600)
    components.sim("acme").staff(
        "set_metafield",
        id=theirs(components, "user_new").id,
        namespace="loyalty",
        key="points",
        type="number_integer",
        value="9",
    )
    assert take_back(components) == (set(), {"CannotUndo"})
    assert components.of_user("acme", "user_new") is not None


def test_a_created_customer_goes_again_unless_they_have_bought(components: Rig) -> None:
    for user in ("user_new", "user_buyer"):
        components.user(user, email=f"{user}@x.example.com")
    components.cycle()
    components.sim("acme").staff("order", id=theirs(components, "user_buyer").id)
    assert take_back(components) == ({"applied"}, {"CannotUndo"})
    assert components.of_user("acme", "user_new") is None
    assert components.of_user("acme", "user_buyer") is not None


def test_drift_and_intent_are_distinguished(components: Rig) -> None:
    components.sim("acme").staff("edit", id=theirs(components, ADA).id, first_name="Staff")
    components.user(BOB, first_name="Later")
    components.user("user_new", email="new@x.example.com")
    store = components.rotate("acme", heal_drift="hold", roll_out="hold", paused=True)
    scan_result = scan_store(
        without_switches(store),
        components.readers(store),
        ObserveOptions(now=components.clock.now(), guards=False, keep_all=True),
    )
    found = drift_of(store, scan_result.decisions.values())
    assert [(f.clerk_user_id, f.how) for f in found.drift] == [(ADA, "edited")]
    assert [(f.clerk_user_id, f.kind) for f in found.intent] == [(BOB, "update"), ("user_new", "create")]
