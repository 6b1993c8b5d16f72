"""Whether a holder's process is provably gone, and what of it may be taken immediately."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Request
from reconciler.ports import Holder
from reconciler.state.database.holder import is_gone, new_holder, where
from reconciler.state.requests.queue import RequestTable
from tests.state_store import StateStore

AT = datetime(2026, 11, 29, 9, tzinfo=UTC)
NAME = "bulk acme"


@contextmanager
def another_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One that lives until it is killed, and its name as a holder."""
    program = (
        "import time; from reconciler.state.database.holder import new_holder; "
        "print(new_holder(), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_process_is_gone_when_it_has_ended_and_not_while_it_is_frozen() -> None:
    with another_process() as (process, holder):
        assert not is_gone(holder)
        assert where(holder) == f"process {process.pid} on this machine"
        process.send_signal(signal.SIGSTOP)
        assert not is_gone(holder)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its parent has not looked yet
        assert is_gone(holder)
        process.wait()
        assert is_gone(holder)


def test_of_another_machine_or_an_older_program_nothing_is_proven() -> None:
    mine = new_holder()
    machine, pid, began, number = mine.split(".")
    assert not is_gone(mine)
    assert is_gone(f"{machine}.{pid}.{int(began) - 1}.{number}")  # the number was given to another process since
    for unknown in ("", "a1b2c3", f"elsewhere.{pid}.1.{number}", f"{machine}.x.1.{number}", f"{machine}.1.2"):
        assert not is_gone(unknown)
        assert where(unknown) == "elsewhere"


def test_the_lease_of_a_killed_process_is_taken_immediately_and_of_a_living_one_when_it_runs_out(
    engine: Engine,
) -> None:
    state = StateStore(engine)
    mine = state.new_holder()
    with another_process() as (process, holder):
        assert state.acquire(NAME, holder, ttl_s=60, now=AT) == 1
        assert state.acquire(NAME, mine, ttl_s=60, now=AT) is None
        assert state.holder(NAME, now=AT) == Holder(f"process {process.pid} on this machine", 60)
        process.kill()
        process.wait()
        assert state.acquire(NAME, mine, ttl_s=60, now=AT) == 2
        assert not state.renew(NAME, holder, 1, ttl_s=60, now=AT)
        assert state.acquire(NAME, "of.another.machine.1", ttl_s=60, now=AT) is None
        assert state.acquire(NAME, "of.another.machine.1", ttl_s=60, now=AT + timedelta(seconds=60)) == 3
    assert state.holder("no lease of this name", now=AT) is None


@pytest.mark.parametrize("killed", [True, False])
def test_requests_of_a_killed_process_are_taken_back_and_of_a_living_one_are_not(
    engine: Engine, *, killed: bool
) -> None:
    queue = RequestTable(engine)
    store = StoreName("acme")
    queue.add([Request(store, ClerkUserId("user_a"))], AT, reason="clerk")
    with another_process() as (process, holder):
        assert len(queue.claim(holder, AT, limit=1, lease_s=30, stores={store: 1})) == 1
        if killed:
            process.kill()
            process.wait()
        assert queue.take_back(AT) == killed
        assert len(queue.claim("me", AT, limit=1, lease_s=30, stores={store: 1})) == killed
