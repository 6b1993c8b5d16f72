"""Three replicas on one Postgres, one of them through a transaction pooler: no one twice, no one lost, whatever dies."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler.simulator.control import all_customers
from reconciler.state.database.engine import open_engine
from tests import servers
from tests.clock import WallClock
from tests.manager.harness import HELD_S, US, RunHarness, run_harness, until, user_event
from tests.manager.processes import Cable, Process, replicas

PEOPLE = 24
SEED = 20261125
LEASE_S = 2.0


@pytest.fixture
def database(postgres: servers.Server, postgres_database: Callable[..., str]) -> str:
    return postgres_database(migrated=True)


@pytest.fixture
def harness(tmp_path: Path, postgres: servers.Server, database: str) -> Iterator[RunHarness]:
    with run_harness(tmp_path, state_url=postgres.url(database)) as found:
        yield found


@pytest.fixture
def start(harness: RunHarness) -> Iterator[Any]:
    with replicas(harness) as begun:
        yield begun


def rows(postgres: servers.Server, database: str, query: str) -> list[Any]:
    with postgres.connect(database) as connection, connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def statuses(postgres: servers.Server, database: str) -> Counter[str]:
    return Counter(row[0] for row in rows(postgres, database, "SELECT status FROM reconciler.reconciler_mapping"))


def requests(postgres: servers.Server, database: str) -> int:
    found = rows(postgres, database, "SELECT count(*) FROM reconciler.reconciler_request")
    return int(found[0][0])


def holders(postgres: servers.Server, database: str) -> Counter[str]:
    query = "SELECT owner FROM reconciler.reconciler_request WHERE owner IS NOT NULL"
    return Counter(row[0] for row in rows(postgres, database, query))


def owner_of(process: Process) -> str:
    return next(str(entry["owner"]) for entry in process.log() if entry["event"] == "started")


def no_one_twice_no_one_lost(harness: RunHarness, people: int) -> None:
    customers = all_customers(harness.shop(US))
    emails = Counter(c["email"] for c in customers)
    assert len(emails) == people
    assert set(emails.values()) == {1}
    with harness.shop().lock:
        links = Counter(
            metafield.value
            for customer in harness.shop().shop.people
            if (metafield := customer.metafield(("clerk", "user_id"))) is not None
        )
    assert len(links) == people
    assert set(links.values()) == {1}


def test_killed_frozen_and_restarted_replicas_lose_nothing_and_do_nothing_twice(
    harness: RunHarness, start: Any, postgres: servers.Server, database: str, pooler: int
) -> None:
    print(f"seed {SEED}")  # noqa: T201  shown where it fails
    chance = random.Random(SEED)
    harness.settings["controller"]["workers"] = 2
    harness.write()
    pooled = postgres.url(database, port=pooler)
    killed, frozen, leaving = start(), start(pooled), start()
    running: list[Process] = [killed, frozen, leaving]
    for process in running:
        process.started()
    both = {owner_of(killed), owner_of(frozen)}
    harness.shop().faults.add("slow", on="customerSet", seconds=HELD_S, times=None)

    def asked(users: range, *processes: Process) -> None:
        for n in users:
            at = WallClock().now()
            harness.person(f"user_{n}")
            process = chance.choice(processes)
            process.accepted("user.created", user_event(f"user_{n}", updated_at=at), f"msg_{n}")

    asked(range(PEOPLE // 2), killed, frozen, leaving)
    until(lambda: both <= holders(postgres, database).keys(), "both have work in progress")
    killed.signal(signal.SIGKILL)
    frozen.signal(signal.SIGSTOP)
    harness.shop().faults.clear()
    asked(range(PEOPLE // 2, PEOPLE), leaving)
    leaving.signal(signal.SIGTERM)  # a rolling restart: the next one first
    fresh = start(pooled)
    fresh.started()
    assert leaving.ended() == 0
    until(lambda: statuses(postgres, database) == {"in_sync": PEOPLE}, "everybody is in sync")
    until(lambda: not both & holders(postgres, database).keys(), "their work was taken over")
    frozen.signal(signal.SIGCONT)
    until(lambda: requests(postgres, database) == 0, "nothing is owed")
    until(frozen.ready, "the frozen one works again")
    no_one_twice_no_one_lost(harness, PEOPLE)
    creates = sum("customerSet" in call.roots for call in harness.shop().calls)
    # A create in progress of a replica that was killed or frozen may be sent once more, by its key; so may that of one that
    # got no CPU for as long as a lease lasts.
    said = [entry for process in (leaving, fresh) for entry in process.log()]
    lost = sum(e["event"] in {"lease_lost", "reconcile_abandoned"} or e.get("result") == "lost" for e in said)
    assert creates <= PEOPLE + 2 * 2 + lost
    at = WallClock().now()
    harness.person("user_0", first_name="Thawed")
    frozen.accepted("user.updated", user_event("user_0", updated_at=at), "msg_thawed")
    until(lambda: harness.customers()["user_0@example.com"]["firstName"] == "Thawed", "it takes webhooks as before")
    for process in (frozen, fresh):
        process.signal(signal.SIGTERM)
    assert [process.ended() for process in (frozen, fresh)] == [0, 0]
    before = harness.mutations()
    with harness.replica() as run:
        run.scanned_all()
    assert harness.mutations() == before


def test_a_late_write_of_a_frozen_replica_is_dropped(
    harness: RunHarness, start: Any, postgres: servers.Server, database: str
) -> None:
    harness.person("user_a", first_name="One")
    frozen = start()
    frozen.started()
    until(lambda: statuses(postgres, database) == {"in_sync": 1}, "the customer is there")
    until(lambda: frozen.said("scan_finished"), "the look at the start is over")
    until(lambda: requests(postgres, database) == 0, "nothing is owed")
    held = harness.shop().faults.add("slow", seconds=HELD_S)
    harness.person("user_a", first_name="Two")
    at = WallClock().now() - timedelta(seconds=5)
    frozen.accepted("user.updated", user_event("user_a", updated_at=at), "msg_1")
    until(lambda: held.hits and owner_of(frozen) in holders(postgres, database), "the customer is being read")
    frozen.signal(signal.SIGSTOP)
    seen = len(frozen.log())
    harness.person("user_a", first_name="Three")
    start()
    until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "Three", "the request was taken over")
    until(lambda: requests(postgres, database) == 0, "nothing is owed")
    harness.shop().faults.clear()
    frozen.signal(signal.SIGCONT)
    over = {"reconcile_abandoned", "reconciled"}
    until(lambda: any(e["event"] in over for e in frozen.log()[seen:]), "the frozen one went on")
    until(frozen.ready, "it is ready")
    assert harness.customers()["user_a@example.com"]["firstName"] == "Three"
    assert statuses(postgres, database) == {"in_sync": 1}


def test_a_network_that_swallows_everything_ends_a_call_within_half_a_minute(
    postgres: servers.Server, database: str
) -> None:
    engine = open_engine(postgres.url(database))
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as line:
            idle, pause, tries = (
                line.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert idle + pause * tries <= 30
            assert 0 < line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
    engine.dispose()


def test_a_cut_network_between_a_replica_and_the_database_heals(
    harness: RunHarness, start: Any, postgres: servers.Server, database: str
) -> None:
    harness.person("user_a")
    with Cable(postgres.port) as cable:
        process = start(postgres.url(database, port=cable.port))
        process.started()
        until(lambda: statuses(postgres, database) == {"in_sync": 1}, "the customer is there")
        until(process.ready, "it is ready")
        cable.cut()
        until(lambda: not process.ready(), "it is not ready")
        harness.person("user_b")
        assert process.clerk("user.created", user_event("user_b"), "msg_1") == 503  # not written down: send it again
        assert process.popen.poll() is None
        cable.mend()
        until(process.ready, "it is ready again")
        process.accepted("user.created", user_event("user_b"), "msg_1")
        until(lambda: statuses(postgres, database) == {"in_sync": 2}, "work continues")
        process.signal(signal.SIGTERM)
        assert process.ended() == 0
