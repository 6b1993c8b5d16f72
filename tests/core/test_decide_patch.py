"""The patch of a known customer, and emails that another customer has (docs/rules.md, rules 4 and 5)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from reconciler.core.decide.actions import customer_digest
from reconciler.core.decide.decide import decide
from reconciler.core.decide.patch import keeps_its_email
from reconciler.core.decide.refused import refusal_digest, refused_value_digest
from reconciler.core.fields.desired import spec_of
from reconciler.core.model.act import Acceptance, Actor
from reconciler.core.model.customer import Customer
from reconciler.core.model.mapping import Intent, Mapping, RefusedValue
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Accepted
from reconciler.core.model.view import Rival, Taken, View
from tests.core.people import (
    ADA,
    BOB,
    NOW,
    after,
    changed,
    customer,
    decided,
    gid,
    held,
    kind,
    mapping,
    profile,
    same,
    settled,
    store,
    why,
)

ada = profile(ADA)
moved = profile(ADA, email="new@x.example.com")
theirs = customer(9, email="new@x.example.com", first_name="Guest")

# --- the patch -----------------------------------------------------------------------------------------------------


def test_a_user_who_is_in_sync_needs_nothing() -> None:
    found = decided(ada, settled(ada, same(ada)), mapped=same(ada), by_backlink=same(ada))
    assert (found.action, found.holds, found.status) == (None, (), "in_sync")


def test_only_what_differs_is_written() -> None:
    there = same(ada)
    found = decided(profile(ADA, last_name="Byron"), settled(ada, there), mapped=there)
    assert (kind(found), after(found)) == ("update", {"last_name": "Byron"})
    assert found.action is not None
    assert found.action.changes[0].before is None
    assert found.action.cost_points == 10


def test_an_action_says_which_row_and_which_customer_it_was_decided_on() -> None:
    there, later = same(ada), profile(ADA, last_name="Byron")
    first = decided(later, settled(ada, there), mapped=there).action
    edited = there.model_copy(update={"note": "by staff"})
    second = decided(later, settled(ada, there), mapped=edited).action
    third = decided(profile(ADA, last_name="Byron", phone="+4520123456"), settled(ada, there), mapped=there).action
    unused = decided(
        profile(ADA, last_name="Byron", note="x", metadata={"visits": 1}), settled(ada, there), mapped=there
    )
    seen = there.model_copy(update={"updated_at": NOW, "can_delete": True})
    fourth = decided(later, settled(ada, there), mapped=seen).action
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.customer_digest != second.customer_digest
    assert first.profile_digest != third.profile_digest
    assert first == fourth
    assert first == unused.action


def test_what_shopify_does_not_show_is_left_alone_and_never_called_equal() -> None:
    access = {"first_name": "level 2", "backlink": "read_x", "tags": "read_x"}
    hidden = same(ada, first_name=None, unknown=access, backlink=None, tags=())
    found = decided(ada, settled(ada, same(ada)), store(tags=["app-user"]), mapped=hidden)
    assert (found.action, found.status) == (None, "held")
    assert held(found) == {("Unreadable", "first_name"), ("Unreadable", "tags, backlink")}
    by_field = {h.field: h.message for h in found.holds}
    assert "needed: level 2" in by_field["first_name"]
    assert "needed: read_x" in by_field["tags, backlink"]


def test_what_is_hidden_holds_no_one_where_nothing_is_owed_there() -> None:
    access = dict.fromkeys(("note", "phone", "last_name", "locale", "tags"), "more")
    policy = store(fields={"note": "create_only"})
    noted = profile(ADA, note="from the profile", last_name=None)
    hidden = same(noted, 7, policy, note=None, unknown=access)
    assert decided(noted, settled(ada, same(ada)), policy, mapped=hidden).status == "in_sync"
    named = settled(profile(ADA, last_name="King"), same(ada))
    gone = decided(noted, named, policy, mapped=hidden)
    assert held(gone) == {("Unreadable", "last_name")}, "it was ours, and should be cleared"


def test_the_rest_of_a_customer_is_written_while_a_field_is_hidden() -> None:
    hidden = same(ada, email=None, unknown={"email": "level 2"})
    found = decided(profile(ADA, last_name="Byron"), settled(ada, same(ada)), mapped=hidden, by_backlink=hidden)
    assert (after(found), held(found)) == ({"last_name": "Byron"}, {("Unreadable", "email")})


def test_a_digest_of_a_customer_is_the_same_however_what_is_hidden_is_worded() -> None:
    one = same(ada, unknown={"note": "a", "phone": "b"})
    other = same(ada, unknown={"phone": "c", "note": "d"})
    assert customer_digest(one) == customer_digest(other) != customer_digest(same(ada))


def test_the_last_thing_that_names_a_customer_is_not_cleared() -> None:
    nameless = profile(ADA, email=None, first_name="Ada")
    there = same(nameless)
    gone = profile(ADA, email=None, first_name=None)
    found = decided(gone, settled(nameless, there, policy := store(require_email=False)), policy, mapped=there)
    assert found.action is None
    assert held(found) == {("Rejected", "first_name")}


def test_a_name_can_be_cleared_where_an_email_remains() -> None:
    there = same(ada)
    found = decided(profile(ADA, first_name=None), settled(ada, there), mapped=there)
    assert after(found) == {"first_name": None}


def test_a_taken_phone_is_held_and_the_rest_is_written() -> None:
    there = same(ada)
    later = profile(ADA, phone="+16134505293", last_name="Byron")
    found = decided(later, settled(ada, there), mapped=there, by_phone=customer(3, phone="+16134505293"))
    assert after(found) == {"last_name": "Byron"}
    assert held(found) == {("PhoneTaken", "phone")}


def test_a_name_that_is_too_long_is_held_before_shopify_refuses_it() -> None:
    there = same(ada)
    found = decided(profile(ADA, first_name="x" * 256, last_name="B"), settled(ada, there), mapped=there)
    assert after(found) == {"last_name": "B"}
    assert held(found) == {("Rejected", "first_name")}


def test_a_column_that_can_t_be_read_holds_its_field_and_no_other() -> None:
    there = same(ada)
    broken = profile(ADA, first_name=None, last_name="B", problems=({"field": "first_name", "message": "not text"},))
    found = decided(broken, settled(ada, there), mapped=there)
    assert after(found) == {"last_name": "B"}
    assert ("ProfileInvalid", "first_name") in held(found)


# --- drift, roll-out, and what is agreed to ------------------------------------------------------------------------


def test_what_staff_edited_is_put_right_as_drift() -> None:
    edited = same(ada, first_name="Staff")
    found = decided(ada, settled(ada, same(ada)), mapped=edited)
    assert (after(found), why(found)) == ({"first_name": "User_Ada"}, {"first_name": "drift"})


def test_heal_drift_hold_holds_drift_and_lets_the_profiles_changes_go() -> None:
    edited = same(ada, first_name="Staff")
    found = decided(profile(ADA, last_name="B"), settled(ada, same(ada)), store(heal_drift="hold"), mapped=edited)
    assert after(found) == {"last_name": "B"}
    assert held(found) == {("DriftHeld", "first_name")}


def test_roll_out_hold_holds_the_profiles_changes_and_lets_drift_be_healed() -> None:
    edited = same(ada, first_name="Staff")
    found = decided(profile(ADA, last_name="B"), settled(ada, same(ada)), store(roll_out="hold"), mapped=edited)
    assert after(found) == {"first_name": "User_Ada"}
    assert held(found) == {("RollOutHeld", "last_name")}


def test_a_backlink_taken_off_in_shopify_is_held_where_drift_is() -> None:
    there = same(ada, backlink=None)
    found = decided(ada, settled(ada, there), store(heal_drift="hold"), mapped=there)
    assert found.action is None
    assert held(found) == {("DriftHeld", "backlink")}


def test_a_backlink_we_had_not_written_yet_is_no_drift() -> None:
    there = same(ada, backlink=None)
    row = settled(ada, there, intent=Intent(kind="relink"))
    found = decided(ada, row, store(heal_drift="hold"), mapped=there)
    assert (after(found), why(found)) == ({"backlink": ADA}, {"backlink": "profile changed"})


@pytest.mark.parametrize("by", ["operator", "stores.yaml"])
def test_a_new_list_of_tags_does_not_bring_back_a_tag_with_accepted_removal(by: str) -> None:
    """The new tags are written and the old ones go; what staff removed stays accepted, and is drift afterwards."""
    ada, old = profile(ADA), store(tags=["app-user", "club"])
    said = Acceptance(("tags",), datetime(2027, 1, 1, tzinfo=UTC), Actor("ada", "console"), NOW)
    row = settled(ada, same(ada, where=old), old, accepted=said if by == "operator" else None)
    policy = _accepting("tags", until=date(2027, 1, 1)) if by == "stores.yaml" else {}
    edited = same(ada, where=old, tags=["club", "vip"])
    new = decided(ada, row, store(tags=["app-user", "news"], **policy), mapped=edited)
    assert after(new) == {"tags": ["news", "vip"]}
    assert [(a.change.before, a.change.after, a.change.why) for a in new.accepted] == [
        (["club", "vip"], ["app-user", "club", "vip"], "drift")
    ]
    assert after(decided(ada, replace(row, accepted=None), store(tags=["app-user", "news"]), mapped=edited)) == {
        "tags": ["app-user", "news", "vip"]
    }


def _accepting(*fields: str, until: date | datetime = date(2026, 11, 23), user: str = ADA) -> dict[str, object]:
    return {"accept": [{"user": user, "fields": fields, "until": until, "why": "agreed with support"}]}


def test_drift_that_is_agreed_to_stays_and_is_named() -> None:
    edited = same(ada, first_name="Staff", backlink=None)
    policy = store(**_accepting("first_name", "backlink"))
    found = decided(ada, settled(ada, same(ada)), policy, mapped=edited)
    assert (found.action, found.holds, found.status) == (None, (), "in_sync")
    assert [(a.field, a.by, a.change.before) for a in found.accepted] == [
        ("first_name", "stores.yaml", "Staff"),
        ("backlink", "stores.yaml", None),
    ]


@pytest.mark.parametrize(
    ("fields", "until", "in_file", "accepted"),
    [
        (("first_name",), NOW + timedelta(seconds=1), "", "ada (console)"),
        (("first_name",), NOW, "", None),
        (("note",), NOW + timedelta(days=1), "", None),
        (("note",), NOW + timedelta(days=1), "first_name", "stores.yaml"),
        (("first_name",), NOW + timedelta(days=1), "first_name", "stores.yaml"),  # which agrees to it for longer
        (("first_name",), NOW + timedelta(days=999), "first_name", "ada (console)"),
    ],
)
def test_drift_that_an_operator_accepted_stays_until_then(
    fields: tuple[str, ...], until: datetime, in_file: str, accepted: str | None
) -> None:
    row = settled(ada, same(ada), accepted=Acceptance(fields, until, Actor("ada", "console"), NOW))
    policy = store(**_accepting(in_file, until=date(2027, 1, 1))) if in_file else store(heal_drift="hold")
    found = decided(ada, row, policy, mapped=same(ada, first_name="Staff"))
    assert [each.by for each in found.accepted] == ([accepted] if accepted else [])
    assert held(found) == (set() if accepted else {("DriftHeld", "first_name")})


def test_what_the_profile_changed_goes_through_an_agreement() -> None:
    found = decided(
        profile(ADA, first_name="Adah"), settled(ada, same(ada)), store(**_accepting("first_name")), mapped=same(ada)
    )
    assert after(found) == {"first_name": "Adah"}


def test_an_agreement_is_for_one_user_and_ends() -> None:
    edited, row = same(ada, first_name="Staff"), settled(ada, same(ada))
    assert after(decided(ada, row, store(**_accepting("first_name", user=BOB)), mapped=edited)) != {}
    tomorrow = NOW + timedelta(days=1)
    assert after(decided(ada, row, store(**_accepting("first_name")), mapped=edited, now=tomorrow)) != {}


@pytest.mark.parametrize(
    ("until", "at", "holds"),
    [
        (date(2026, 11, 23), datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC), True),
        (date(2026, 11, 23), datetime(2026, 11, 24, tzinfo=UTC), False),
        (datetime(2026, 11, 23, 12, tzinfo=UTC), datetime(2026, 11, 23, 11, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 23, 12, tzinfo=UTC), datetime(2026, 11, 23, 12, tzinfo=UTC), False),
        (datetime(2026, 11, 23, 12), datetime(2026, 11, 23, 11, 59, tzinfo=UTC), True),  # noqa: DTZ001  as YAML gives it
    ],
)
def test_an_agreement_lasts_to_the_end_of_its_day_or_to_its_moment(
    until: date | datetime, at: datetime, *, holds: bool
) -> None:
    assert Accepted(user=ADA, fields=("note",), until=until, why="x").holds_at(at) is holds


# --- the new email is another customer's --------------------------------------------------------------------------


def test_a_user_moves_to_the_unowned_customer_that_has_their_new_address() -> None:
    there = same(ada, tags=("app-user",))
    found = decided(moved, settled(ada, there), mapped=there, by_email=theirs)
    assert found.action is not None
    assert (kind(found), found.action.from_customer_id, found.action.customer_id) == ("relink", gid(7), gid(9))
    assert after(found) == {"first_name": "User_Ada", "backlink": ADA}
    assert found.target is not None
    assert found.target.id == gid(9)


def test_a_phone_left_on_the_old_customer_is_not_written_on_the_new_customer_yet() -> None:
    with_phone = profile(ADA, email="new@x.example.com", phone="+16134505293")
    there = same(profile(ADA, phone="+16134505293"))
    found = decided(with_phone, settled(ada, there), mapped=there, by_email=theirs)
    assert "phone" not in after(found)
    assert held(found) == {("PhoneTaken", "phone")}


def test_conflicts_are_held_where_the_policy_says_so() -> None:
    there = same(ada)
    later = profile(ADA, email="new@x.example.com", last_name="B")
    found = decided(later, settled(ada, there), store(on_email_conflict="hold"), mapped=there, by_email=theirs)
    assert after(found) == {"last_name": "B"}
    assert held(found) == {("EmailConflict", "email")}
    assert gid(9) in found.holds[0].message


def test_never_trusted_addresses_move_no_one() -> None:
    there = same(ada)
    found = decided(moved, settled(ada, there), store(trust_email="never"), mapped=there, by_email=theirs)
    assert held(found) == {("EmailConflict", "email")}


def test_two_customers_become_one_where_merging_is_allowed_and_nothing_forbids_it() -> None:
    there = same(ada)
    policy = store(on_email_conflict="merge")
    found = decided(moved, settled(ada, there), policy, mapped=there, by_email=theirs, merge_blockers=())
    assert (kind(found), after(found)) == ("merge", {"backlink": ADA})


@pytest.mark.parametrize(("blockers", "says"), [(("gift cards",), "gift cards"), (None, "preview of the merge failed")])
def test_a_merge_shopify_forbids_is_held_in_shopifys_words(blockers: tuple[str, ...] | None, says: str) -> None:
    there = same(ada)
    later = profile(ADA, email="new@x.example.com", last_name="B")
    policy = store(on_email_conflict="merge")
    found = decided(later, settled(ada, there), policy, mapped=there, by_email=theirs, merge_blockers=blockers)
    assert after(found) == {"last_name": "B"}
    assert held(found) == {("EmailConflict", "email")}
    assert says in found.holds[-1].message


def test_an_address_of_another_users_customer_is_waited_for() -> None:
    there = same(ada)
    theirs_now = customer(9, email="new@x.example.com", backlink=BOB)
    found = decided(moved, settled(ada, there), mapped=there, by_email=theirs_now)
    assert held(found) == {("EmailTaken", "email")}
    assert found.taken == (Taken(field="email", key="new@x.example.com", owner=BOB, customer_id=gid(9)),)
    assert found.action is None


def test_a_mapped_customer_is_another_users_even_without_a_backlink() -> None:
    there = same(ada)
    found = decided(moved, settled(ada, there), mapped=there, by_email=theirs, owners={gid(9): BOB})
    assert ([t.owner for t in found.taken], kind(found)) == ([BOB], None)


def test_an_address_that_staff_changed_moves_no_one_while_drift_is_held() -> None:
    edited = same(ada, email="staff@x.example.com")
    taken = customer(9, email=ada.email)
    found = decided(ada, settled(ada, same(ada)), store(heal_drift="hold"), mapped=edited, by_email=taken)
    assert found.action is None
    assert ("EmailConflict", "email") in held(found)


def test_a_parked_user_gets_their_address_back_where_the_circle_does_not_turn() -> None:
    parked = same(ada, email=None)
    row = settled(ada, same(ada), intent=Intent(kind="park", parked={"email": ada.email or ""}))
    found = decided(moved, row, mapped=parked, by_email=customer(9, email="new@x.example.com", backlink=BOB))
    assert after(found) == {"email": ada.email}
    assert held(found) == {("EmailTaken", "email")}


def test_a_parked_user_takes_their_new_address_when_it_is_free() -> None:
    row = settled(ada, same(ada), intent=Intent(kind="park", parked={"email": ada.email or ""}))
    found = decided(moved, row, mapped=same(ada, email=None))
    assert (after(found), why(found)) == ({"email": "new@x.example.com"}, {"email": "profile changed"})


def test_a_rivals_address_is_never_asked_of_the_shop_again() -> None:
    there = same(ada)
    found = decided(
        moved, settled(ada, there), mapped=there, by_email=theirs, rivals=(Rival(clerk_user_id=BOB, mapped=True),)
    )
    assert found.action is None
    assert held(found) == {("EmailTaken", "email")}


def test_two_users_with_lost_mappings_are_both_held_for_one_address() -> None:
    for policy in (store(), store(on_email_conflict="merge")):
        found = decided(
            moved,
            None,
            policy,
            by_backlink=same(ada),
            by_email=theirs,
            rivals=(Rival(clerk_user_id=BOB, mapped=False),),
            merge_blockers=(),
        )
        assert found.action is None
        assert held(found) == {("EmailTaken", "email")}


@pytest.mark.parametrize(
    ("profile_now", "row", "there", "keeps"),
    [
        (ada, settled(ada, same(ada)), same(ada), True),
        (ada, None, same(ada), True),  # after a loss of the state: the back-link says it
        (ada, settled(ada, same(ada)), same(ada, backlink=None), True),
        (ada, settled(ada, same(ada)), same(ada, email="ADA@x.example.com", first_name="Other"), False),
        (moved, settled(ada, same(ada)), same(ada), False),
        (ada, None, same(ada, backlink=BOB), False),
    ],
)
def test_other_claims_matter_only_to_a_user_that_has_yet_to_get_the_email(
    *, profile_now: Profile, row: Mapping | None, there: Customer, keeps: bool
) -> None:
    """So a reconcile need not read them otherwise."""
    rivals = (Rival(clerk_user_id=BOB, mapped=True),)
    assert keeps_its_email(ADA, row, spec_of(profile_now, store()), there) is keeps
    if keeps:
        with_rivals, alone = (decided(profile_now, row, mapped=there, rivals=r) for r in (rivals, ()))
        assert with_rivals == alone


def test_the_one_with_a_row_moves_on_although_their_backlink_was_taken_off() -> None:
    there = same(ada, backlink=None)
    rivals = (Rival(clerk_user_id=BOB, mapped=False),)
    found = decided(moved, settled(ada, there), mapped=there, by_email=None, rivals=rivals)
    assert after(found) == {"email": "new@x.example.com", "backlink": ADA}


# --- what Shopify refused ------------------------------------------------------------------------------------------


def _refused(code: str = "INVALID", field: str = "last_name", *, asked: bool = False) -> dict[str, RefusedValue]:
    change = changed(field, None, "B")
    return {field: RefusedValue(digest=refused_value_digest(change, store()), code=code, message="no", asked=asked)}


def test_a_refused_value_is_not_sent_again_by_itself() -> None:
    there = same(ada)
    row = settled(ada, there, refused=_refused())
    found = decided(profile(ADA, last_name="B", first_name="Adah"), row, mapped=there)
    assert after(found) == {"first_name": "Adah"}
    assert held(found) == {("Rejected", "last_name")}


def test_a_person_may_try_a_refused_value_once_more() -> None:
    there, later = same(ada), profile(ADA, last_name="B")
    once = decided(later, settled(ada, there, refused=_refused()), mapped=there, explicit=True)
    twice = decided(later, settled(ada, there, refused=_refused(asked=True)), mapped=there, explicit=True)
    assert after(once) == {"last_name": "B"}
    assert twice.action is None


def test_another_value_or_another_before_is_tried_immediately() -> None:
    row = settled(ada, same(ada), refused=_refused())
    assert after(decided(profile(ADA, last_name="C"), row, mapped=same(ada))) == {"last_name": "C"}
    edited = same(ada, last_name="Staff")
    assert after(decided(profile(ADA, last_name="B"), row, mapped=edited)) == {"last_name": "B"}


def test_what_a_person_took_back_waits_until_the_profile_moves() -> None:
    there = same(ada)
    row = settled(ada, there, refused=_refused("UNDONE"))
    found = decided(profile(ADA, last_name="B"), row, mapped=there, explicit=True)
    assert found.action is None
    assert held(found) == {("Undone", "last_name")}
    [hold] = found.holds
    assert hold.message == "`undo` reverted last_name; it is not written until the profile or the config changes"


def test_after_the_undo_of_a_create_the_user_is_said_to_be_released() -> None:
    undone = RefusedValue(digest=refusal_digest(changed("backlink", None, ADA)), code="UNDONE", message="undone")
    found = decided(ada, mapping(ADA, refused={"backlink": undone}))
    assert found.action is None
    [hold] = found.holds
    assert hold.message == "`undo` released this user from their customer; they get none until the profile changes"


def test_a_phone_shopify_says_is_taken_is_held_as_taken() -> None:
    there = same(ada)
    refused = RefusedValue(
        digest=refused_value_digest(changed("phone", None, "+16134505293"), store()), code="TAKEN", message="taken"
    )
    found = decided(profile(ADA, phone="+16134505293"), settled(ada, there, refused={"phone": refused}), mapped=there)
    assert held(found) == {("PhoneTaken", "phone")}


def test_a_new_customer_without_its_email_is_not_made() -> None:
    refused = RefusedValue(
        digest=refused_value_digest(changed("email", None, ada.email), store()), code="INVALID", message="no"
    )
    found = decided(ada, mapping(ADA, None, refused={"email": refused}))
    assert found.action is None
    assert held(found) == {("Rejected", "email")}


def test_a_new_customer_is_made_without_what_was_refused() -> None:
    refused = RefusedValue(
        digest=refused_value_digest(changed("first_name", None, "User_Ada"), store()), code="INVALID", message="no"
    )
    found = decided(ada, mapping(ADA, None, refused={"first_name": refused}))
    assert after(found) == {"email": ada.email, "backlink": ADA}
    assert held(found) == {("Rejected", "first_name")}


def test_deciding_changes_nothing_of_what_it_was_given() -> None:
    there, row = same(ada), settled(ada, same(ada))
    view = View(mapped=there, by_email=theirs)
    copies = deepcopy((moved, row, view))
    first = decide(ADA, moved, row, view, store(), now=NOW)
    assert (moved, row, view) == copies
    assert decide(ADA, moved, row, view, store(), now=NOW) == first
