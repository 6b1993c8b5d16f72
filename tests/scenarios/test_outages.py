"""Outages on whole processes: a replica that freezes inside a transaction, a Postgres that goes and comes back."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from reconciler.state.database.bounds import BOUNDS_MS
from tests import servers
from tests.manager.harness import US, RunHarness, run_harness, until, user_event
from tests.manager.processes import Process, replicas

IDLE_S = BOUNDS_MS["idle_in_transaction_session_timeout"] / 1000
QUICK_LEASE_S = 2.0
LEASE_S = IDLE_S + 1.0  # as in the product, longer than a frozen transaction holds anything


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


def is_frozen(process: Process) -> bool:
    return Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def in_sync(server: servers.Server, database: str) -> int:
    query = "SELECT count(*) FROM reconciler.reconciler_mapping WHERE status = 'in_sync'"
    with server.connect(database) as connection, connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return int(cursor.execute(query).fetchall()[0][0])


@pytest.mark.parametrize(
    ("words", "pooled"),
    [("pg_advisory_xact_lock", True), ("FOR SHARE", False), ("INSERT INTO reconciler.reconciler_mapping", False)],
)
def test_a_replica_frozen_inside_a_transaction_holds_the_others_up_for_seconds_at_most(
    harness: RunHarness, start: Any, postgres: servers.Server, database: str, pooler: int, words: str, *, pooled: bool
) -> None:
    frozen = start(postgres.url(database, port=pooler) if pooled else None, freeze_after=words, lease_s=LEASE_S)
    frozen.started()
    until(lambda: frozen.said("scan_finished"), "the look at the start is over")
    healthy = start(lease_s=LEASE_S)
    healthy.started()
    until(healthy.ready, "the other one is ready")
    healthy.signal(signal.SIGSTOP)
    harness.person("user_0")
    frozen.accepted("user.created", user_event("user_0"), "msg_0")
    until(lambda: is_frozen(frozen), "it has frozen inside its transaction")
    healthy.signal(signal.SIGCONT)
    began = time.monotonic()
    for n in range(1, 6):
        harness.person(f"user_{n}")
        healthy.accepted("user.created", user_event(f"user_{n}"), f"msg_{n}")
    unready = []

    def all_in_sync() -> bool:
        unready.extend([] if healthy.ready() else [time.monotonic() - began])
        return in_sync(postgres, database) == 6

    until(all_in_sync, "everybody is in sync")
    assert time.monotonic() - began < LEASE_S + 30.0  # not until the frozen one continues, and not until TCP gives up
    assert not unready
    assert is_frozen(frozen)
    frozen.signal(signal.SIGCONT)
    until(frozen.ready, "the frozen one works again")
    assert len(harness.emails()) == 6


@dataclass
class Cluster:
    """Replicas on one Postgres, to which seeded misfortune comes; each method is one."""

    harness: RunHarness
    server: servers.Server
    start: Callable[..., Process]
    chance: random.Random
    running: list[Process]
    users: int = 0

    def outage(self) -> None:
        with self.server.away(crashed=self.chance.random() < 0.5):
            self.wait(self.chance.uniform(0.0, 4.0))

    def freeze(self) -> None:
        frozen = self.chance.choice(self.running)
        frozen.signal(signal.SIGSTOP)
        self.wait(self.chance.uniform(0.0, 4.0))
        frozen.signal(signal.SIGCONT)

    def silence(self) -> None:
        with self.server.frozen():  # who asks now would wait with it
            threading.Event().wait(self.chance.uniform(0.0, 4.0))

    def kill(self) -> None:
        killed = self.running.pop(self.chance.randrange(len(self.running)))
        killed.signal(signal.SIGKILL)
        self.running.append(self.start())

    def wait(self, seconds: float) -> None:
        """Whatever happens meanwhile, users change, and their webhooks come to any replica that answers."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.ask()
            threading.Event().wait(0.05)

    def ask(self) -> None:
        """One nudge, as `reconciler nudge` writes it down, where the state can be reached."""
        self.users += 1
        user = f"user_{self.users}"
        self.harness.person(user)
        with suppress(psycopg.Error), self.server.connect(self.harness.state_url.rpartition("/")[2]) as connection:
            connection.execute("SET statement_timeout = 500")
            connection.execute(NUDGE, (user,))


NUDGE = """
INSERT INTO reconciler.reconciler_request (clerk_user_id, store, priority, due_at, rank_at, attempts, generation, seen,
  explicit_generation, fencing, reason) VALUES (%s, 'acme-us', 0, now(), now(), 0, 1, 0, 0, 0, 'nudge')"""
WAITING = "SELECT count(*) FROM reconciler.reconciler_request"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.explore)])
def test_after_any_sequence_of_outages_everything_due_is_served_without_a_restart_of_replicas(
    harness: RunHarness, start: Any, postgres: servers.Server, database: str, seed: int
) -> None:
    cluster = Cluster(harness, postgres, start, random.Random(seed), [start(), start()])
    for process in cluster.running:
        process.started()
    for n in range(5):
        cluster.chance.choice([cluster.outage, cluster.outage, cluster.freeze, cluster.silence, cluster.kill])()
        for _ in range(3 + n):
            cluster.ask()
    quiet_at = time.monotonic()

    def left() -> int:
        with postgres.connect(database) as connection, connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            return int(cursor.execute(WAITING).fetchall()[0][0])

    until(lambda: left() == 0, "everything due is served")
    assert time.monotonic() - quiet_at < QUICK_LEASE_S + 40.0
    for process in cluster.running:
        process.started()
        until(process.ready, "each replica is ready")
        assert process.popen.poll() is None


def waits(process: Process) -> str:
    """Where a process that waits for its database listens."""

    def url() -> Any:
        assert process.popen.poll() is None, "".join(process.lines)
        return next((entry["url"] for entry in process.log() if entry["event"] == "port_opened"), None)

    process.url = until(url, "it listens")
    return process.url


def test_a_replica_that_starts_while_postgres_is_away_waits_and_begins_by_itself(
    harness: RunHarness, start: Any, postgres: servers.Server, database: str
) -> None:
    harness.person("user_a")
    with postgres.away():
        process = start()
        url = waits(process)
        assert not process.ready()
        assert any("refused" in reason for reason in process.reasons())
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert process.clerk("user.created", user_event("user_a"), "msg_1") == 503
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 2.0, "it has tried several times")
        assert sum(entry["event"] == "database_awaited" for entry in process.log()) == 1
    process.started()
    assert process.url == url
    until(process.ready, "it is ready")
    until(lambda: in_sync(postgres, database) == 1, "it works")
    process.signal(signal.SIGTERM)
    assert process.ended() == 0
    assert {line[0] for line in process.lines} == {"{"}


def test_a_file_that_changes_while_a_replica_waits_for_its_database_is_taken(
    harness: RunHarness, start: Any, postgres: servers.Server
) -> None:
    harness.person("user_a")
    with postgres.away():
        process = start()
        waits(process)
        harness.stores[US]["tags"] = ["changed"]
        harness.write()
    process.started()
    until(lambda: [c["tags"] for c in harness.customers().values()] == [["changed"]], "the newest file is what runs")


def test_a_replica_that_starts_beside_others_while_a_file_is_half_written_works_by_the_whole_one(
    harness: RunHarness, start: Any
) -> None:
    """What is there of the file is valid, and lacks its last line: the store's `where`."""
    harness.stores[US]["where"] = {"locale": "en-US"}
    harness.write()
    harness.person("user_a")
    harness.person("user_b", locale="da-DK")
    first = start()
    first.started()
    until(lambda: harness.emails() == ["user_a@example.com"], "the first user is there")
    first.signal(signal.SIGKILL)
    first.ended()
    stores = harness.paths[1]
    whole = stores.read_text()
    del harness.stores[US]["where"]
    harness.write()
    second = start()

    def waits_for_files() -> bool:
        stores.touch()  # it is still being written
        return any(entry["event"] == "files_awaited" for entry in second.log())

    until(waits_for_files, "it waits for the files")
    stores.write_text(whole)
    harness.person("user_c")
    second.started()
    for user in ("user_b", "user_c"):
        second.accepted("user.created", user_event(user), f"msg_{user}")
    until(lambda: len(harness.emails()) == 2, "the new user is there")
    assert harness.emails() == ["user_a@example.com", "user_c@example.com"]


def test_a_process_that_waits_for_a_database_ends_by_sigterm(tmp_path: Path) -> None:
    with run_harness(tmp_path) as harness, replicas(harness) as start:
        url = f"postgresql://no_one@127.0.0.1:{servers.free_port()}/profiles"
        harness.settings["profiles"] = {**harness.settings["profiles"], "url": url}
        process = start()
        waits(process)
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.ended() == 0
        assert time.monotonic() - began < 20.0


def test_what_no_waiting_mends_is_said_and_ends_it(harness: RunHarness, start: Any, postgres: servers.Server) -> None:
    process = start(postgres.url("no_such_database"))
    assert process.ended() == 1
    assert 'database "no_such_database" does not exist' in "".join(process.lines)


def test_a_replica_that_starts_while_the_disk_of_the_state_is_full_begins_and_works_once_there_is_space(
    harness: RunHarness, start: Any, postgres: servers.Server, database: str
) -> None:
    full = (
        (
            "CREATE FUNCTION reconciler.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
            "'could not extend file: No space left on device' USING errcode = 'disk_full'; END $$"
        ),
        (
            "CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON reconciler.reconciler_request "
            "FOR EACH STATEMENT EXECUTE FUNCTION reconciler.full()"
        ),
    )
    harness.person("user_a")
    harness.shop().faults.add("slow", on="customerSet", seconds=300.0, times=None)
    first = start()
    first.started()
    owned = "SELECT count(*) FROM reconciler.reconciler_request WHERE owner IS NOT NULL"
    with postgres.connect(database) as connection:
        until(lambda: (connection.execute(owned.encode()).fetchone() or (0,))[0], "the user is in progress")
        first.signal(signal.SIGKILL)
        first.ended()
        for statement in full:
            connection.execute(statement.encode())
        second = start()
        second.started()
        assert second.said("takeover_failed")
        harness.shop().faults.clear()
        connection.execute(b"DROP TRIGGER disk_full ON reconciler.reconciler_request")
    until(lambda: in_sync(postgres, database) == 1, "the user is in sync")
    until(second.ready, "it is ready")
