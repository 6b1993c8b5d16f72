"""Who is wanted, which customer a user has, creates and releases (docs/rules.md, rules 1 to 3 and 6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.core.decide.decide import decide
from reconciler.core.decide.leaving.absence import Absence
from reconciler.core.fields.desired import profile_digest
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.view import Rival, Taken, View
from tests.core.people import (
    ADA,
    BOB,
    CYD,
    NOW,
    after,
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

# --- not wanted ------------------------------------------------------------------------------------------------------


def test_an_unmapped_user_who_is_not_wanted_needs_nothing() -> None:
    found = decided(None)
    assert (found.action, found.holds, found.status) == (None, (), None)


def test_a_user_outside_the_selector_needs_nothing() -> None:
    found = decided(ada, policy=store(where={"locale": "de"}))
    assert (found.action, found.status) == (None, None)


def test_who_left_with_keep_is_released_without_a_write() -> None:
    found = decided(None, settled(ada, same(ada)), mapped=same(ada))
    assert found.action is not None
    assert (kind(found), found.action.how, after(found), found.action.cost_points) == ("release", "keep", {}, 0)
    assert found.status == "released"


def test_who_left_with_tag_gets_the_leave_tag_beside_the_others() -> None:
    there = same(ada, tags=("VIP", "zulu"))
    found = decided(None, settled(ada, there), store(on_leave="tag"), mapped=there)
    assert after(found) == {"tags": ["clerk-left", "VIP", "zulu"]}
    assert why(found) == {"tags": "profile changed"}


def test_a_leave_tag_that_is_there_in_another_casing_is_not_written_again() -> None:
    there = same(ada, tags=("Clerk-LEFT",))
    found = decided(None, settled(ada, there), store(on_leave="tag"), mapped=there)
    assert kind(found) == "release"
    assert after(found) == {}


@pytest.mark.parametrize("how", ["delete", "erase"])
def test_who_left_is_deleted_or_erased_where_that_is_the_policy(how: str) -> None:
    there = same(ada, can_delete=True)
    found = decided(None, settled(ada, there), store(on_leave=how), mapped=there)
    assert found.action is not None
    assert (kind(found), found.action.how, after(found)) == ("release", how, {"customer": None})
    assert found.holds == ()


@pytest.mark.parametrize("can_delete", [False, None])
def test_a_buyer_can_t_be_deleted_and_is_tagged_and_held(*, can_delete: bool | None) -> None:
    there = same(ada, can_delete=can_delete)
    found = decided(None, settled(ada, there), store(on_leave="delete"), mapped=there)
    assert after(found) == {"tags": ["clerk-left"]}
    assert held(found) == {("CannotDelete", None)}


def test_who_was_released_by_a_new_selector_left_because_of_the_config() -> None:
    there = same(ada)
    found = decided(ada, settled(ada, there), store(where={"locale": "de"}, on_leave="tag"), mapped=there)
    assert why(found) == {"tags": "config changed"}


def test_a_deleted_row_counts_as_gone() -> None:
    there = same(ada)
    found = decided(profile(ADA, deleted=True), settled(ada, there), mapped=there)
    assert kind(found) == "release"


@pytest.mark.parametrize("row", [mapping(ADA, None, status="held"), mapping(ADA, 7)])
def test_who_left_without_a_customer_just_goes(row: object) -> None:
    found = decided(None, row)  # type: ignore[arg-type]
    assert (found.action, found.status) == (None, "released")


@pytest.mark.parametrize("status", ["released", "erased"])
def test_a_tombstone_stays_what_it_is(status: str) -> None:
    found = decided(None, mapping(ADA, 7, status=status), mapped=same(ada))
    assert (found.action, found.holds, found.status) == (None, (), status)


def test_the_customer_with_the_backlink_is_released_not_the_mapped_one() -> None:
    moved = same(ada, 9)
    found = decided(None, settled(ada, same(ada)), store(on_leave="tag"), mapped=None, by_backlink=moved)
    assert found.action is not None
    assert found.action.customer_id == gid(9)


def test_a_row_that_can_t_tell_whether_its_user_is_wanted_releases_no_one() -> None:
    unsure = profile(ADA, problems=({"field": "locale", "message": "unreadable"},))
    found = decided(unsure, settled(ada, same(ada)), store(where={"locale": "de"}), mapped=same(ada))
    assert found.action is None
    assert held(found) == {("ProfileInvalid", None)}
    assert "locale can't be read" in found.holds[0].message


def test_an_unreadable_deleted_at_releases_no_one() -> None:
    unsure = profile(ADA, problems=({"field": "deleted_at", "message": "unreadable"},))
    found = decided(unsure, settled(ada, same(ada)), mapped=same(ada))
    assert held(found) == {("ProfileInvalid", None)}


def test_a_selector_that_says_no_for_sure_wins_over_one_that_can_t_tell() -> None:
    unsure = profile(ADA, note="x", problems=({"field": "locale", "message": "unreadable"},))
    found = decided(unsure, None, store(where={"locale": "de", "note": "y"}))
    assert (found.action, found.holds) == (None, ())


# --- tombstones ----------------------------------------------------------------------------------------------------


def test_who_was_erased_is_never_made_again() -> None:
    found = decided(ada, mapping(ADA, 7, status="erased"), by_email=None)
    assert held(found) == {("Erased", None)}
    assert found.status == "erased"


def test_a_late_row_brings_no_one_back() -> None:
    late = profile(ADA, updated_at=NOW - timedelta(minutes=1))
    found = decided(late, mapping(ADA, 7, status="released", left_at=NOW), mapped=same(ada))
    assert held(found) == {("Departed", None)}
    assert found.status == "released"


def test_a_newer_row_brings_the_user_back_to_the_same_customer() -> None:
    back = profile(ADA, first_name="Adah", updated_at=NOW + timedelta(minutes=1))
    row = settled(ada, same(ada), status="released", left_at=NOW)
    found = decided(back, row, mapped=same(ada))
    assert (kind(found), after(found)) == ("update", {"first_name": "Adah"})


@pytest.mark.parametrize("undone_by", ["its digest", "what was agreed on"])
def test_a_row_with_the_content_it_had_before_the_release_undoes_it_whatever_its_time(undone_by: str) -> None:
    old = profile(ADA, updated_at=NOW - timedelta(days=9))
    known = profile_digest(old) if undone_by == "its digest" else None  # releases of older programs lack it
    row = settled(ada, same(ada), status="released", left_at=NOW, profile_digest="of no row", wanted_digest=known)
    assert decided(old, row, mapped=same(ada)).status == "in_sync"
    other = profile(ADA, first_name="Stale", updated_at=NOW - timedelta(days=9))
    assert held(decided(other, row, mapped=same(ada))) == {("Departed", None)}


@pytest.mark.parametrize(("days", "reasons"), [(1, set()), (2, set()), (3, {"Departed"})])
def test_a_row_with_other_content_is_a_late_copy_only_if_it_is_older_than_the_row_last_wanted(
    days: int, reasons: set[str]
) -> None:
    """It changed, and the user left, before a reconcile read the change."""
    row = settled(
        ada, same(ada), status="released", left_at=NOW, left_row_at=NOW - timedelta(hours=1),
        wanted_digest="of another row", wanted_row_at=NOW - timedelta(days=2),
    )  # fmt: skip
    back = profile(ADA, first_name="Adah", updated_at=NOW - timedelta(days=days))
    assert {reason for reason, _ in held(decided(back, row, mapped=same(ada)))} == reasons


@pytest.mark.parametrize(
    ("row", "does"),
    [
        ({"may_lag": True}, "StaleRow"),
        ({"may_lag": True, "deleted": True}, "StaleRow"),
        ({"may_lag": True, "locale": "de"}, "StaleRow"),
        ({"may_lag": True, "updated_at": NOW}, "update"),
        ({"may_lag": True, "updated_at": None}, "update"),
        ({"may_lag": True, "first_name": "Adah"}, "in_sync"),
        ({"deleted": True}, "release"),
        ({}, "update"),
    ],
)
def test_an_earlier_row_from_a_standby_decides_nothing_and_from_a_primary_it_is_restored(
    row: dict[str, Any], does: str
) -> None:
    read, policy = profile(ADA, first_name="Adah", locale="en"), store(where={"locale": "en"})
    known = settled(read, same(read), policy, wanted_digest=profile_digest(read), wanted_row_at=NOW)
    shown = profile(ADA, **{"first_name": "Ada", "locale": "en", "updated_at": NOW - timedelta(seconds=1), **row})
    found = decided(shown, known, policy, mapped=same(read))
    assert does == (found.action.kind if found.action else next((h.reason for h in found.holds), found.status))
    assert decided(shown, None, policy).holds == (), "it was never read before"


def test_an_operator_who_applies_to_a_user_takes_an_earlier_row_from_a_standby() -> None:
    known = settled(ada, same(ada), wanted_digest=profile_digest(ada), wanted_row_at=NOW)
    shown = profile(ADA, first_name="Adah", updated_at=NOW - timedelta(seconds=1), may_lag=True)
    found = decide(ADA, shown, known, View(mapped=same(ada)), store(), now=NOW, insists=True)
    assert kind(found) == "update"


def test_a_missing_row_is_proof_only_after_the_grace_or_by_another_witness() -> None:
    row, run = settled(ada, same(ada)), Absence(grace_s=300)

    def found(row: Mapping, absence: Absence = run) -> tuple[str | None, set[tuple[str, str | None]]]:
        decision = decided(None, row, mapped=same(ada), absence=absence)
        return decision.action.kind if decision.action else None, held(decision)

    waits = (None, {("RowMissing", None)})

    def missed(since_s: float, read_s: float) -> Mapping:
        absent_since, read_at = NOW - timedelta(seconds=since_s), NOW - timedelta(seconds=read_s)
        return replace(row, absent_since=absent_since, last_seen_at=read_at)

    assert found(row) == waits
    assert found(missed(299, 140)) == waits
    assert found(missed(300, 140)) == ("release", set())
    assert found(missed(300, 290)) == waits  # the reads in between did not come
    assert found(missed(86_500, 10)) == waits  # too long ago
    assert found(row, Absence(grace_s=300, gone=frozenset({ADA}))) == ("release", set())
    assert found(row, Absence()) == ("release", set())  # a plan that a person reads


def test_a_row_that_is_marked_or_that_the_selector_leaves_out_is_not_missing() -> None:
    row, run = settled(ada, same(ada)), Absence(grace_s=300)
    marked = ada.model_copy(update={"deleted": True})
    assert kind(decided(marked, row, mapped=same(ada), absence=run)) == "release"
    assert kind(decided(ada, row, store(where={"locale": "xx"}), mapped=same(ada), absence=run)) == "release"


def test_the_very_row_that_was_released_comes_back_with_the_selector() -> None:
    old = profile(ADA, updated_at=NOW - timedelta(days=9))
    row = settled(ada, same(ada), status="released", left_at=NOW, profile_digest=profile_digest(old))
    assert decided(old, row, mapped=same(ada)).status == "in_sync"


def test_a_row_without_a_time_can_t_be_late() -> None:
    row = settled(ada, same(ada), status="released", left_at=NOW)
    assert decided(ada, row, mapped=same(ada)).status == "in_sync"


# --- which customer is it? -------------------------------------------------------------------------------------------


def test_the_backlink_goes_before_the_mapping_and_the_mapping_follows() -> None:
    found = decided(ada, settled(ada, same(ada)), mapped=same(ada, 7, backlink=None), by_backlink=same(ada, 9))
    assert found.action is None
    assert found.customer is not None
    assert found.customer.id == gid(9)
    assert found.status == "in_sync"


def test_the_mapped_customer_without_a_backlink_gets_it_back() -> None:
    there = same(ada, backlink=None)
    found = decided(ada, settled(ada, there), mapped=there)
    assert (kind(found), after(found), why(found)) == ("update", {"backlink": ADA}, {"backlink": "drift"})


def test_a_mapped_customer_that_carries_another_user_is_lost_to_the_mapped_user() -> None:
    taken = same(ada, backlink=BOB, email="bob@x.example.com")
    found = decided(ada, settled(ada, same(ada)), mapped=taken)
    assert kind(found) == "create"


def test_a_customer_with_the_users_verified_email_is_adopted() -> None:
    guest = customer(3, email="USER_ADA@x.example.com", tags=("guest",))
    found = decided(ada, policy=store(tags=["app-user"]), by_email=guest)
    assert kind(found) == "adopt"
    assert after(found) == {"first_name": "User_Ada", "tags": ["app-user", "guest"], "backlink": ADA}


def test_a_customer_known_by_email_to_the_users_own_row_is_adopted_again() -> None:
    guest = customer(3, email=ada.email)
    found = decided(ada, mapping(ADA, 7), by_email=guest, owners={gid(3): ADA})
    assert kind(found) == "adopt"


@pytest.mark.parametrize("owned", [{"backlink": BOB}, {"owners": True}])
def test_a_customer_of_another_user_is_never_taken(owned: dict[str, object]) -> None:
    theirs = customer(3, email=ada.email, backlink=owned.get("backlink"))
    owners = {gid(3): BOB} if "owners" in owned else {}
    found = decided(ada, by_email=theirs, owners=owners)
    assert held(found) == {("EmailTaken", "email")}
    assert BOB in found.holds[0].message
    assert found.taken == (Taken(field="email", key="user_ada@x.example.com", owner=BOB, customer_id=gid(3)),)


@pytest.mark.parametrize("verified", [False, None])
def test_an_unverified_email_finds_no_one_and_is_not_written(*, verified: bool | None) -> None:
    found = decided(profile(ADA, email_verified=verified), policy=store(require_email=True))
    assert found.action is None
    assert held(found) == {("EmailUnverified", "email")}


def test_an_unverified_email_is_left_out_where_none_is_needed() -> None:
    found = decided(profile(ADA, email_verified=False), policy=store(require_email=False))
    assert after(found) == {"first_name": "User_Ada", "backlink": ADA}
    assert held(found) == {("EmailUnverified", "email")}


def test_the_rest_of_a_mapped_customer_is_kept_up_while_the_email_is_unverified() -> None:
    there = same(ada)
    changed = profile(ADA, email="new@x.example.com", email_verified=False, first_name="Adah")
    found = decided(changed, settled(ada, there), mapped=there)
    assert after(found) == {"first_name": "Adah"}
    assert held(found) == {("EmailUnverified", "email")}


def test_always_uses_any_email_to_adopt() -> None:
    unverified = profile(ADA, email_verified=None)
    guest = customer(3, email=ada.email)
    assert kind(decided(unverified, policy=store(trust_email="always"), by_email=guest)) == "adopt"


def test_never_writes_emails_but_adopts_no_one_by_them() -> None:
    never = store(trust_email="never")
    assert after(decided(ada, policy=never))["email"] == ada.email
    found = decided(ada, policy=never, by_email=customer(3, email=ada.email))
    assert held(found) == {("EmailConflict", "email")}
    assert found.action is None


def test_two_users_with_one_email_and_no_mapping_are_both_held_each_naming_the_other() -> None:
    found = decided(ada, rivals=(Rival(clerk_user_id=CYD, mapped=False), Rival(clerk_user_id=BOB, mapped=False)))
    assert held(found) == {("EmailTaken", "email")}
    assert f"{BOB}, {CYD}" in found.holds[0].message
    adopted = decided(ada, by_email=customer(3, email=ada.email), rivals=(Rival(clerk_user_id=BOB, mapped=False),))
    assert adopted.action is None
    assert held(adopted) == {("EmailTaken", "email")}


def test_of_thousands_with_one_email_each_names_a_few_first_those_with_a_customer() -> None:
    """Else their holds, in the plan and in the state, would grow with the square of their number."""
    many = tuple(Rival(clerk_user_id=ClerkUserId(f"user_{n:05}"), mapped=n == 3000) for n in range(5000))
    (found,) = decided(ada, rivals=many).holds
    users = ", ".join(f"user_{n:05}" for n in (3000, 0, 1, 2, 3))
    assert found.message == f"the email is also claimed by {users} and others"


def test_of_two_users_with_one_email_the_one_with_the_mapping_keeps_it() -> None:
    there = same(ada)
    rival = (Rival(clerk_user_id=BOB, mapped=False),)
    found = decided(ada, settled(ada, there), mapped=there, rivals=rival)
    assert (found.action, found.holds, found.status) == (None, (), "in_sync")


def test_a_mapped_user_who_wants_a_rivals_email_is_held_for_it_and_the_rest_is_written() -> None:
    there = same(ada)
    changed = profile(ADA, email="shared@x.example.com", first_name="Adah")
    found = decided(changed, settled(ada, there), mapped=there, rivals=(Rival(clerk_user_id=BOB, mapped=True),))
    assert after(found) == {"first_name": "Adah"}
    assert held(found) == {("EmailTaken", "email")}


def test_a_rival_does_not_matter_to_who_has_no_email() -> None:
    nameless = profile(ADA, email=None)
    found = decided(nameless, policy=store(require_email=False), rivals=(Rival(clerk_user_id=BOB, mapped=False),))
    assert kind(found) == "create"


# --- no customer -----------------------------------------------------------------------------------------------------


def test_who_is_nowhere_is_created_with_everything_in_one_step() -> None:
    found = decided(profile(ADA, phone="+1 613 450 5293"), policy=store(tags=["b", "a"]))
    assert kind(found) == "create"
    assert after(found) == {
        "email": "user_ada@x.example.com",
        "first_name": "User_Ada",
        "phone": "+16134505293",
        "tags": ["a", "b"],
        "backlink": ADA,
    }
    assert set(why(found).values()) == {"profile changed"}


@pytest.mark.parametrize("email", [None, "", "  "])
def test_who_has_no_email_is_held_where_one_is_needed(email: str | None) -> None:
    found = decided(profile(ADA, email=email))
    assert held(found) == {("NoEmail", "email")}
    assert found.holds[0].who_acts == "profile"


def test_who_has_no_email_is_created_by_backlink_where_none_is_needed() -> None:
    found = decided(profile(ADA, email=None), policy=store(require_email=False))
    assert after(found) == {"first_name": "User_Ada", "backlink": ADA}


def test_who_has_nothing_that_shopify_insists_on_is_held() -> None:
    found = decided(profile(ADA, email=None, first_name=None), policy=store(require_email=False))
    assert held(found) == {("NoEmail", "email")}


def test_an_invalid_email_is_held_by_its_own_name() -> None:
    assert held(decided(profile(ADA, email="no-address"))) == {("EmailInvalid", "email")}
    unreadable = profile(ADA, email=None, problems=({"field": "email", "message": "not text"},))
    assert held(decided(unreadable)) == {("EmailInvalid", "email")}


def test_a_store_that_ignores_emails_creates_without_one() -> None:
    found = decided(ada, policy=store(fields={"email": "ignore"}))
    assert after(found) == {"first_name": "User_Ada", "backlink": ADA}


def test_a_taken_phone_is_left_out_of_a_new_customer() -> None:
    found = decided(profile(ADA, phone="+16134505293"), by_phone=customer(3, phone="+16134505293"))
    assert "phone" not in after(found)
    assert held(found) == {("PhoneTaken", "phone")}


def test_a_phone_that_is_none_is_left_out_and_the_rest_is_written() -> None:
    found = decided(profile(ADA, phone="613 450 5293"))
    assert kind(found) == "create"
    assert held(found) == {("PhoneInvalid", "phone")}


# --- the customer is gone --------------------------------------------------------------------------------------------


def test_a_customer_deleted_in_shopify_is_made_again_as_drift() -> None:
    found = decided(ada, settled(ada, same(ada)))
    assert kind(found) == "create"
    assert set(why(found).values()) == {"drift"}


def test_a_customer_deleted_in_shopify_is_held_where_on_missing_says_so() -> None:
    found = decided(ada, settled(ada, same(ada)), store(on_missing="hold"))
    assert held(found) == {("CustomerMissing", None)}
    assert found.action is None


def test_a_customer_deleted_in_shopify_is_held_where_drift_is() -> None:
    found = decided(ada, settled(ada, same(ada)), store(heal_drift="hold"))
    assert held(found) == {("DriftHeld", None)}


def test_a_customer_deleted_in_shopify_is_found_again_by_email() -> None:
    assert kind(decided(ada, settled(ada, same(ada)), by_email=customer(3, email=ada.email))) == "adopt"


def test_a_released_user_without_a_customer_is_simply_new() -> None:
    found = decided(ada, mapping(ADA, 7, status="released"), store(on_missing="hold"))
    assert kind(found) == "create"
    assert set(why(found).values()) == {"profile changed"}


# --- the whole store -----------------------------------------------------------------------------------------------


def test_a_paused_store_holds_every_action_and_says_which() -> None:
    for found in (
        decided(ada, policy=store(paused=True)),
        decided(None, settled(ada, same(ada)), store(paused=True), mapped=same(ada)),
    ):
        assert found.action is None
        assert ("StorePaused", None) in held(found)
        assert found.status == "held"
    assert decided(ada, settled(ada, same(ada)), store(paused=True), mapped=same(ada)).holds == ()


def test_roll_out_hold_keeps_creates_adoptions_and_releases_back() -> None:
    slow = store(roll_out="hold")
    for found in (
        decided(ada, policy=slow),
        decided(ada, policy=slow, by_email=customer(3, email=ada.email)),
        decided(None, settled(ada, same(ada)), slow, mapped=same(ada)),
    ):
        assert found.action is None
        assert ("RollOutHeld", None) in held(found)
