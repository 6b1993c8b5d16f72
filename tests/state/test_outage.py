"""Calls of a command wait for a Postgres that restarts; those of `run` fail immediately, as its queue waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from threading import current_thread
from typing import TypeVar

import pytest
from sqlalchemy import Engine

from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.request import Request
from reconciler.errors import StateError
from reconciler.outbound.databases.away import PAUSE_S
from reconciler.outbound.databases.logins import DbLogins
from reconciler.state.database.engine import open_engine
from reconciler.state.processes.clock import DatabaseClock
from reconciler.state.requests.queue import RequestTable
from reconciler.supabase.reading.profiles import TableProfiles
from tests import servers
from tests.clock import WallClock
from tests.manager.harness import until
from tests.outbound.swallowing import SwallowingProxy
from tests.state_store import StateStore

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ENOUGH_S = 60.0
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
SHUT_DOWN = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
SHOP, ACME = ShopDomain("acme.myshopify.com"), StoreName("acme")
T = TypeVar("T")
ADA, BOB = ClerkUserId("user_ada"), ClerkUserId("user_bob")


def mapping(user: ClerkUserId, customer: str | None = None) -> Mapping:
    return Mapping(clerk_user_id=user, store=ACME, shop=SHOP, customer_id=CustomerId(customer) if customer else None)


def update(user: ClerkUserId) -> Event:
    return Event(at=NOW, store=ACME, shop=SHOP, clerk_user_id=user, customer_id=None, kind="update", changes=())


class Attempts(DbLogins):
    """Counts attempts to connect, by the thread that made them."""

    def __init__(self) -> None:
        super().__init__()
        self.by_thread: Counter[str] = Counter()

    def connect(self, url: str, connect: Callable[[], T]) -> T:
        self.by_thread[current_thread().name] += 1
        return super().connect(url, connect)


@contextmanager
def opened(url: str, outage_s: float, attempts: Attempts | None = None) -> Iterator[Engine]:
    engine = open_engine(url, outage_s=outage_s, logins=attempts or Attempts())
    try:
        yield engine
    finally:
        engine.dispose()


def test_each_call_waits_and_is_made_once(postgres: servers.Server, postgres_database: Callable[..., str]) -> None:
    url, attempts, threads_of = postgres.url(postgres_database(migrated=True)), Attempts(), dict[int, str]()
    with opened(url, ENOUGH_S, attempts) as engine, ThreadPoolExecutor(16) as threads:
        state, queue, clock = StateStore(engine), RequestTable(engine), DatabaseClock(engine, WallClock(), every_s=0.0)
        profiles = TableProfiles(url, "people", {"clerk_user_id": "id"}, outage_s=ENOUGH_S, logins=attempts)
        with postgres.connect(url.rpartition("/")[2]) as app:
            app.execute("CREATE TABLE people (id text PRIMARY KEY)")
        profiles.check()
        state.put(mapping(ADA, "gid://1"))
        fence = state.acquire("held", "me", ttl_s=30.0, now=NOW)
        assert fence == 1
        calls: list[Callable[[], object]] = [
            lambda: state.get(SHOP, [ADA]),
            lambda: state.put(mapping(ADA, "gid://1"), update(ADA)),
            lambda: state.put_many([mapping(BOB, "gid://2")], update(BOB)),
            lambda: state.renew("held", "me", 1, ttl_s=30.0, now=NOW),
            lambda: state.acquire("new", "me", ttl_s=30.0, now=NOW),
            lambda: state.spend(SHOP, "update", NOW, 1, 10),
            lambda: queue.add([Request(ACME, ADA)], NOW, reason="nudge"),
            lambda: list(profiles.get([ADA])),
            lambda: abs(clock.now() - WallClock().now()).total_seconds() < ENOUGH_S,  # it counts on by itself
        ]

        def make(number: int) -> object:
            threads_of[number] = current_thread().name
            return calls[number]()

        attempts.by_thread.clear()
        with postgres.away():
            running = [threads.submit(make, number) for number in range(len(calls))]
            waiting = running[:-1]
            until(lambda: all(attempts.by_thread[threads_of.get(n, "")] for n in range(len(waiting))), "all have tried")
            assert not any(each.done() for each in waiting)
        results = [each.result(ENOUGH_S) for each in running]
        assert (results[3:7], results[-1]) == ([True, 1, True, 1], True)
        assert [row.customer_id for row in state.get(SHOP, [ADA, BOB]).values()] == ["gid://1", "gid://2"]
        assert sorted(event.clerk_user_id for event in state.events()) == [ADA, BOB]
        assert queue.depth() == 1
        profiles.close()


def test_a_write_that_is_cut_off_before_its_commit_is_made_again(
    postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    database = postgres_database(migrated=True)
    with opened(postgres.url(database), ENOUGH_S) as engine, ThreadPoolExecutor(1) as threads:
        state = StateStore(engine)
        state.put(mapping(ADA, "gid://1"))
        with postgres.connect(database) as other, other.transaction():
            other.execute("SELECT 1 FROM reconciler.reconciler_mapping FOR UPDATE")
            writing = threads.submit(state.put, mapping(ADA, "gid://1"), update(ADA))
            waits = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            with postgres.connect(database) as admin:
                until(lambda: admin.execute(f"SELECT pg_terminate_backend(pid) {waits}").fetchall(), "it is cut off")
        writing.result(ENOUGH_S)
        assert [event.clerk_user_id for event in state.events()] == [ADA]


def test_a_commit_that_is_answered_before_the_server_ends_the_session_is_not_repeated(
    postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    """Postgres does so where it logs how long statements take (seen 2026-11-30): it looks for a shutdown as it logs."""
    with closing(SwallowingProxy(postgres.port)) as proxy:
        url = postgres.url(postgres_database(migrated=True), port=proxy.port)
        with opened(url, ENOUGH_S) as engine:
            state = StateStore(engine)
            state.put(mapping(BOB))
            proxy.end_after(COMMITTED, COMMITTED + b"E" + (len(SHUT_DOWN) + 4).to_bytes(4) + SHUT_DOWN)
            with pytest.raises(StateError):
                state.put_many([mapping(ADA, "gid://1")], update(ADA))
            assert [event.clerk_user_id for event in state.events()] == [ADA]


def test_without_patience_and_for_another_reason_nothing_is_waited_for(
    postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    url = postgres.url(postgres_database(migrated=True))
    with opened(url, 0.0) as engine, postgres.away(), pytest.raises(StateError, match="refused"):
        StateStore(engine).get(SHOP, [ADA])
    attempts = Attempts()
    with opened(postgres.url("there_is_none"), ENOUGH_S, attempts) as engine:
        with pytest.raises(StateError, match="does not exist"):
            StateStore(engine).get(SHOP, [ADA])
        assert attempts.by_thread.total() == 1


def test_a_server_that_has_never_answered_is_waited_for_for_some_seconds_once() -> None:
    attempts = Attempts()
    with opened("postgresql://no_one@127.0.0.1:1/none", ENOUGH_S, attempts) as engine:
        with pytest.raises(StateError, match="refused"):
            StateStore(engine).get(SHOP, [ADA])
        of_first = attempts.by_thread.total()
        assert 1 < of_first < ENOUGH_S / PAUSE_S / 4
        with pytest.raises(StateError, match="refused"):
            StateStore(engine).get(SHOP, [ADA])
        assert attempts.by_thread.total() == of_first + 1
