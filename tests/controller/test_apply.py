"""Plans executed: rechecked, recorded step by step, and never twice. Whole cycles in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.apply.plan import apply_plan
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
def components(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme()) as made:
        yield made


def three(components: Rig) -> None:
    for user in (ADA, BOB, CYD):
        components.user(user, email=f"{user}@x.example.com", first_name=user)
    components.cycle()


def theirs(components: Rig, user: str) -> Shown:
    found = components.of_user("acme", user)
    assert found is not None
    return found


def emails(components: Rig) -> dict[str | None, str | None]:
    return {c.backlink: c.email for c in components.people("acme").values()}


def check_at_rest(components: Rig) -> None:
    cycle = components.cycle()
    assert cycle.mutations == 0
    assert cycle.planned.plan.summary.actions == 0


# --- one action each -----------------------------------------------------------------------------------------------


def test_a_new_user_gets_one_customer_in_one_mutation(components: Rig) -> None:
    components.user(ADA, email="ada@x.example.com", first_name="Ada")
    cycle = components.cycle()
    assert (cycle.mutations, [o.result for o in cycle.outcomes]) == (1, ["applied"])
    assert (theirs(components, ADA).email, theirs(components, ADA).tags) == ("ada@x.example.com", ("app-user",))
    check_at_rest(components)


def test_a_guest_is_adopted_with_everything_staff_gave_them(components: Rig) -> None:
    components.sim("acme").staff(
        "create", email="ADA@x.example.com", tags=["vip"], note="by staff", addresses=[{"city": "Ottawa"}]
    )
    components.user(ADA, email="ada@x.example.com", first_name="Ada", image_url="https://img.example.com/1.png")
    components.rotate("acme", metafields={"clerk.avatar": {"from": "image_url", "type": "url"}})
    before = next(iter(components.people("acme").values()))
    components.cycle()
    after = theirs(components, ADA)
    assert after.id == before.id
    assert (after.note, after.rest, after.email) == ("by staff", before.rest, "ADA@x.example.com")
    assert after.tags == ("app-user", "vip")
    assert after.metafields == {"clerk.avatar": "https://img.example.com/1.png"}
    check_at_rest(components)
    components.user(ADA, image_url=None)
    components.cycle()
    assert theirs(components, ADA).metafields == {}
    check_at_rest(components)


@pytest.mark.parametrize(("how", "left"), [("keep", ("app-user",)), ("tag", ("app-user", "clerk-left"))])
def test_who_leaves_stays_as_the_policy_says_and_comes_back_to_the_same_customer(
    components: Rig, how: str, left: tuple[str, ...]
) -> None:
    three(components)
    components.rotate("acme", on_leave=how)
    before = theirs(components, ADA)
    components.leave(ADA)
    components.cycle()
    assert theirs(components, ADA).tags == left
    check_at_rest(components)
    components.user(ADA, email=f"{ADA}@x.example.com", first_name=ADA)
    components.cycle()
    assert theirs(components, ADA) == before
    check_at_rest(components)


def test_who_leaves_is_deleted_where_that_is_the_policy_and_they_never_bought(components: Rig) -> None:
    three(components)
    components.rotate("acme", on_leave="delete")
    components.sim("acme").staff("order", id=theirs(components, BOB).id)
    components.leave(ADA)
    components.leave(BOB)
    components.cycle()
    assert components.of_user("acme", ADA) is None
    assert theirs(components, BOB).tags == ("app-user", "clerk-left")
    check_at_rest(components)


def test_who_was_erased_is_never_made_again(components: Rig) -> None:
    three(components)
    components.rotate("acme", on_leave="erase")
    components.leave(ADA)
    components.cycle()
    components.user(ADA, email=f"{ADA}@x.example.com")
    cycle = components.cycle()
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["Erased"]
    assert cycle.mutations == 0


# --- addresses -----------------------------------------------------------------------------------------------------


def test_a_user_moves_to_the_guest_with_their_new_address_and_leaves_a_trace(components: Rig) -> None:
    three(components)
    old = theirs(components, ADA)
    components.sim("acme").staff("guest_checkout", email="new@x.example.com")
    components.user(ADA, email="new@x.example.com")
    components.cycle()
    new = theirs(components, ADA)
    assert new.email == "new@x.example.com"
    assert new.tags == ("app-user",)
    left = components.people("acme")[old.id]
    assert (left.backlink, left.tags) == (None, ())
    assert left.metafields == {"clerk.moved_to": new.id}
    check_at_rest(components)
    components.user(ADA, email=f"{ADA}@x.example.com")
    components.cycle()
    assert theirs(components, ADA).id == old.id
    assert theirs(components, ADA).metafields == {}
    check_at_rest(components)


def test_two_customers_become_one_where_the_policy_merges(components: Rig) -> None:
    three(components)
    components.rotate("acme", on_email_conflict="merge")
    components.sim("acme").staff("guest_checkout", email="new@x.example.com")
    components.user(ADA, email="new@x.example.com")
    components.cycle()
    assert theirs(components, ADA).email == "new@x.example.com"
    assert len(components.people("acme")) == 3
    check_at_rest(components)


@pytest.mark.parametrize("size", [2, 3])
def test_addresses_go_round_in_one_cycle_and_everybody_keeps_their_customer(components: Rig, size: int) -> None:
    three(components)
    users = (ADA, BOB, CYD)[:size]
    before = {u: theirs(components, u).id for u in users}
    for i, user in enumerate(users):
        components.user(user, email=f"{users[(i + 1) % size]}@x.example.com")
    cycle = components.cycle()
    assert not cycle.failures
    assert {u: theirs(components, u).id for u in users} == before
    assert [theirs(components, u).email for u in users] == [
        f"{users[(i + 1) % size]}@x.example.com" for i in range(size)
    ]
    check_at_rest(components)


@pytest.mark.matrix
@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_dies_in_a_circle_leaves_it_to_the_next(components: Rig, at: int, *, after: bool) -> None:
    three(components)
    before = {u: theirs(components, u).id for u in (ADA, BOB)}
    components.user(ADA, email=f"{BOB}@x.example.com")
    components.user(BOB, email=f"{ADA}@x.example.com")
    with components.dying(at, after=after):
        components.cycle()
    components.cycle()
    components.cycle()
    assert {u: theirs(components, u).id for u in (ADA, BOB)} == before
    assert (theirs(components, ADA).email, theirs(components, BOB).email) == (
        f"{BOB}@x.example.com",
        f"{ADA}@x.example.com",
    )
    check_at_rest(components)


@pytest.mark.matrix
@pytest.mark.parametrize("at", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("policy", ["relink", "merge"])
def test_a_process_that_dies_while_somebody_moves_leaves_it_to_the_next(
    components: Rig, policy: str, at: int, *, after: bool
) -> None:
    three(components)
    components.rotate("acme", on_email_conflict=policy, heal_drift="hold")
    components.sim("acme").staff("guest_checkout", email="new@x.example.com")
    components.user(ADA, email="new@x.example.com", last_name="New")
    with components.dying(at, after=after):
        components.cycle()
    for _ in range(2):
        components.clock.sleep(60)  # Shopify merges in its own time
        components.cycle()
    assert (theirs(components, ADA).email, theirs(components, ADA).last_name) == ("new@x.example.com", "New")
    assert sum(c.backlink == ADA for c in components.people("acme").values()) == 1
    check_at_rest(components)


def test_a_parked_address_is_given_back_where_the_circle_is_broken_by_somebody_else(components: Rig) -> None:
    three(components)
    components.user(ADA, email=f"{BOB}@x.example.com")
    components.user(BOB, email=f"{ADA}@x.example.com")
    planned = components.plan()
    components.user(BOB, email="elsewhere@x.example.com", email_verified=False)
    outcomes = components.apply(planned)
    assert {o.result for o in outcomes} <= {"refused", "applied"}
    assert theirs(components, ADA).email is not None
    for _ in range(2):
        components.cycle()
    assert theirs(components, ADA).email == f"{ADA}@x.example.com"
    check_at_rest(components)


# --- the world moves -----------------------------------------------------------------------------------------------


def changed(components: Rig) -> Any:
    three(components)
    components.user(ADA, last_name="New")
    return components.plan()


def test_a_saved_action_for_an_edited_customer_is_refused_by_name(components: Rig) -> None:
    planned = changed(components)
    components.sim("acme").staff("edit", id=theirs(components, ADA).id, note="staff")
    outcome = components.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == (
        "refused",
        "the customer has changed in Shopify since the plan was made",
    )
    assert theirs(components, ADA).last_name is None


def test_a_saved_action_for_a_changed_profile_is_refused_by_name(components: Rig) -> None:
    planned = changed(components)
    components.user(ADA, last_name="Newer")
    outcome = components.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "the profile has changed since the plan was made")


def test_a_saved_action_that_somebody_else_did_is_refused_as_done(components: Rig) -> None:
    planned = changed(components)
    components.cycle()
    outcome = components.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "there is nothing left to do")


def test_an_action_of_a_plan_made_just_now_that_somebody_else_did_has_not_failed(components: Rig) -> None:
    planned = changed(components)
    components.cycle()
    assert [o.result for o in components.apply(planned)] == ["done already"]


def test_a_release_and_the_rest_of_a_user_in_part_held_are_done_already_where_somebody_else_did_them(
    components: Rig,
) -> None:
    three(components)
    components.user(ADA, last_name="New", phone="12")
    components.leave(BOB)
    planned = components.plan()
    assert {a.clerk_user_id: a.kind for a in planned.plan.stores[0].actions} == {ADA: "update", BOB: "release"}
    assert [h.reason for h in planned.plan.stores[0].holds] == ["PhoneInvalid"]
    components.apply(planned)
    assert {o.result for o in components.apply(planned)} == {"done already"}
    components.user(BOB, email=f"{BOB}@x.example.com", first_name=BOB)
    components.cycle()
    assert {o.action.kind: o.result for o in components.apply(planned)} == {
        "update": "done already",
        "release": "refused",
    }


def test_a_saved_action_that_is_held_now_says_by_what(components: Rig) -> None:
    planned = changed(components)
    components.rotate("acme", paused=True)
    outcome = components.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "it is held now: StorePaused")


def test_a_saved_action_that_is_another_now_is_refused(components: Rig) -> None:
    planned = changed(components)
    components.rotate("acme", tags=["app-user", "more"])
    outcome = components.apply(planned, fresh=False)[0]
    assert (outcome.result, outcome.message) == ("refused", "another decision is due now")


@pytest.mark.parametrize("fresh", [True, False])
def test_a_planned_create_for_a_user_who_left_or_changed_is_refused(components: Rig, *, fresh: bool) -> None:
    three(components)
    components.user("user_dee", email="dee@x.example.com")
    components.user("user_eve", email="eve@x.example.com", locale="de")
    components.user("user_fay", email="fay@x.example.com")
    planned = components.plan()
    components.leave("user_dee")
    components.user("user_fay", email="fay2@x.example.com")
    components.rotate("acme", where={"locale": [None]})
    results = {o.action.clerk_user_id: o.result for o in components.apply(planned, fresh=fresh)}
    assert {results[ClerkUserId(u)] for u in ("user_dee", "user_eve", "user_fay")} == {"refused"}
    assert len(components.people("acme")) == 3


def test_a_create_with_an_address_that_a_guest_has_taken_becomes_an_adoption(components: Rig) -> None:
    components.user(ADA, email="ada@x.example.com")
    planned = components.plan()
    components.sim("acme").staff("guest_checkout", email="ada@x.example.com")
    outcome = components.apply(planned)[0]
    assert outcome.result == "applied"
    assert len(components.people("acme")) == 1
    assert theirs(components, ADA).orders == 1
    check_at_rest(components)


def test_a_create_with_a_taken_phone_proceeds_without_it(components: Rig) -> None:
    components.user(ADA, email="ada@x.example.com", phone="+16134505293")
    planned = components.plan()
    components.sim("acme").staff("create", phone="+16134505293")
    assert components.apply(planned)[0].result == "applied"
    assert theirs(components, ADA).phone is None
    cycle = components.cycle()
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["PhoneTaken"]
    assert cycle.mutations == 0


def test_a_value_shopify_refuses_is_left_out_remembered_and_tried_again_only_when_asked(components: Rig) -> None:
    components.user(ADA, email="ada@x.example.com", first_name="see www.spam.example.com", last_name="Byron")
    assert components.cycle().outcomes[0].result == "applied"
    assert (theirs(components, ADA).first_name, theirs(components, ADA).last_name) == (None, "Byron")
    cycle = components.cycle()
    assert [h.reason for h in cycle.planned.plan.stores[0].holds] == ["Rejected"]
    assert cycle.mutations == 0
    asked = components.cycle(explicit=True)
    assert [o.result for o in asked.outcomes] == ["failed"]
    assert components.cycle(explicit=True).planned.plan.summary.actions == 0
    components.user(ADA, first_name="Ada")
    components.cycle()
    assert theirs(components, ADA).first_name == "Ada"
    check_at_rest(components)


# --- the wire breaks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lost_before", "lost_after", "internal_error_after", "truncated"])
@pytest.mark.parametrize("on", ["customerSet", "metafieldsSet", "tagsAdd"])
def test_after_a_lost_answer_the_user_is_observed_before_anything_is_sent_again(
    components: Rig, kind: Any, on: str
) -> None:
    components.rotate("acme", metafields={"clerk.avatar": {"from": "image_url", "type": "url"}})
    components.sim("acme").staff("guest_checkout", email="ada@x.example.com")
    components.user(ADA, email="ada@x.example.com", first_name="Ada", image_url="https://img.example.com/1.png")
    components.user(BOB, email="bob@x.example.com", first_name="Bob", image_url="https://img.example.com/2.png")
    components.sim("acme").faults.add(kind, on=on)
    cycle = components.cycle()
    assert not cycle.failures
    assert emails(components) == {ADA: "ada@x.example.com", BOB: "bob@x.example.com"}
    check_at_rest(components)


def test_an_answer_that_is_lost_for_good_is_given_up_and_told(components: Rig) -> None:
    components.user(ADA, email="ada@x.example.com")
    components.sim("acme").faults.add("lost_before", on="customerSet", times=None)
    outcome = components.cycle().outcomes[0]
    assert (outcome.result, components.people("acme")) == ("failed", {})
    assert outcome.message.startswith("given up after 5 attempts")
    components.sim("acme").faults.clear()
    components.cycle()
    check_at_rest(components)


def test_a_read_that_fails_before_a_batch_fails_its_actions_and_harms_no_one(components: Rig) -> None:
    planned = changed(components)
    components.sim("acme").faults.add("internal_error", on="nodes")
    outcomes = components.apply(planned, fresh=False)
    assert [o.result for o in outcomes] == ["failed"]
    components.cycle()
    check_at_rest(components)


def test_a_store_that_refuses_access_stops_and_the_rest_is_not_tried(components: Rig) -> None:
    three(components)
    for user in (ADA, BOB, CYD):
        components.user(user, last_name="New")
    components.user("user_dee", email="dee@x.example.com")
    planned = components.plan()
    components.sim("acme").faults.add("missing_scope", on="customerSet", times=None)
    outcomes = components.apply(planned)
    assert {o.result for o in outcomes} == {"failed", "not tried"}
    assert any(isinstance(o.error, AccessError) for o in outcomes)


@pytest.mark.parametrize("status", [402, 401])
def test_a_frozen_store_is_named_in_the_plan_and_nothing_is_tried_there(components: Rig, status: int) -> None:
    planned = changed(components)
    components.sim("acme").status = status
    part = components.plan().plan.stores[0]
    assert part.error is not None
    assert part.error.startswith("StoreSuspended: ")
    assert [o.result for o in components.apply(planned, fresh=False)] == ["not tried"]


def test_a_parking_that_fails_is_warned_of_and_harms_no_one(components: Rig) -> None:
    three(components)
    components.user(ADA, email=f"{BOB}@x.example.com")
    components.user(BOB, email=f"{ADA}@x.example.com")
    planned = components.plan()
    components.sim("acme").faults.add("internal_error", on="customerSet")
    components.apply(planned)
    assert any("could not be parked" in said for said in components.warnings)
    for _ in range(2):
        components.cycle()
    assert emails(components) == {ADA: f"{BOB}@x.example.com", BOB: f"{ADA}@x.example.com", CYD: f"{CYD}@x.example.com"}


def test_access_that_ends_while_parking_stops_the_store(components: Rig) -> None:
    three(components)
    components.user(ADA, email=f"{BOB}@x.example.com")
    components.user(BOB, email=f"{ADA}@x.example.com")
    planned = components.plan()
    components.sim("acme").faults.add("missing_scope", on="customerSet", times=None)
    assert {o.result for o in components.apply(planned)} == {"not tried"}
    components.sim("acme").faults.clear()
    components.cycle()
    assert theirs(components, ADA).email == f"{BOB}@x.example.com"


# --- the source ----------------------------------------------------------------------------------------------------


def test_an_empty_source_releases_no_one_and_says_so(components: Rig) -> None:
    three(components)
    components.profiles.rows.clear()
    with pytest.raises(SourceError, match="no user is released"):
        components.plan()


def test_a_lost_state_is_rebuilt_from_the_shop_without_a_mutation(components: Rig) -> None:
    three(components)
    before = {m.clerk_user_id: m.customer_id for m in components.mappings("acme")}
    components.lose_state()
    assert components.cycle().mutations == 0
    assert {m.clerk_user_id: m.customer_id for m in components.mappings("acme")} == before


def test_what_was_done_is_recorded_with_before_and_after(components: Rig) -> None:
    three(components)
    components.user(ADA, first_name="Ada")
    components.cycle()
    events = components.state.events(user=ClerkUserId(ADA))
    assert [e.kind for e in events] == ["create", "update"]
    change = events[-1].changes[0]
    assert (change.field, change.before, change.after, change.why) == (
        "first_name",
        ADA,
        "Ada",
        "profile changed",
    )


def test_an_empty_plan_sends_nothing(components: Rig) -> None:
    scan_result = components.plan().scans[components.stores[next(iter(components.stores))].name]
    assert (
        list(apply_plan(scan_result, components.store_context(next(iter(components.stores.values()))), fresh=True))
        == []
    )
