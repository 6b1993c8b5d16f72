"""A state that answers but can't be written, or does not answer at all: readiness says so, and webhooks come again."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from reconciler.errors import StateError
from reconciler.manager.app import Manager
from reconciler.manager.reload import SettingsFiles
from reconciler.manager.startup import is_away, open_databases
from reconciler.settings import load
from reconciler.wiring import open_components
from tests import servers
from tests.clock import WallClock
from tests.manager.harness import RunHarness, Running, run_harness, until, user_event
from tests.manager.processes import replicas
from tests.outbound.swallowing import SwallowingProxy


@contextmanager
def write_locked(harness: RunHarness) -> Iterator[None]:
    """Another program holds the file, as a backup or an open shell of sqlite3 does."""
    with closing(sqlite3.connect(harness.folder / "state.db", timeout=20, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def until_told(run: Running, why: str) -> None:
    """Wait for this reason: on a loaded machine, one answer may only say that the state took too long."""
    until(lambda: any(why in reason for reason in run.ready()), f"it is not ready: {why}")


def test_a_state_that_another_program_has_locked(harness: RunHarness) -> None:
    with harness.replica(webhook_wait_s=0.3) as run:
        run.scanned_all()
        until(lambda: run.ready() == [], "it is ready")
        with write_locked(harness):
            until_told(run, "is locked")
            assert run.clerk(data=user_event("user_a")) == 503
            assert run.client.get("/healthz").status_code == 200
        until(lambda: run.ready() == [], "it is ready again")
        harness.person("user_a")
        run.accepted(data=user_event("user_a", updated_at=WallClock().now()))
        until(lambda: run.status("user_a") == "in_sync", "work continues")


def test_the_file_of_a_state_is_removed_and_put_back(harness: RunHarness) -> None:
    """What is written to a file that no path leads to is lost with the process: it is not taken for written."""
    with harness.replica(webhook_wait_s=0.3) as run:
        run.scanned_all()
        away = harness.folder / "away"
        away.mkdir()
        for path in harness.folder.glob("state.db*"):
            path.rename(away / path.name)
        until_told(run, "removed")
        assert run.clerk(data=user_event("user_a")) == 503
        assert not (harness.folder / "state.db").exists()
        for path in away.iterdir():
            path.rename(harness.folder / path.name)
        until(lambda: run.ready() == [], "it is ready again")
        harness.person("user_a")
        run.accepted(data=user_event("user_a", updated_at=WallClock().now()))
        until(lambda: run.status("user_a") == "in_sync", "work continues")


@pytest.mark.slow
def test_a_disk_that_is_full(harness: RunHarness) -> None:
    with replicas(harness) as start:
        process = start()
        process.started()
        until(process.ready, "it is ready")
        log = harness.folder / "state.db-wal"
        limit = max(log.stat().st_size, (harness.folder / "state.db").stat().st_size)
        resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        harness.person("user_a")
        until(lambda: process.clerk("user.updated", user_event("user_a"), harness.new_id()) == 503, "nothing is kept")
        until(lambda: not process.ready(), "it is not ready")
        assert any("disk" in reason for reason in process.reasons())
        resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(process.ready, "it is ready again")
        process.accepted("user.updated", user_event("user_a"), harness.new_id())
        until(lambda: harness.emails() == ["user_a@example.com"], "work continues")


@pytest.fixture
def of_postgres(
    tmp_path_factory: pytest.TempPathFactory, postgres: servers.Server, postgres_database: Callable[..., str]
) -> Iterator[RunHarness]:
    name = postgres_database(migrated=True)
    with run_harness(tmp_path_factory.mktemp("shops"), state_url=postgres.url(name)) as found:
        yield found


def test_a_postgres_that_is_frozen_is_a_reason_before_the_call_to_it_ends(
    of_postgres: RunHarness, postgres: servers.Server
) -> None:
    with of_postgres.replica() as run:
        run.scanned_all()
        until(lambda: run.ready() == [], "it is ready")
        with postgres.frozen():
            until_told(run, "has not answered")
            assert run.client.get("/healthz").status_code == 200
        until(lambda: run.ready() == [], "it is ready again")


def test_a_postgres_that_is_silent_lets_webhooks_be_sent_again_in_two_seconds(
    of_postgres: RunHarness, postgres: servers.Server
) -> None:
    of_postgres.person("user_a")
    with of_postgres.replica() as run:
        run.scanned_all()
        updated = "customers/update", {"admin_graphql_api_id": of_postgres.customers()["user_a@example.com"]["id"]}
        with postgres.frozen():
            # The reason tells who ended the wait: the clock here also counts what a loaded machine takes to answer.
            for answer in run.clerk_response("user.created", user_event("user_b")), run.shopify(*updated):
                assert answer.status_code == 503
                assert answer.json()["error"] == "the state did not answer within 2 s"
        of_postgres.person("user_b")
        run.accepted("user.created", user_event("user_b"))
        until(lambda: run.status("user_b") == "in_sync", "work continues")


def test_a_postgres_that_goes_while_run_starts_is_waited_for(of_postgres: RunHarness, postgres: servers.Server) -> None:
    """What the parts of `run` read from the state is read while the start still waits for its databases."""
    of_postgres.write()
    loaded = load(*of_postgres.paths, {})
    with open_components(loaded, warn=lambda _message: None) as components:
        assert open_databases(components, tell=lambda _reason: None, wait=lambda _seconds: True)
        with postgres.away():
            manager = Manager(components, SettingsFiles(of_postgres.paths, lambda: loaded), port=0)
            with pytest.raises(StateError) as lost:
                manager.start()
            assert is_away(lost.value)
            manager.close()


def test_a_postgres_that_takes_no_writes(of_postgres: RunHarness, postgres: servers.Server) -> None:
    database = of_postgres.state_url.rpartition("/")[2]
    with of_postgres.replica() as run:
        run.scanned_all()
        until(lambda: run.ready() == [], "it is ready")
        only_reads = f'ALTER DATABASE "{database}" SET default_transaction_read_only = '
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        with postgres.connect() as admin:
            admin.execute(f"{only_reads}on".encode())
            admin.execute(ended, (database,))
            until_told(run, "read-only")
            admin.execute(f"{only_reads}off".encode())
            admin.execute(ended, (database,))
            until(lambda: run.ready() == [], "it is ready again")


@pytest.mark.explore
def test_a_postgres_that_vanished_behind_a_pooler_is_reached_by_new_connections_within_a_minute(
    tmp_path_factory: pytest.TempPathFactory, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    url = postgres.url(postgres_database(migrated=True), port=(proxy := SwallowingProxy(postgres.port)).port)
    shops = run_harness(tmp_path_factory.mktemp("shops"), state_url=url)
    with closing(proxy), shops as harness, harness.replica() as run:
        run.scanned_all()
        until(lambda: run.ready() == [], "it is ready")
        proxy.swallow()
        began = time.monotonic()
        harness.person("user_a")
        assert run.ready() != []
        assert run.client.get("/healthz").status_code == 200
        run.accepted("user.created", user_event("user_a"))
        until(lambda: harness.emails() == ["user_a@example.com"], "the customer is there", within_s=120)
        until(lambda: run.ready() == [], "it is ready again")
        assert time.monotonic() - began < 60
