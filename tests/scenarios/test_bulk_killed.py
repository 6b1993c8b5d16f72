"""`apply --bulk always` is killed: the next one waits for nothing, and `run` serves its users meanwhile."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from structlog.testing import capture_logs

from reconciler.core.model.ids import ShopDomain
from tests.forks import Fork, fork_command
from tests.manager.harness import US, RunHarness, Running, run_harness, until

PEOPLE = 20
SHOP = ShopDomain(f"{US}.myshopify.com")
NEVER = 1e-9  # rows a second
LEASED = "select count(*) from reconciler_lease where name like 'bulk %' and owner <> ''"


@contextmanager
def begun(harness: RunHarness) -> Iterator[Fork]:
    """An `apply` that runs; it is killed at the end, also where it is frozen."""
    harness.write()
    files = ["--config", str(harness.paths[0]), "--stores", str(harness.paths[1])]
    process = fork_command([*files, "apply", "--yes", "--bulk", "always"])
    with process.err:
        try:
            yield process
        finally:
            process.kill()
            process.wait(60)


def is_leased(harness: RunHarness) -> bool:
    with closing(sqlite3.connect(harness.folder / "state.db", timeout=60)) as state:
        return bool(state.execute(LEASED).fetchone()[0])


def is_frozen(process: Fork, harness: RunHarness) -> bool:
    """Stop it where it is; False where it holds the state's file just then."""
    process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it has stopped")
    with closing(sqlite3.connect(harness.folder / "state.db", timeout=1)) as state:
        try:
            state.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            return False
        state.rollback()
    return True


def test_who_comes_after_a_killed_apply_waits_for_nothing(tmp_path: Path) -> None:
    with run_harness(tmp_path) as harness:
        for n in range(PEOPLE):
            harness.person(f"user_{n}")
        harness.shop().shop.bulk_rows_per_s = 0.01  # in progress for as long as it takes to freeze it
        with begun(harness) as killed:
            until(lambda: is_leased(harness), "bulk operations are in progress")
            until(lambda: is_frozen(killed, harness), "it is frozen outside of a transaction")
            harness.shop().shop.bulk_rows_per_s = None
            with begun(harness) as waiting:
                told = next(line for line in waiting.err if "another process" in line)
                assert f"(process {killed.pid} on this machine)" in told
                killed.kill()
                began = time.monotonic()
                assert waiting.wait(60) == 0
                assert time.monotonic() - began < 30.0
        assert len(harness.emails()) == PEOPLE
        with begun(harness) as again:
            assert again.wait(60) == 0
        assert len(harness.emails()) == PEOPLE


def killed_while_an_operation_runs(harness: RunHarness) -> None:
    """An `apply` that sent every user's first name, and ended before a line of it had run."""
    for n in range(PEOPLE):
        harness.person(f"user_{n}", first_name="Old")
    harness.shop().shop.bulk_rows_per_s = NEVER
    with begun(harness) as killed:
        until(lambda: is_running(harness), "an operation runs")
        killed.kill()


def is_running(harness: RunHarness) -> bool:
    with closing(sqlite3.connect(harness.folder / "state.db", timeout=60)) as state:
        tables = "select count(*) from sqlite_master where name = 'reconciler_bulk_file'"
        running = "select count(*) from reconciler_bulk_file where operation is not null"
        return bool(state.execute(tables).fetchone()[0] and state.execute(running).fetchone()[0])


def first_name(harness: RunHarness, user: str) -> str | None:
    shown: str | None = harness.customers().get(f"{user}@example.com", {}).get("firstName")
    return shown


def renamed_by_run(harness: RunHarness, run: Running) -> None:
    run.scanned_all()
    assert len(harness.emails()) == PEOPLE, "run makes one by one the users of a bulk write under way"
    harness.person("user_3", first_name="New")
    run.nudge("user_3")
    until(lambda: first_name(harness, "user_3") == "New", "the nudge is served")


def test_run_serves_the_users_of_a_killed_apply_and_the_next_apply_continues_its_operations(tmp_path: Path) -> None:
    with run_harness(tmp_path) as harness:
        killed_while_an_operation_runs(harness)
        with capture_logs() as logs, harness.replica() as run:
            renamed_by_run(harness, run)
        told = [(log["store"], log["hint"]) for log in logs if log["event"] == "bulk_abandoned"]
        assert told == [(US, f"reconciler apply --store {US} --bulk auto resumes its bulk operations")]
        harness.shop().shop.bulk_rows_per_s = None  # the operation runs only now, with the old name
        with begun(harness) as following:
            assert following.wait(60) == 0
        assert first_name(harness, "user_3") == "New"
        assert len(harness.emails()) == PEOPLE
        before = harness.mutations()
        with begun(harness) as again:
            assert again.wait(60) == 0
        assert harness.mutations() == before


def test_what_an_operation_of_a_killed_apply_writes_late_is_put_right_by_the_next_full_scan(tmp_path: Path) -> None:
    with run_harness(tmp_path) as harness:
        killed_while_an_operation_runs(harness)
        with harness.replica() as run:
            renamed_by_run(harness, run)
            harness.shop().shop.bulk_rows_per_s = None
            file = run.components.state.bulk.bulk_files(SHOP)[0]
            shop = run.components.bulk(run.components.stores()[0]).shop

            def has_ended() -> bool:
                found = shop.operation_state(str(file.operation))
                return found is not None and found.status == "completed"

            until(has_ended, "the operation has ended")
            assert first_name(harness, "user_3") == "Old"
        with harness.replica() as run:
            run.scanned_all()
            assert first_name(harness, "user_3") == "New"
            assert len(harness.emails()) == PEOPLE
        before = harness.mutations()
        with harness.replica() as run:
            run.scanned_all()
        assert harness.mutations() == before
