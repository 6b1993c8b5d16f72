"""A phone or an e-mail that a user, staff or the law sets free wakes the users who wait for it in `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.inprocess import shown
from tests.manager.street import US, Running, Street, until
from tests.manager.test_shopify_webhooks import LAW, UPDATES, quiet

PHONE, OTHER = "+16134505290", "+16134505291"
Free = Callable[[Street, Running, str], None]


def phone_of(street: Street, run: Running, user: str) -> Any:
    row = run.mapping(user)
    found = [c["phone"] for c in street.customers().values() if row is not None and c["id"] == row.customer_id]
    return found[0] if found else None


def enforced(street: Street, **policy: Any) -> None:
    street.stores[US] |= {"fields": {"phone": "enforce"}, **policy}


def is_quiet_and_held(run: Running, user: str, reason: str) -> bool:
    row = run.mapping(user)
    return row is not None and row.reason == reason and run.components.queue.depth() == 0


def edited(street: Street, _run: Running, guest: str) -> None:
    street.shop().staff("edit", id=guest, phone=None)


def deleted(street: Street, _run: Running, guest: str) -> None:
    street.shop().staff("delete", id=guest)


def merged(street: Street, _run: Running, guest: str) -> None:
    other = street.shop().staff("create", email="kept@example.com", phone=OTHER)
    street.shop().staff("merge", keep=other["id"], other=guest)


def redacted(street: Street, _run: Running, guest: str) -> None:
    street.shop().staff("redact", id=guest)


@pytest.mark.parametrize("free", [edited, deleted, merged, redacted])
def test_a_phone_of_a_customer_that_no_user_has_is_written_as_soon_as_staff_free_it(street: Street, free: Free) -> None:
    enforced(street)
    guest = street.shop().staff("create", email="guest@example.com", phone=PHONE)
    street.person("user_a", phone=PHONE, first_name="Ada")
    with street.replica() as run, street.deliverer(run, *UPDATES, *LAW) as post:
        run.looked_at_all()
        quiet(run, post)
        until(lambda: is_quiet_and_held(run, "user_a", "PhoneTaken"), "the user waits")
        assert street.customers()["user_a@example.com"]["firstName"] == "Ada"
        free(street, run, guest["id"])
        until(lambda: phone_of(street, run, "user_a") == PHONE, "the phone is written")
        until(lambda: run.status("user_a") == "in_sync", "nothing is left to do")


@pytest.mark.parametrize("free", [edited, deleted])
def test_an_email_that_the_policy_holds_is_written_as_soon_as_staff_free_it(street: Street, free: Free) -> None:
    enforced(street, on_email_conflict="hold")
    street.person("user_a", first_name="Ada")
    with street.replica() as run, street.deliverer(run, *UPDATES) as post:
        run.looked_at_all()
        guest = street.shop().staff("create", email="new@example.com")
        street.person("user_a", email="new@example.com")
        run.nudge("user_a")
        quiet(run, post)
        until(lambda: is_quiet_and_held(run, "user_a", "EmailConflict"), "the user waits")
        if free is edited:
            street.shop().staff("edit", id=guest["id"], email="old@example.com")
        else:
            free(street, run, guest["id"])
        row = run.mapping("user_a")
        assert row is not None
        at = row.customer_id
        until(lambda: street.customers().get("new@example.com", {}).get("id") == at, "the e-mail is written")


def cleared(street: Street, run: Running, _customer: str) -> None:
    street.person("user_b", phone=None)
    run.nudge("user_b")


def moved(street: Street, run: Running, _customer: str) -> None:
    street.person("user_b", phone=OTHER)
    run.nudge("user_b")


def left(street: Street, run: Running, _customer: str) -> None:
    street.gone("user_b")
    run.nudge("user_b")


def left_behind(street: Street, run: Running, customer: str) -> None:
    street.stores[US]["on_leave"] = "keep"
    street.gone("user_b")
    run.nudge("user_b")
    until(lambda: run.status("user_b") == "released", "the user is released")
    street.shop().staff("edit", id=customer, phone=None)


@pytest.mark.parametrize(
    ("free", "on_leave"), [(cleared, "keep"), (moved, "keep"), (left, "delete"), (left_behind, "keep")]
)
def test_a_phone_of_another_user_is_written_as_soon_as_it_is_free(street: Street, free: Free, on_leave: str) -> None:
    enforced(street, on_leave=on_leave)
    street.person("user_b", phone=PHONE)
    with street.replica() as run, street.deliverer(run, *UPDATES) as post:
        run.looked_at_all()
        street.person("user_a", phone=PHONE, first_name="Ada")
        run.nudge("user_a")
        quiet(run, post)
        until(lambda: is_quiet_and_held(run, "user_a", "PhoneTaken"), "the user waits")
        row = run.mapping("user_b")
        assert row is not None
        assert row.customer_id is not None
        free(street, run, row.customer_id)
        until(lambda: phone_of(street, run, "user_a") == PHONE, "the phone is written")
        until(lambda: run.status("user_a") == "in_sync", "nothing is left to do")


def customers_of(run: Running, users: list[str]) -> dict[str, Any]:
    return {user: row.customer_id for user in users if (row := run.mapping(user))}


def test_a_circle_of_twenty_five_emails_and_phones_turns_in_run(street: Street) -> None:
    enforced(street)
    users = [f"user_{n:02}" for n in range(25)]
    number = {user: f"+161345051{n:02}" for n, user in enumerate(users)}
    for user in users:
        street.person(user, phone=number[user], first_name=user)
    with street.replica() as run:
        run.looked_at_all()
        before = customers_of(run, users)
        after = dict(zip(users, users[1:] + users[:1], strict=True))
        for user, other in after.items():
            street.person(user, email=f"{other}@example.com", phone=number[other])
        run.nudge(*users)

        def is_turned() -> bool:
            found = {c["id"]: (email, c["phone"]) for email, c in street.customers().items()}
            return all(found.get(before[u]) == (f"{o}@example.com", number[o]) for u, o in after.items())

        until(is_turned, "the circle has turned", within_s=120)
        until(lambda: {run.status(user) for user in users} == {"in_sync"}, "all are in sync")
        assert customers_of(run, users) == before


@pytest.mark.parametrize("seed", [1, 3])
def test_users_of_a_shop_that_respells_values_exchange_them(street: Street, seed: int) -> None:
    street.shop().shop.change_habits(strange=seed)
    enforced(street)
    had = {"user_a": ("a@example.com", PHONE), "user_b": ("b@example.com", OTHER)}
    for user, (email, phone) in had.items():
        street.person(user, email=email, phone=phone, first_name=user)
    with street.replica() as run:
        run.looked_at_all()
        until(lambda: {run.status(user) for user in had} == {"in_sync"}, "both have their customers")
        for user, (email, phone) in zip(had, reversed(had.values()), strict=True):
            street.person(user, email=email, phone=phone)
        for user in had:
            run.nudge(user)

        def exchanged() -> bool:
            row = run.mapping("user_a")
            sim = street.shop()
            with sim.lock:
                kept = [shown(each, "clerk.user_id") for each in sim.shop.people]
            return [(c.email, c.phone) for c in kept if row is not None and c.id == row.customer_id] == [had["user_b"]]

        until(exchanged, "the values have changed hands")
        until(lambda: {run.status(user) for user in had} == {"in_sync"}, "nothing is left to do")
