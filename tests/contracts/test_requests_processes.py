"""Several processes on one Postgres: no work is done twice, and that of a killed or frozen one is taken over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Request
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.queue import RequestTable
from tests import servers
from tests.clock import WallClock

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KEYS = 600
HOLD_LEASE_S = 4.0  # both must have taken what they hold before the first one's runs out
DRAIN_LEASE_S = 30.0
WAIT_S = 60.0

Start = Callable[[str, str, float], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a replica; whatever still runs at the end is killed by its own pid."""
    with ExitStack() as running:

        def begin(url: str, how: str, lease_s: float) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.contracts.queue_worker", url, how, str(lease_s)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            running.callback(end, process)
            return process

        def end(process: subprocess.Popen[str]) -> None:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=WAIT_S)

        yield begin


def reply_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_a_killed_and_a_frozen_replica_are_taken_over_and_every_key_is_reconciled_exactly_once(
    postgres: servers.Server, pooler: int, postgres_database: Callable[..., str], start: Start
) -> None:
    name = postgres_database(migrated=True)
    direct, pooled = postgres.url(name), postgres.url(name, port=pooler)
    with postgres.connect(name) as connection:
        connection.execute(
            "CREATE TABLE reconciles (store text, name text, owner text, at timestamptz DEFAULT clock_timestamp())"
        )
    engine = open_engine(direct)
    queue = RequestTable(engine)
    stores = (StoreName("acme"), StoreName("globex"))
    requests = [Request(stores[n % 2], ClerkUserId(f"user_{n}")) for n in range(KEYS)]
    queue.add(requests, WallClock().now(), reason="webhook")

    frozen, killed = start(direct, "hold", HOLD_LEASE_S), start(pooled, "hold", HOLD_LEASE_S)
    ice, grave = reply_of(frozen), reply_of(killed)
    assert len(ice["held"]) == len(grave["held"]) == 7
    frozen.send_signal(signal.SIGSTOP)
    killed.send_signal(signal.SIGKILL)

    workers = [start(direct, "drain", DRAIN_LEASE_S), start(pooled, "drain", DRAIN_LEASE_S)]
    for worker in workers:
        assert reply_of(worker) == "ready"
    for worker in workers:  # at one moment, so that neither has done it all before the other begins
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.wait(WAIT_S) == 0
    assert queue.depth() == 0
    engine.dispose()
    reconciled = reconciles(postgres, name)
    assert sorted((store, user) for store, user, _, _ in reconciled) == sorted(requests)
    assert len({owner for _, _, owner, _ in reconciled}) == 2
    for held in (ice, grave):  # never two together: not before the lease had run out
        assert all(at.timestamp() >= held["until"] - 0.5 for _, user, _, at in reconciled if user in held["held"])

    frozen.send_signal(signal.SIGCONT)
    late, _ = frozen.communicate("\n", timeout=WAIT_S)
    assert json.loads(late) == {"refused": ice["held"], "outcomes": ["lost"] * 7}
    assert frozen.returncode == 0
    assert reconciles(postgres, name) == reconciled


def reconciles(postgres: servers.Server, name: str) -> list[tuple[str, str, str, datetime]]:
    with postgres.connect(name) as connection, connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return cursor.execute("SELECT store, name, owner, at FROM reconciles ORDER BY at, name").fetchall()
