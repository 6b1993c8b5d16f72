"""What the state says of a user after a reconcile or a write."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.core.decide.leaving.absence import Absence, absence_hold, absent_row
from reconciler.core.decide.record import (
    SEEN_EVERY,
    last_applied,
    new_row,
    row_after_observation,
    row_after_write,
    with_intent,
    with_refused,
)
from reconciler.core.fields.desired import config_digest, profile_digest, spec_of
from reconciler.core.fields.spellings import spellings_of
from reconciler.core.model.action import Change
from reconciler.core.model.mapping import BACKLINK, NO_FINGERPRINTS, AgreedTags, Intent, Mapping, RefusedValue
from reconciler.core.model.view import Decision, Subject
from tests.core.people import (
    ADA,
    BOB,
    NOW,
    changed,
    customer,
    decided,
    gid,
    mapping,
    profile,
    same,
    settled,
    store,
)

ada = profile(ADA)
RUN = Absence(grace_s=300)


def row_after_reconcile(who: Any, row: Mapping | None, decision: Decision, **policy: Any) -> Mapping | None:
    return row_after_observation(Subject(ADA, who, row), decision, store(**policy), now=NOW)


def written(decision: Decision, row: Mapping | None, who: Any, *changes: Change, **more: Any) -> Mapping:
    given = {"customer_id": gid(7), "finished": True, **more}
    return row_after_write(row, decision, who, store(), written=changes, now=NOW, **given)


# --- after a look --------------------------------------------------------------------------------------------------


def test_the_first_reconcile_of_a_customer_that_is_right_makes_a_row_in_which_nothing_is_ours() -> None:
    row = row_after_reconcile(ada, None, decided(ada, by_backlink=same(ada)))
    assert row is not None
    assert (row.customer_id, row.email, row.status) == (gid(7), ada.email, "in_sync")
    assert (row.first_seen_at, row.last_seen_at) == (NOW, NOW)
    assert row.applied["first_name"].value == "User_Ada"
    assert not any(a.ours for name, a in row.applied.items() if name != BACKLINK)
    assert row.profile_digest == profile_digest(ada)
    assert row.config_digest == config_digest(store())


def test_no_one_gets_a_row_for_nothing() -> None:
    assert row_after_reconcile(None, None, decided(None)) is None
    assert row_after_reconcile(ada, None, Decision(clerk_user_id=ADA, status="in_sync")) is None
    assert row_after_reconcile(None, None, Decision(clerk_user_id=ADA, status="released")) is None


def test_a_held_user_without_a_customer_has_a_row_that_says_why() -> None:
    who = profile(ADA, email=None)
    row = row_after_reconcile(who, None, decided(who))
    assert row is not None
    assert (row.customer_id, row.status, row.reason) == (None, "held", "NoEmail")
    assert row.message
    assert row.applied == {}


def test_a_hold_of_the_whole_goes_before_one_of_a_field() -> None:
    who = profile(ADA, phone="nonsense")
    row = row_after_reconcile(who, None, decided(who, policy=store(paused=True)))
    assert row is not None
    assert row.reason == "StorePaused"
    assert "phone" in (row.message or "")


def test_an_unchanged_row_is_written_once_an_hour_and_not_more() -> None:
    decision = decided(ada, by_backlink=same(ada))
    first = row_after_reconcile(ada, None, decision)
    assert first is not None
    again = decided(ada, first, by_backlink=same(ada), mapped=same(ada))
    soon, later = NOW + SEEN_EVERY - timedelta(seconds=1), NOW + SEEN_EVERY
    assert row_after_observation(Subject(ADA, ada, first), again, store(), now=soon) is None
    moved = row_after_observation(Subject(ADA, ada, first), again, store(), now=later)
    assert moved is not None
    assert moved.last_seen_at == later
    assert moved.first_seen_at == NOW


def test_another_policy_moves_the_row_immediately() -> None:
    first = row_after_reconcile(ada, None, decided(ada, by_backlink=same(ada)))
    assert first is not None
    again = decided(ada, first, mapped=same(ada))
    assert row_after_observation(Subject(ADA, ada, first), again, store(country="CA"), now=NOW) is not None


def test_a_followed_backlink_moves_the_row_to_the_other_customer_and_forgets_what_was_agreed_on_the_first() -> None:
    row = settled(profile(ADA, last_name="B"), same(ada))
    found = decided(ada, row, by_backlink=same(ada, 9))
    moved = row_after_reconcile(ada, row, found)
    assert moved is not None
    assert moved.customer_id == gid(9)
    assert not any(a.ours for name, a in moved.applied.items() if name != BACKLINK)


def test_a_user_who_waits_for_an_address_says_so_and_keeps_the_intent() -> None:
    later = profile(ADA, email="new@x.example.com")
    there = same(ada, email=None)
    row = settled(ada, same(ada), intent=Intent(kind="park", parked={"email": ada.email or ""}))
    blocked = decided(later, row, mapped=there, by_email=customer(9, email="new@x.example.com", backlink=BOB))
    held = replace(blocked, action=None, status="held")
    found = row_after_reconcile(later, row, held)
    assert found is not None
    assert found.waits_for_email == "new@x.example.com"
    assert found.intent == row.intent


def test_a_reconcile_that_finds_all_well_ends_the_intent() -> None:
    row = settled(ada, same(ada), intent=Intent(kind="relink"), waits_for_email="x")
    found = row_after_reconcile(ada, row, decided(ada, row, mapped=same(ada)))
    assert found is not None
    assert (found.intent, found.waits_for_email) == (None, None)


# --- leaving and coming back ---------------------------------------------------------------------------------------


def test_who_goes_leaves_a_tombstone_with_its_time() -> None:
    row = settled(ada, same(ada))
    released = row_after_reconcile(None, row, decided(None, row))
    assert released is not None
    assert (released.status, released.left_at, released.customer_id) == ("released", NOW, gid(7))
    assert (released.profile_digest, released.absent_since) == (row.profile_digest, None)


def test_a_mapping_keeps_the_digest_and_the_time_of_the_row_that_was_last_wanted() -> None:
    then = NOW - timedelta(days=1)
    dated = profile(ADA, updated_at=then)
    row = row_after_reconcile(dated, None, decided(dated, None, mapped=same(ada)))
    assert row is not None
    assert (row.wanted_digest, row.wanted_row_at) == (profile_digest(ada), then)
    marked = profile(ADA, deleted=True, updated_at=NOW)
    released = row_after_reconcile(marked, row, decided(marked, row))
    assert released is not None
    assert (released.profile_digest, released.wanted_digest) == (profile_digest(marked), profile_digest(ada))
    assert (released.left_row_at, released.wanted_row_at) == (NOW, then)


def test_an_earlier_row_from_a_standby_changes_nothing_of_what_was_read_last() -> None:
    known = settled(
        ada, same(ada), wanted_digest=profile_digest(ada), wanted_row_at=NOW, profile_digest=profile_digest(ada)
    )
    shown = profile(ADA, first_name="Adah", updated_at=NOW - timedelta(seconds=1), may_lag=True)
    decision = decided(shown, known, mapped=same(ada))
    row = row_after_reconcile(shown, known, decision)
    assert row is not None
    assert (row.status, row.reason) == ("held", "StaleRow")
    assert (row.wanted_digest, row.wanted_row_at, row.profile_digest) == (profile_digest(ada), NOW, profile_digest(ada))
    assert row.applied == known.applied
    assert decided(shown, row, mapped=same(ada)).holds, "it decides nothing the next time either"


def test_a_moved_updated_at_alone_writes_no_mapping() -> None:
    dated, touched = (profile(ADA, updated_at=NOW - timedelta(days=days)) for days in (2, 1))
    row = row_after_reconcile(dated, None, decided(dated, None, mapped=same(ada)))
    assert row_after_reconcile(touched, row, decided(touched, row, mapped=same(ada))) is None


def test_a_row_that_is_missing_changes_nothing_but_since_when() -> None:
    since = NOW - timedelta(minutes=2)
    row = settled(
        ada, same(ada), intent=Intent(kind="park", parked={"email": "a@x"}), waits_for_email="x", wanted_digest="w"
    )
    held = absence_hold(ADA, None, row, RUN, NOW)
    decision = Decision(clerk_user_id=row.clerk_user_id, holds=(held,), status="pending", absent_since=NOW)
    first = row_after_reconcile(None, row, decision)
    assert first is not None
    assert first == replace(
        row,
        status="pending",
        reason="RowMissing",
        message=first.message,
        absent_since=NOW,
        reason_since=NOW,
        last_seen_at=NOW,
        **NO_FINGERPRINTS,
    )
    again = absent_row(first, None, decision.holds[0], store(), now=NOW, since=since)
    assert again.absent_since == since
    back = row_after_reconcile(ada, again, decided(ada, again, mapped=same(ada)))
    assert back is not None
    assert (back.status, back.reason, back.absent_since) == ("in_sync", None, None)


def test_a_tombstone_keeps_its_time_its_reason_and_the_row_it_was_made_for() -> None:
    since = NOW - timedelta(days=3)
    row = settled(ada, same(ada), status="released", left_at=since, profile_digest="then", reason="r", message="m")
    found = row_after_reconcile(None, row, decided(None, row))
    assert found is not None
    assert (found.left_at, found.profile_digest, found.reason, found.message) == (since, "then", "r", "m")


def test_a_tombstone_is_removed_when_the_user_is_back() -> None:
    row = settled(ada, same(ada), status="released", left_at=NOW - timedelta(days=3))
    found = row_after_reconcile(ada, row, decided(ada, row, mapped=same(ada)))
    assert found is not None
    assert (found.status, found.left_at, found.reason) == ("in_sync", None, None)


@pytest.mark.parametrize(("how", "status"), [("tag", "released"), ("delete", "released"), ("erase", "erased")])
def test_a_release_that_was_executed_is_a_tombstone(how: str, status: str) -> None:
    there = same(ada, can_delete=True)
    row = settled(ada, there)
    decision = decided(None, row, store(on_leave=how), mapped=there)
    assert decision.action is not None
    found = written(decision, row, None, *decision.action.changes)
    assert (found.status, found.left_at) == (status, NOW)


def test_the_leave_tag_is_ours_once_we_wrote_it() -> None:
    there = same(ada, tags=("vip",))
    row = settled(ada, there)
    decision = decided(None, row, store(on_leave="tag"), mapped=there)
    assert decision.action is not None
    found = written(decision, row, None, *decision.action.changes)
    assert found.applied["tags"].tags == AgreedTags(owned=("clerk-left",))
    untouched = written(decision, row, None)
    assert untouched.applied == row.applied
    first = mapping(ADA, 7)
    assert written(decision, first, None, *decision.action.changes).applied["tags"].tags.owned == ("clerk-left",)


def test_who_comes_back_loses_the_leave_tag_and_keeps_the_rest() -> None:
    policy = store(on_leave="tag")
    there = same(ada, tags=("clerk-left", "vip"))
    left = decided(None, settled(ada, same(ada)), policy, mapped=same(ada))
    assert left.action is not None
    row = written(left, settled(ada, same(ada)), None, *left.action.changes)
    back = profile(ADA, updated_at=NOW + timedelta(days=1))
    found = decided(back, row, policy, mapped=there)
    assert found.action is not None
    assert [(c.field, c.after) for c in found.action.changes] == [("tags", ["vip"])]


# --- after a write -------------------------------------------------------------------------------------------------


def test_what_was_written_is_ours_and_the_generation_grows() -> None:
    decision = decided(ada)
    assert decision.action is not None
    row = written(decision, None, ada, *decision.action.changes)
    assert (row.customer_id, row.email, row.status, row.generation) == (gid(7), ada.email, "in_sync", 1)
    assert {f for f, a in row.applied.items() if a.ours} == {"email", "first_name", BACKLINK}
    assert written(decision, row, ada).generation == 2


def test_a_half_done_action_is_pending_and_carries_its_intent() -> None:
    decision = decided(ada)
    row = written(decision, None, ada, finished=False, intent=Intent(kind="relink"))
    assert (row.status, row.intent) == ("pending", Intent(kind="relink"))
    assert written(decision, row, ada, intent=Intent(kind="relink")).intent is None


def test_what_was_ours_stays_ours_while_it_is_the_same_and_ends_with_another_value() -> None:
    row = settled(ada, same(ada))
    spec = spec_of(ada, store())
    assert last_applied(row, spec, same(ada), written=())["first_name"].ours
    by_staff = spec_of(profile(ADA, first_name="Adah"), store())
    found = last_applied(row, by_staff, same(ada, first_name="Adah"), written=())
    assert (found["first_name"].value, found["first_name"].ours) == ("Adah", False)


def test_a_field_on_which_both_differ_or_that_was_not_shown_keeps_what_was_agreed() -> None:
    row = settled(ada, same(ada))
    for there in (same(ada, first_name="Staff"), same(ada, first_name=None, unknown={"first_name": "more"})):
        assert last_applied(row, spec_of(ada, store()), there, written=())["first_name"] == row.applied["first_name"]


def test_what_is_hidden_for_a_time_is_not_forgotten() -> None:
    policy = store(tags=["app-user"])
    row = settled(ada, same(ada, 7, policy), policy)
    hidden = same(ada, 7, policy, email=None, tags=(), unknown=dict.fromkeys(("email", "tags"), "more"))
    decision = decided(ada, row, policy, mapped=hidden, by_backlink=hidden)
    found = row_after_observation(Subject(ADA, ada, row), decision, policy, now=NOW)
    assert found is not None
    assert (found.status, found.reason, found.email) == ("held", "Unreadable", row.email)
    assert found.applied["tags"] == row.applied["tags"]


def test_a_cleared_value_is_agreed_on_and_not_ours() -> None:
    gone = profile(ADA, first_name=None)
    found = last_applied(
        settled(ada, same(ada)), spec_of(gone, store()), same(ada), written=(changed("first_name", "x", None),)
    )
    assert (found["first_name"].value, found["first_name"].ours) == (None, False)


def test_tags_we_added_are_ours_and_those_that_were_there_are_only_agreed_on() -> None:
    spec = spec_of(ada, store(tags=["app-user", "VIP"]))
    there = same(ada, tags=("vip",))
    found = last_applied(None, spec, there, written=(changed("tags", ["vip"], ["app-user", "vip"]),))["tags"]
    assert found.tags == AgreedTags(owned=("app-user",), agreed=("VIP", "app-user"))
    assert found.ours


def test_a_tag_of_ours_that_is_gone_is_ours_no_more() -> None:
    policy = store(tags=["app-user"])
    row = settled(ada, same(ada, 7, policy), policy)
    found = last_applied(row, spec_of(ada, policy), same(ada, tags=()), written=())["tags"]
    assert found.tags == AgreedTags(agreed=("app-user",))  # that it is wanted was agreed on: its loss is drift


def test_a_tag_of_ours_that_staff_took_off_is_ours_no_more_after_a_write_of_another_field() -> None:
    policy = store(tags=["app-user"])
    row, later = settled(ada, same(ada, 7, policy), policy), profile(ADA, first_name="Grace")
    decision = decided(later, row, policy, mapped=same(ada, 7, policy, tags=()))
    found = written(decision, row, later, changed("first_name", "User_Ada", "Grace"))
    assert row.applied["tags"].tags.owned == ("app-user",)
    assert found.applied["tags"].tags.owned == ()


def test_a_tag_that_another_process_recorded_during_the_write_stays_ours() -> None:
    row = settled(ada, same(ada, 7, store(tags=["newer"])), store(tags=["newer"]))
    written = (changed("tags", ["app-user"], ["app-user", "older"]),)
    spec, seen = spec_of(ada, store(tags=["app-user", "older"])), same(ada, tags=("app-user",))
    shown = {"tags": ["app-user", "older"]}
    found = last_applied(row, spec, seen, written=written, shown=shown, is_newer=True)["tags"]
    assert found.tags.owned == ("newer", "older")


def test_a_relinked_row_points_to_the_new_customer() -> None:
    row = settled(ada, same(ada))
    later = profile(ADA, email="new@x.example.com")
    target = customer(9, email="new@x.example.com", first_name="Guest")
    decision = decided(later, row, mapped=same(ada), by_email=target)
    found = written(decision, row, later, customer_id=gid(9), finished=False)
    assert (found.customer_id, found.email) == (gid(9), "new@x.example.com")


def test_an_intent_is_declared_before_the_first_call() -> None:
    declared = with_intent(None, decided(ada), store(), Intent(kind="relink"), now=NOW)
    assert (declared.intent, declared.status, declared.customer_id) == (Intent(kind="relink"), "pending", None)
    row = settled(ada, same(ada))
    again = with_intent(row, decided(ada), store(), Intent(kind="park"), now=NOW)
    assert (again.customer_id, again.applied, again.intent) == (gid(7), row.applied, Intent(kind="park"))


def test_that_a_person_tried_a_refused_value_is_known_until_there_is_another() -> None:
    row = new_row(ADA, store(), now=NOW)
    one = with_refused(row, {"phone": RefusedValue(digest="a", asked=True)})
    two = with_refused(one, {"phone": RefusedValue(digest="a"), "note": RefusedValue(digest="n")})
    other = with_refused(two, {"phone": RefusedValue(digest="b")})
    assert one.refused["phone"].asked
    assert (two.refused["phone"].asked, two.refused["note"].asked) == (True, False)
    assert not other.refused["phone"].asked


def test_of_two_tags_that_the_shop_respells_each_gets_the_more_similar_one() -> None:
    wide, hyphen = "\uff41\uff50\uff50\uff0d\uff55\uff53\uff45\uff52", "wave\u20116"
    for sent in (["app-user", "wave-6"], ["wave-6", "app-user"]):
        assert spellings_of(sent, frozenset(), [wide, hyphen]) == {"app-user": wide, "wave-6": hyphen}
