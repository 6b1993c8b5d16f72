"""A phone or an email that a user, staff or the law sets free wakes the users who wait for it in `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.inprocess import shown
from tests.manager.harness import US, RunHarness, Running, until
from tests.manager.test_shopify_webhooks import LAW, UPDATES, quiet

PHONE, OTHER = "+16134505290", "+16134505291"
Free = Callable[[RunHarness, Running, str], None]


def phone_of(harness: RunHarness, run: Running, user: str) -> Any:
    row = run.mapping(user)
    found = [c["phone"] for c in harness.customers().values() if row is not None and c["id"] == row.customer_id]
    return found[0] if found else None


def enforced(harness: RunHarness, **policy: Any) -> None:
    harness.stores[US] |= {"fields": {"phone": "enforce"}, **policy}


def is_quiet_and_held(run: Running, user: str, reason: str) -> bool:
    row = run.mapping(user)
    return row is not None and row.reason == reason and run.components.queue.depth() == 0


def edited(harness: RunHarness, _run: Running, guest: str) -> None:
    harness.shop().staff("edit", id=guest, phone=None)


def deleted(harness: RunHarness, _run: Running, guest: str) -> None:
    harness.shop().staff("delete", id=guest)


def merged(harness: RunHarness, _run: Running, guest: str) -> None:
    other = harness.shop().staff("create", email="kept@example.com", phone=OTHER)
    harness.shop().staff("merge", keep=other["id"], other=guest)


def redacted(harness: RunHarness, _run: Running, guest: str) -> None:
    harness.shop().staff("redact", id=guest)


@pytest.mark.parametrize("free", [edited, deleted, merged, redacted])
def test_a_phone_of_a_customer_that_no_user_has_is_written_as_soon_as_staff_free_it(
    harness: RunHarness, free: Free
) -> None:
    enforced(harness)
    guest = harness.shop().staff("create", email="guest@example.com", phone=PHONE)
    harness.person("user_a", phone=PHONE, first_name="Ada")
    with harness.replica() as run, harness.deliverer(run, *UPDATES, *LAW) as post:
        run.scanned_all()
        quiet(run, post)
        until(lambda: is_quiet_and_held(run, "user_a", "PhoneTaken"), "the user waits")
        assert harness.customers()["user_a@example.com"]["firstName"] == "Ada"
        free(harness, run, guest["id"])
        until(lambda: phone_of(harness, run, "user_a") == PHONE, "the phone is written")
        until(lambda: run.status("user_a") == "in_sync", "nothing is left to do")


@pytest.mark.parametrize("free", [edited, deleted])
def test_an_email_that_the_policy_holds_is_written_as_soon_as_staff_free_it(harness: RunHarness, free: Free) -> None:
    enforced(harness, on_email_conflict="hold")
    harness.person("user_a", first_name="Ada")
    with harness.replica() as run, harness.deliverer(run, *UPDATES) as post:
        run.scanned_all()
        guest = harness.shop().staff("create", email="new@example.com")
        harness.person("user_a", email="new@example.com")
        run.nudge("user_a")
        quiet(run, post)
        until(lambda: is_quiet_and_held(run, "user_a", "EmailConflict"), "the user waits")
        if free is edited:
            harness.shop().staff("edit", id=guest["id"], email="old@example.com")
        else:
            free(harness, run, guest["id"])
        row = run.mapping("user_a")
        assert row is not None
        at = row.customer_id
        until(lambda: harness.customers().get("new@example.com", {}).get("id") == at, "the email is written")


def cleared(harness: RunHarness, run: Running, _customer: str) -> None:
    harness.person("user_b", phone=None)
    run.nudge("user_b")


def moved(harness: RunHarness, run: Running, _customer: str) -> None:
    harness.person("user_b", phone=OTHER)
    run.nudge("user_b")


def left(harness: RunHarness, run: Running, _customer: str) -> None:
    harness.gone("user_b")
    run.nudge("user_b")


def left_behind(harness: RunHarness, run: Running, customer: str) -> None:
    harness.stores[US]["on_leave"] = "keep"
    harness.gone("user_b")
    run.nudge("user_b")
    until(lambda: run.status("user_b") == "released", "the user is released")
    harness.shop().staff("edit", id=customer, phone=None)


@pytest.mark.parametrize(
    ("free", "on_leave"), [(cleared, "keep"), (moved, "keep"), (left, "delete"), (left_behind, "keep")]
)
def test_a_phone_of_another_user_is_written_as_soon_as_it_is_free(
    harness: RunHarness, free: Free, on_leave: str
) -> None:
    enforced(harness, on_leave=on_leave)
    harness.person("user_b", phone=PHONE)
    with harness.replica() as run, harness.deliverer(run, *UPDATES) as post:
        run.scanned_all()
        harness.person("user_a", phone=PHONE, first_name="Ada")
        run.nudge("user_a")
        quiet(run, post)
        until(lambda: is_quiet_and_held(run, "user_a", "PhoneTaken"), "the user waits")
        row = run.mapping("user_b")
        assert row is not None
        assert row.customer_id is not None
        free(harness, run, row.customer_id)
        until(lambda: phone_of(harness, run, "user_a") == PHONE, "the phone is written")
        until(lambda: run.status("user_a") == "in_sync", "nothing is left to do")


def customers_of(run: Running, users: list[str]) -> dict[str, Any]:
    return {user: row.customer_id for user in users if (row := run.mapping(user))}


@pytest.mark.parametrize("length", [8, pytest.param(25, marks=pytest.mark.explore)])
@pytest.mark.slow
def test_a_long_circle_of_emails_and_phones_turns_in_run(harness: RunHarness, length: int) -> None:
    enforced(harness)
    users = [f"user_{n:02}" for n in range(length)]
    number = {user: f"+161345051{n:02}" for n, user in enumerate(users)}
    for user in users:
        harness.person(user, phone=number[user], first_name=user)
    with harness.replica() as run:
        run.scanned_all()
        before = customers_of(run, users)
        after = dict(zip(users, users[1:] + users[:1], strict=True))
        for user, other in after.items():
            harness.person(user, email=f"{other}@example.com", phone=number[other])
        run.nudge(*users)

        def is_turned() -> bool:
            found = {c["id"]: (email, c["phone"]) for email, c in harness.customers().items()}
            return all(found.get(before[u]) == (f"{o}@example.com", number[o]) for u, o in after.items())

        until(is_turned, "the circle has turned", within_s=120)
        until(lambda: run.statuses(users) == {"in_sync"}, "all are in sync")
        assert customers_of(run, users) == before


@pytest.mark.parametrize("seed", [1, 3])
def test_users_of_a_shop_that_respells_values_exchange_them(harness: RunHarness, seed: int) -> None:
    harness.shop().shop.change_habits(strange=seed)
    enforced(harness)
    had = {"user_a": ("a@example.com", PHONE), "user_b": ("b@example.com", OTHER)}
    for user, (email, phone) in had.items():
        harness.person(user, email=email, phone=phone, first_name=user)
    with harness.replica() as run:
        run.scanned_all()
        until(lambda: run.statuses(had) == {"in_sync"}, "both have their customers")
        for user, (email, phone) in zip(had, reversed(had.values()), strict=True):
            harness.person(user, email=email, phone=phone)
        for user in had:
            run.nudge(user)

        def exchanged() -> bool:
            row = run.mapping("user_a")
            sim = harness.shop()
            with sim.lock:
                kept = [shown(each, "clerk.user_id") for each in sim.shop.people]
            return [(c.email, c.phone) for c in kept if row is not None and c.id == row.customer_id] == [had["user_b"]]

        until(exchanged, "the values have changed owners")
        until(lambda: run.statuses(had) == {"in_sync"}, "nothing is left to do")
