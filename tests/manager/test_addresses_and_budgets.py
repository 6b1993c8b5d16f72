"""Addresses that change owners, and ceilings an hour, in `run` by nudges alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.clock import WallClock
from tests.manager.harness import US, RunHarness, Running, until


def emails_by_user(harness: RunHarness, run: Running, *users: str) -> dict[str, str]:
    by_id = {c["id"]: e for e, c in harness.customers().items()}
    rows = {user: run.mapping(user) for user in users}
    return {user: by_id.get(str(row.customer_id), "") if row else "" for user, row in rows.items()}


def test_a_circle_of_addresses_turns_by_nudges_alone_and_everybody_keeps_their_customer(harness: RunHarness) -> None:
    users = [f"user_{n}" for n in range(4)]
    for user in users:
        harness.person(user, first_name=user)
    with harness.replica() as run:
        run.scanned_all()
        customers = {u: row.customer_id for u in users if (row := run.mapping(u))}
        wanted = {user: f"{users[(n + 1) % 4]}@example.com" for n, user in enumerate(users)}
        for user, email in wanted.items():
            harness.person(user, email=email)
        run.nudge(*users)
        until(lambda: emails_by_user(harness, run, *users) == wanted, "the circle has turned")
        until(lambda: run.statuses(users) == {"in_sync"}, "all are in sync")
        after = {u: row.customer_id for u in users if (row := run.mapping(u))}
        assert after == customers


def test_a_chain_resolves_from_its_end_when_only_its_beginning_is_nudged(harness: RunHarness) -> None:
    users = [f"user_{n}" for n in range(5)]
    for user in users:
        harness.person(user)
    with harness.replica() as run:
        run.scanned_all()
        wanted = {users[n]: f"user_{n + 1}@example.com" for n in range(4)} | {users[4]: "free@example.com"}
        for user, email in wanted.items():
            harness.person(user, email=email)
        run.nudge(users[0])
        until(lambda: emails_by_user(harness, run, *users) == wanted, "the chain has moved on")


class EarlyInTheHour:
    """The wall's clock, put forward to five minutes past the next hour: no test sees an hour end."""

    def __init__(self) -> None:
        now = WallClock().now()
        self.ahead = now.replace(minute=5, second=0, microsecond=0) + timedelta(hours=1) - now

    def now(self) -> datetime:
        return WallClock().now() + self.ahead


def test_an_hours_budget_holds_what_is_above_it_and_lets_it_go_in_the_next_hour(harness: RunHarness) -> None:
    harness.stores[US]["guards"] = {**harness.stores[US]["guards"], "create": {"max": 2}}
    with harness.replica(EarlyInTheHour()) as run:
        run.scanned_all()
        users = [f"user_{n}" for n in range(5)]
        for user in users:
            harness.person(user)
        run.nudge(*users)
        run.settled()
        held = [u for u in users if run.status(u) == "held"]
        assert (len(harness.emails()), len(held)) == (2, 3)
        row = run.mapping(held[0])
        assert row is not None
        assert row.reason == "GuardExceeded"
        assert run.waiting() == set(held)
        now = run.components.clock.now()
        hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        assert (
            run.components.queue.claim("x", hour - timedelta(seconds=1), limit=9, lease_s=1, stores={row.store: 9})
            == []
        )
        claims = run.components.queue.claim("x", hour + timedelta(minutes=2), limit=9, lease_s=1, stores={row.store: 9})
        assert sorted(c.clerk_user_id for c in claims) == sorted(held)


def test_a_shop_that_is_down_spends_no_budget(harness: RunHarness) -> None:
    harness.stores[US]["guards"] = {**harness.stores[US]["guards"], "create": {"max": 2}}
    harness.person("user_a")
    with harness.replica() as run:
        harness.shop().faults.add("status", on="customerSet", status=503, times=12)
        run.scanned_all()
        run.nudge("user_a")
        until(lambda: harness.shop().faults.pending() == 0 or _nudged(run), "the shop is up again")
        until(lambda: run.status("user_a") == "in_sync" or _nudged(run), "the customer is there")
        harness.person("user_b")
        run.nudge("user_b")
        until(lambda: run.status("user_b") == "in_sync", "and the budget is not spent by tries")


def _nudged(run: Running) -> bool:
    run.nudge("user_a")
    return False


def test_an_explicit_nudge_tries_once_more_what_the_shop_refused(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        calls = len(harness.shop().calls)
        run.nudge("user_a")
        until(lambda: run.components.queue.depth() == 0, "it was reconciled")
        assert len(harness.shop().calls) > calls
        assert harness.shop().calls[-1].kind == "query"
