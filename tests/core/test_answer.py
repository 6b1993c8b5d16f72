"""The answer about one user in one store, for each status and each reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.core.model.action import AcceptedDrift
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.reasons import HOLD_REASONS, hold, next_step_of
from reconciler.core.report.answer import Found, Unmatched, answer_of, name_of, span_text, summary_sentence
from tests.core.people import action, changed, mapping, profile

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
NOON_2027 = datetime(2027, 3, 31, 12, 0, tzinfo=UTC)
GRACE = ClerkUserId("user_grace")
FOUND = Found(name="Grace Hopper", user=GRACE, store=StoreName("acme-us"), status="held")
DIFFERS = "is not in sync in acme-us (customer 7001): the next try"
IN_SHOP = replace(FOUND, customer=CustomerId("gid://shopify/Customer/7001"))


@pytest.mark.parametrize("reason", HOLD_REASONS)
def test_each_reason_has_an_answer_with_its_cause_and_what_to_do(reason: str) -> None:
    held = hold(GRACE, None, reason, "the message of the hold")
    cause = f"because {HOLD_REASONS[reason].clause or 'the message of the hold'}. {next_step_of(held)}"
    assert answer_of(replace(FOUND, holds=(held,)), now=NOW) == f"Grace Hopper is not in acme-us {cause}"
    there = answer_of(replace(IN_SHOP, holds=(held,)), now=NOW)
    assert there == f"Grace Hopper is held in acme-us (customer 7001) {cause}"


@pytest.mark.parametrize(
    ("message", "step"),
    [
        (
            "tags differs (config changed), and is held by `roll_out: hold`",
            "See reconciler plan; then set roll_out: auto.",
        ),
        (
            "tags differs (config changed), and is held: wave 2 has not begun: wave 1 is in progress",
            "It is written with its wave: see reconciler rollout status.",
        ),
    ],
)
def test_who_waits_for_a_wave_is_not_told_to_change_the_policy(message: str, step: str) -> None:
    found = replace(IN_SHOP, holds=(hold(GRACE, None, "RollOutHeld", message, "tags"),))
    assert answer_of(found, now=NOW).endswith(f"because {message}. {step}")


def test_a_reason_of_several_fields_counts_once_and_its_time_is_beside_it() -> None:
    holds = (
        hold(GRACE, None, "Rejected", "note is too long", "note"),
        hold(GRACE, None, "EmailUnverified", "x", "email"),
        hold(GRACE, None, "Rejected", "locale is unknown", "locale"),
    )
    found = replace(FOUND, holds=holds, since=NOW - timedelta(minutes=59), since_reason="EmailUnverified")
    assert answer_of(found, now=NOW) == (
        "Grace Hopper is not in acme-us for 2 reasons: note is too long, and the email is not verified (for 59 min). "
        f"{HOLD_REASONS['Rejected'].next_step} {HOLD_REASONS['EmailUnverified'].next_step}"
    )


def test_a_held_field_is_not_why_a_customer_that_is_to_be_created_is_missing() -> None:
    held = hold(GRACE, None, "Rejected", "note is too long", "note")
    found = replace(FOUND, status="pending", holds=(held,), action=action("create", GRACE, None))
    assert answer_of(found, now=NOW).startswith(
        "Grace Hopper is not in acme-us yet: the next try creates the customer. "
        "A part of it is held because note is too long. "
    )


@pytest.mark.parametrize(
    ("kind", "does"),
    [
        ("create", "is not in acme-us yet: the next try creates the customer."),
        ("adopt", "is not in acme-us yet: the next try adopts the existing customer."),
        ("update", f"{DIFFERS} writes email and note (drift), tags (config changed)."),
        ("relink", f"{DIFFERS} moves the user to another customer."),
        ("merge", f"{DIFFERS} merges two customers."),
    ],
)
def test_a_pending_action_says_what_it_does_why_it_failed_and_when_it_is_tried(kind: str, does: str) -> None:
    changes = (changed("email", 1, 2, "drift"), changed("tags", 1, 2, "config changed"), changed("note", 1, 2, "drift"))
    base = FOUND if kind == "create" else IN_SHOP
    found = replace(base, status="pending", action=action(kind, GRACE, None, *changes))  # type: ignore[arg-type]
    nudge = "No request is queued: the next resync tries it, or `reconciler nudge user_grace`."
    assert answer_of(found, now=NOW) == f"Grace Hopper {does} {nudge}"
    found = replace(found, failure="the shop is down.", next_try_at=NOW + timedelta(seconds=200))
    assert answer_of(found, now=NOW) == (
        f"Grace Hopper {does} The last try failed: the shop is down. The next try is in 3 min."
    )
    assert answer_of(replace(found, runs=False), now=NOW).endswith(
        " No controller runs: `reconciler apply --user user_grace` does it, or start `reconciler run`."
    )
    stopped = replace(found, stopped="the store is paused")
    assert answer_of(stopped, now=NOW).endswith(". Nothing is written there now: the store is paused.")


def test_an_unwanted_user_has_each_line_that_does_not_match() -> None:
    lines = (
        Unmatched(path="locale", wanted=("en-US", "en-GB"), found="da-DK"),
        Unmatched(path="metadata.vip", wanted=("true",), found=None),
    )
    found = replace(FOUND, status="unwanted", left="; ".join(line.words for line in lines))
    assert answer_of(found, now=NOW) == (
        "Grace Hopper is not in acme-us because the store wants locale in en-US, en-GB, and the profile has da-DK; "
        "the store wants metadata.vip: true, and the profile has no value."
    )


def test_an_accepted_edit_is_part_of_the_answer_and_a_pause_is_not_where_the_user_is_unwanted() -> None:
    until = NOON_2027
    edits = tuple(
        AcceptedDrift(
            clerk_user_id=GRACE, customer_id=None, change=changed(name, "a", "b", "drift"), until=until, by="ada"
        )
        for name in ("first_name", "tags")
    )
    assert answer_of(replace(IN_SHOP, status="in_sync", accepted=edits), now=NOW) == (
        "Grace Hopper is in sync in acme-us (customer 7001, not written yet). "
        "An edit in Shopify is accepted until 2027-03-31 12:00 UTC: first_name and tags."
    )
    unwanted = replace(FOUND, status="unwanted", left="there is no profile", stopped="the store is paused")
    assert answer_of(unwanted, now=NOW) == "Grace Hopper is not in acme-us because there is no profile."


def test_all_stores_are_counted_in_one_sentence() -> None:
    answers = [("in_sync", "a")] * 28 + [("unwanted", "b"), ("held", "c")]
    assert summary_sentence("Grace", answers) == "Grace is in sync in 28, held in 1 and not wanted by 1 of 30 stores."
    assert summary_sentence("Grace", [("held", "Grace is not in acme-us.")]) == "Grace is not in acme-us."


def test_a_user_is_called_by_name_else_email_else_id() -> None:
    ada = profile(first_name="Ada", last_name="King", email="ada@example.com")
    assert name_of(GRACE, ada, None) == "Ada King"
    nameless = profile(first_name=None, last_name=None, email="ada@example.com")
    assert name_of(GRACE, nameless, None) == "ada@example.com"
    assert name_of(GRACE, None, mapping(profile_name="Ada King")) == "Ada King"
    assert name_of(GRACE, None, mapping(email="ada@example.com")) == "ada@example.com"
    assert name_of(GRACE, None, mapping(status="erased", email="ada@example.com")) == GRACE
    assert name_of(GRACE, None, None) == GRACE


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (10_800, "3 h"), (200_000, "2 d")]
)
def test_a_duration_is_in_its_largest_unit(seconds: float, text: str) -> None:
    assert span_text(seconds) == text
