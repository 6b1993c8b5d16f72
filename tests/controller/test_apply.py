"""Plans carried out: rechecked, written down step by step, and never twice. Whole cycles in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.apply import applied
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.store import Store
from reconciler.errors import AccessError, SourceError
from tests.core.people import store
from tests.inprocess import Rig, Shown

ADA, BOB, CYD = "user_ada", "user_bob", "user_cyd"


def acme(**policy: Any) -> Store:
    guards = {k: {"max": 99} for k in ("update", "relink", "merge", "release")}
    return store(**{"guards": guards, "tags": ["app-user"], **policy})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme()) as made:
        yield made


def three(house: Rig) -> None:
    for user in (ADA, BOB, CYD):
        house.user(user, email=f"{user}@x.example.com", first_name=user)
    house.cycle()


def hers(house: Rig, user: str) -> Shown:
    found = house.of_user("acme", user)
    assert found is not None
    return found


def emails(house: Rig) -> dict[str | None, str | None]:
    return {c.backlink: c.email for c in house.people("acme").values()}


def at_rest(house: Rig) -> None:
    cycle = house.cycle()
    assert cycle.mutations == 0
    assert cycle.planned.plan.summary.actions == 0


# --- one action each -----------------------------------------------------------------------------------------------


def test_a_new_user_gets_one_customer_in_one_mutation(house: Rig) -> None:
    house.user(ADA, email="ada@x.example.com", first_name="Ada")
    cycle = house.cycle()
    assert (cycle.mutations, [o.result for o in cycle.outcomes]) == (1, ["applied"])
    assert (hers(house, ADA).email, hers(house, ADA).tags) == ("ada@x.example.com", ("app-user",))
    at_rest(house)


def test_a_guest_is_adopted_with_everything_staff_gave_her(house: Rig) -> None:
    house.sim("acme").staff(
        "create", email="ADA@x.example.com", tags=["vip"], note="by staff", addresses=[{"city": "Ottawa"}]
    )
    house.user(ADA, email="ada@x.example.com", first_name="Ada", image_url="https://img.example.com/1.png")
    house.rotate("acme", metafields={"clerk.avatar": {"from": "image_url", "type": "url"}})
    before = next(iter(house.people("acme").values()))
    house.cycle()
    after = hers(house, ADA)
    assert after.id == before.id
    assert (after.note, after.rest, after.email) == ("by staff", before.rest, "ADA@x.example.com")
    assert after.tags == ("app-user", "vip")
    assert after.metafields == {"clerk.avatar": "https://img.example.com/1.png"}
    at_rest(house)
    house.user(ADA, image_url=None)
    house.cycle()
    assert hers(house, ADA).metafields == {}
    at_rest(house)


@pytest.mark.parametrize(("how", "left"), [("keep", ("app-user",)), ("tag", ("app-user", "clerk-left"))])
def test_who_leaves_stays_as_the_policy_says_and_comes_back_to_the_same_customer(
    house: Rig, how: str, left: tuple[str, ...]
) -> None:
    three(house)
    house.rotate("acme", on_leave=how)
    before = hers(house, ADA)
    house.leave(ADA)
    house.cycle()
    assert hers(house, ADA).tags == left
    at_rest(house)
    house.user(ADA, email=f"{ADA}@x.example.com", first_name=ADA)
    house.cycle()
    assert hers(house, ADA) == before
    at_rest(house)


def test_who_leaves_is_deleted_where_that_is_the_policy_and_she_never_bought(house: Rig) -> None:
    three(house)
    house.rotate("acme", on_leave="delete")
    house.sim("acme").staff("order", id=hers(house, BOB).id)
    house.leave(ADA)
    house.leave(BOB)
    house.cycle()
    assert house.of_user("acme", ADA) is None
    assert hers(house, BOB).tags == ("app-user", "clerk-left")
    at_rest(house)


def test_who_was_erased_is_never_made_again(house: Rig) -> None:
    three(house)
    house.rotate("acme", on_leave="erase")
    house.leave(ADA)
    house.cycle()
    house.user(ADA, email=f"{ADA}@x.example.com")
    cycle = house.cycle()
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["Erased"]
    assert cycle.mutations == 0


# --- addresses -----------------------------------------------------------------------------------------------------


def test_a_user_moves_to_the_guest_with_her_new_address_and_leaves_a_trace(house: Rig) -> None:
    three(house)
    old = hers(house, ADA)
    house.sim("acme").staff("guest_checkout", email="new@x.example.com")
    house.user(ADA, email="new@x.example.com")
    house.cycle()
    new = hers(house, ADA)
    assert new.email == "new@x.example.com"
    assert new.tags == ("app-user",)
    left = house.people("acme")[old.id]
    assert (left.backlink, left.tags) == (None, ())
    assert left.metafields == {"clerk.moved_to": new.id}
    at_rest(house)
    house.user(ADA, email=f"{ADA}@x.example.com")
    house.cycle()
    assert hers(house, ADA).id == old.id
    assert hers(house, ADA).metafields == {}
    at_rest(house)


def test_two_customers_become_one_where_the_policy_merges(house: Rig) -> None:
    three(house)
    house.rotate("acme", on_email_conflict="merge")
    house.sim("acme").staff("guest_checkout", email="new@x.example.com")
    house.user(ADA, email="new@x.example.com")
    house.cycle()
    assert hers(house, ADA).email == "new@x.example.com"
    assert len(house.people("acme")) == 3
    at_rest(house)


@pytest.mark.parametrize("size", [2, 3])
def test_addresses_go_round_in_one_cycle_and_everybody_keeps_her_customer(house: Rig, size: int) -> None:
    three(house)
    users = (ADA, BOB, CYD)[:size]
    before = {u: hers(house, u).id for u in users}
    for i, user in enumerate(users):
        house.user(user, email=f"{users[(i + 1) % size]}@x.example.com")
    cycle = house.cycle()
    assert not cycle.failures
    assert {u: hers(house, u).id for u in users} == before
    assert [hers(house, u).email for u in users] == [f"{users[(i + 1) % size]}@x.example.com" for i in range(size)]
    at_rest(house)


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_dies_in_a_circle_leaves_it_to_the_next(house: Rig, at: int, *, after: bool) -> None:
    three(house)
    before = {u: hers(house, u).id for u in (ADA, BOB)}
    house.user(ADA, email=f"{BOB}@x.example.com")
    house.user(BOB, email=f"{ADA}@x.example.com")
    with house.dying(at, after=after):
        house.cycle()
    house.cycle()
    house.cycle()
    assert {u: hers(house, u).id for u in (ADA, BOB)} == before
    assert (hers(house, ADA).email, hers(house, BOB).email) == (f"{BOB}@x.example.com", f"{ADA}@x.example.com")
    at_rest(house)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("policy", ["relink", "merge"])
def test_a_process_that_dies_while_somebody_moves_leaves_it_to_the_next(
    house: Rig, policy: str, at: int, *, after: bool
) -> None:
    three(house)
    house.rotate("acme", on_email_conflict=policy, heal_drift="hold")
    house.sim("acme").staff("guest_checkout", email="new@x.example.com")
    house.user(ADA, email="new@x.example.com", last_name="New")
    with house.dying(at, after=after):
        house.cycle()
    for _ in range(2):
        house.clock.sleep(60)  # Shopify merges in its own time
        house.cycle()
    assert (hers(house, ADA).email, hers(house, ADA).last_name) == ("new@x.example.com", "New")
    assert sum(c.backlink == ADA for c in house.people("acme").values()) == 1
    at_rest(house)


def test_a_parked_address_is_given_back_where_the_circle_is_broken_by_somebody_else(house: Rig) -> None:
    three(house)
    house.user(ADA, email=f"{BOB}@x.example.com")
    house.user(BOB, email=f"{ADA}@x.example.com")
    planned = house.plan()
    house.user(BOB, email="elsewhere@x.example.com", email_verified=False)
    outcomes = house.apply(planned)
    assert {o.result for o in outcomes} <= {"refused", "applied"}
    assert hers(house, ADA).email is not None
    for _ in range(2):
        house.cycle()
    assert hers(house, ADA).email == f"{ADA}@x.example.com"
    at_rest(house)


# --- the world moves -----------------------------------------------------------------------------------------------


def changed(house: Rig) -> Any:
    three(house)
    house.user(ADA, last_name="New")
    return house.plan()


def test_a_saved_action_whose_customer_was_edited_is_refused_by_name(house: Rig) -> None:
    planned = changed(house)
    house.sim("acme").staff("edit", id=hers(house, ADA).id, note="staff")
    outcome = house.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == (
        "refused",
        "the customer has changed in Shopify since the plan was made",
    )
    assert hers(house, ADA).last_name is None


def test_a_saved_action_whose_profile_moved_is_refused_by_name(house: Rig) -> None:
    planned = changed(house)
    house.user(ADA, last_name="Newer")
    outcome = house.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "the profile has changed since the plan was made")


def test_a_saved_action_that_somebody_else_did_is_refused_as_done(house: Rig) -> None:
    planned = changed(house)
    house.cycle()
    outcome = house.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "there is nothing left to do")


def test_a_saved_action_that_is_held_now_says_by_what(house: Rig) -> None:
    planned = changed(house)
    house.rotate("acme", paused=True)
    outcome = house.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "it is held now: StorePaused")


def test_a_saved_action_that_is_another_now_is_refused(house: Rig) -> None:
    planned = changed(house)
    house.rotate("acme", tags=["app-user", "more"])
    outcome = house.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "another decision is due now")


@pytest.mark.parametrize("fresh", [True, False])
def test_a_planned_create_whose_user_left_or_changed_is_refused(house: Rig, *, fresh: bool) -> None:
    three(house)
    house.user("user_dee", email="dee@x.example.com")
    house.user("user_eve", email="eve@x.example.com", locale="de")
    house.user("user_fay", email="fay@x.example.com")
    planned = house.plan()
    house.leave("user_dee")
    house.user("user_fay", email="fay2@x.example.com")
    house.rotate("acme", where={"locale": [None]})
    results = {o.action.clerk_user_id: o.result for o in house.apply(planned, fresh=fresh)}
    assert {results[ClerkUserId(u)] for u in ("user_dee", "user_eve", "user_fay")} == {"refused"}
    assert len(house.people("acme")) == 3


def test_a_create_whose_address_a_guest_has_taken_becomes_an_adoption(house: Rig) -> None:
    house.user(ADA, email="ada@x.example.com")
    planned = house.plan()
    house.sim("acme").staff("guest_checkout", email="ada@x.example.com")
    outcome = house.apply(planned)[0]
    assert outcome.result == "applied"
    assert len(house.people("acme")) == 1
    assert hers(house, ADA).orders == 1
    at_rest(house)


def test_a_create_whose_phone_is_taken_goes_on_without_it(house: Rig) -> None:
    house.user(ADA, email="ada@x.example.com", phone="+16134505293")
    planned = house.plan()
    house.sim("acme").staff("create", phone="+16134505293")
    assert house.apply(planned)[0].result == "applied"
    assert hers(house, ADA).phone is None
    cycle = house.cycle()
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["PhoneTaken"]
    assert cycle.mutations == 0


def test_a_value_shopify_refuses_is_left_out_remembered_and_tried_again_only_when_asked(house: Rig) -> None:
    house.user(ADA, email="ada@x.example.com", first_name="see www.spam.example.com", last_name="Byron")
    assert house.cycle().outcomes[0].result == "applied"
    assert (hers(house, ADA).first_name, hers(house, ADA).last_name) == (None, "Byron")
    cycle = house.cycle()
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["Rejected"]
    assert cycle.mutations == 0
    asked = house.cycle(explicit=True)
    assert [o.result for o in asked.outcomes] == ["failed"]
    assert house.cycle(explicit=True).planned.plan.summary.actions == 0
    house.user(ADA, first_name="Ada")
    house.cycle()
    assert hers(house, ADA).first_name == "Ada"
    at_rest(house)


# --- the wire breaks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "internal_error_after", "truncated"])
@pytest.mark.parametrize("on", ["customerSet", "metafieldsSet", "tagsAdd"])
def test_an_answer_that_was_lost_is_looked_for_before_anything_is_sent_again(house: Rig, kind: Any, on: str) -> None:
    house.rotate("acme", metafields={"clerk.avatar": {"from": "image_url", "type": "url"}})
    house.sim("acme").staff("guest_checkout", email="ada@x.example.com")
    house.user(ADA, email="ada@x.example.com", first_name="Ada", image_url="https://img.example.com/1.png")
    house.user(BOB, email="bob@x.example.com", first_name="Bob", image_url="https://img.example.com/2.png")
    house.sim("acme").faults.add(kind, on=on)
    cycle = house.cycle()
    assert not cycle.failures
    assert emails(house) == {ADA: "ada@x.example.com", BOB: "bob@x.example.com"}
    at_rest(house)


def test_an_answer_that_is_lost_for_good_is_given_up_and_told(house: Rig) -> None:
    house.user(ADA, email="ada@x.example.com")
    house.sim("acme").faults.add("lost_before", on="customerSet", times=None)
    outcome = house.cycle().outcomes[0]
    assert (outcome.result, house.people("acme")) == ("failed", {})
    assert outcome.message.startswith("given up after 5 looks")
    house.sim("acme").faults.clear()
    house.cycle()
    at_rest(house)


def test_a_look_that_fails_before_a_batch_fails_its_actions_and_harms_nobody(house: Rig) -> None:
    planned = changed(house)
    house.sim("acme").faults.add("internal_error", on="nodes")
    outcomes = house.apply(planned, fresh=False)
    assert [o.result for o in outcomes] == ["failed"]
    house.cycle()
    at_rest(house)


def test_a_store_whose_access_is_refused_stops_and_the_rest_is_not_tried(house: Rig) -> None:
    three(house)
    for user in (ADA, BOB, CYD):
        house.user(user, last_name="New")
    house.user("user_dee", email="dee@x.example.com")
    planned = house.plan()
    house.sim("acme").faults.add("missing_scope", on="customerSet", times=None)
    outcomes = house.apply(planned)
    assert {o.result for o in outcomes} == {"failed", "not tried"}
    assert any(isinstance(o.error, AccessError) for o in outcomes)


@pytest.mark.parametrize("status", [402, 401])
def test_a_frozen_store_is_told_in_the_plan_and_nothing_is_tried_there(house: Rig, status: int) -> None:
    planned = changed(house)
    house.sim("acme").status = status
    part = house.plan().plan.stores[0]
    assert part.error is not None
    assert part.error.startswith("StoreSuspended: ")
    assert [o.result for o in house.apply(planned, fresh=False)] == ["not tried"]


def test_a_parking_that_fails_is_warned_of_and_harms_nobody(house: Rig) -> None:
    three(house)
    house.user(ADA, email=f"{BOB}@x.example.com")
    house.user(BOB, email=f"{ADA}@x.example.com")
    planned = house.plan()
    house.sim("acme").faults.add("internal_error", on="customerSet")
    house.apply(planned)
    assert any("could not be parked" in said for said in house.warnings)
    for _ in range(2):
        house.cycle()
    assert emails(house) == {ADA: f"{BOB}@x.example.com", BOB: f"{ADA}@x.example.com", CYD: f"{CYD}@x.example.com"}


def test_access_that_ends_while_parking_stops_the_store(house: Rig) -> None:
    three(house)
    house.user(ADA, email=f"{BOB}@x.example.com")
    house.user(BOB, email=f"{ADA}@x.example.com")
    planned = house.plan()
    house.sim("acme").faults.add("missing_scope", on="customerSet", times=None)
    assert {o.result for o in house.apply(planned)} == {"not tried"}
    house.sim("acme").faults.clear()
    house.cycle()
    assert hers(house, ADA).email == f"{BOB}@x.example.com"


# --- the source ----------------------------------------------------------------------------------------------------


def test_an_empty_source_releases_nobody_and_says_so(house: Rig) -> None:
    three(house)
    house.profiles.rows.clear()
    with pytest.raises(SourceError, match="nobody is released"):
        house.plan()


def test_a_lost_state_is_rebuilt_from_the_shop_without_a_mutation(house: Rig) -> None:
    three(house)
    before = {m.clerk_user_id: m.customer_id for m in house.mappings("acme")}
    house.lose_state()
    assert house.cycle().mutations == 0
    assert {m.clerk_user_id: m.customer_id for m in house.mappings("acme")} == before


def test_what_was_done_is_recorded_with_before_and_after(house: Rig) -> None:
    three(house)
    house.user(ADA, first_name="Ada")
    house.cycle()
    events = house.state.events(user=ClerkUserId(ADA))
    assert [e.kind for e in events] == ["create", "update"]
    change = events[-1].changes[0]
    assert (change["field"], change["before"], change["after"], change["why"]) == (
        "first_name",
        ADA,
        "Ada",
        "profile changed",
    )


def test_an_empty_plan_sends_nothing(house: Rig) -> None:
    scan_result = house.plan().scans[house.stores[next(iter(house.stores))].name]
    assert list(applied(scan_result, house.store_context(next(iter(house.stores.values()))), fresh=True)) == []
