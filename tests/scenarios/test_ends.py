"""How `reconciler run` ends when something hangs: by SIGTERM, with code 0, in under 20 seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests import servers
from tests.manager.harness import HELD_S, RunHarness, run_harness, until, user_event
from tests.manager.processes import Process, begin

END_S = 20.0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def the_command(harness: RunHarness, stack: ExitStack) -> Process:
    """The command with the pauses that it has in production."""
    harness.write()
    files = ["--config", str(harness.paths[0]), "--stores", str(harness.paths[1])]
    process = begin([*files, "run", "--port", "0"], stack)
    process.started()
    return process


def ends_in_time(process: Process) -> None:
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.ended() == 0
    assert time.monotonic() - began < END_S
    assert {line[0] for line in process.lines} == {"{"}, "".join(process.lines)


def test_shops_that_never_answer(tmp_path: Path, stack: ExitStack) -> None:
    names = [f"shop-{n}" for n in range(60)]
    with run_harness(tmp_path, *names) as harness:
        harness.person("user_a")
        process = the_command(harness, stack)
        slow = [harness.shop(name).faults.add("slow", seconds=HELD_S, times=None) for name in names]
        process.accepted("user.created", user_event("user_a"), "msg_1")
        until(lambda: sum(fault.hits for fault in slow) >= 8, "the workers are held")
        ends_in_time(process)
        for name in names:
            harness.shop(name).faults.clear()


@pytest.fixture
def database(postgres: servers.Server, postgres_database: Callable[..., str]) -> str:
    return postgres_database(migrated=True)


def test_a_database_that_is_frozen(tmp_path: Path, stack: ExitStack, postgres: servers.Server, database: str) -> None:
    with run_harness(tmp_path, state_url=postgres.url(database)) as harness:
        process = the_command(harness, stack)
        until(lambda: process.said("scan_finished"), "the look at the start is over")
        with postgres.frozen():
            ends_in_time(process)


def test_a_profiles_table_that_is_locked(
    tmp_path: Path, stack: ExitStack, postgres: servers.Server, database: str
) -> None:
    with run_harness(tmp_path) as harness, postgres.connect(database) as app:
        app.execute("CREATE TABLE customers (clerk_user_id text primary key, email text, email_verified bool)")
        harness.settings["profiles"] = {
            "url": postgres.url(database), "table": "public.customers",
            "columns": {name: name for name in ("clerk_user_id", "email", "email_verified")},
        }  # fmt: skip
        process = the_command(harness, stack)
        until(lambda: process.said("scan_finished"), "the look at the start is over")
        app.execute("BEGIN")
        app.execute("LOCK TABLE customers")
        for n in range(8):
            process.accepted("user.updated", user_event(f"user_{n}"), f"msg_{n}")
        ends_in_time(process)


def test_a_reader_of_the_log_that_hangs(tmp_path: Path, stack: ExitStack) -> None:
    """The pipe of stderr is full: what logs waits for ever."""
    near, far = os.pipe()
    stack.callback(os.close, near)
    with run_harness(tmp_path) as harness:
        harness.write()
        command = [str(Path(sys.executable).with_name("reconciler")), "--config", str(harness.paths[0])]
        command += ["--stores", str(harness.paths[1]), "run", "--port", "0"]
        with (
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=far) as process,
            ExitStack() as inner,
        ):
            inner.callback(process.kill)
            with open(near, closefd=False) as log:
                next(line for line in log if '"started"' in line)
            fill(far)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert time.monotonic() - began < END_S
    os.close(far)


def fill(pipe: int) -> None:
    """Write into this pipe until it takes no more."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x")
    os.set_blocking(pipe, True)
