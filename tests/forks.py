"""Commands in processes of their own that cost little: forks of a process that has imported the program and nothing more.

A new interpreter spends a second of CPU on imports. What is tested of a process (signals, kills, locks, exit codes, its log)
is the same in a fork. `tests/scenarios/test_run_process.py` starts the command as it is installed.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import Engine, event

from reconciler.cli.main import COLLECT_EVERY, run
from tests.program import intervals_of, program

ROOT = Path(__file__).parents[1]
READ_BEFORE = (
    "reconciler.cli.commands.run", "reconciler.cli.commands.sync.apply", "reconciler.manager.app", "reconciler.server.app",
    "reconciler.state.schema", "reconciler.supabase.reading.profiles", "reconciler.shopify.api.client", "uvicorn",
    "tests.forks",
)  # fmt: skip


@cache
def forks() -> ForkServerContext:
    """What starts them. Its process ends with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(READ_BEFORE))
    return context


@dataclass(frozen=True, slots=True)
class Fork:
    """A process as `subprocess.Popen` shows one. `err` is what it writes to stderr; its stdout goes nowhere."""

    process: ForkServerProcess
    err: TextIO

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(self.process.name, timeout)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork_command(words: Sequence[str], intervals: Mapping[str, Any] | None = None) -> Fork:
    """Start `reconciler` with these words, with the pauses of production or with `intervals` in their place.

    `freeze_after` among the intervals: words of a statement. After the first one that has them the process stops itself
    (SIGSTOP), inside the transaction of that statement.
    """
    ours, theirs = forks().Pipe(duplex=False)
    environment = dict(os.environ)  # noqa: TID251  a child's
    process = forks().Process(target=_serve, args=(list(words), intervals, environment, theirs))
    process.start()
    theirs.close()
    err = open(os.dup(ours.fileno()), encoding="utf-8")  # noqa: PTH123, SIM115  a descriptor, which the caller closes
    ours.close()
    return Fork(process, err)


def _serve(
    words: list[str], intervals: Mapping[str, Any] | None, environment: Mapping[str, str], err: Connection
) -> None:
    os.environ.clear()  # noqa: TID251  the one of the server is older
    os.environ.update(environment)  # noqa: TID251  as above
    os.chdir(ROOT)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for theirs, ours in ((nowhere, 0), (nowhere, 1), (err.fileno(), 2)):
        os.dup2(theirs, ours)
    err.close()
    gc.set_threshold(COLLECT_EVERY)
    given = dict(intervals or {})
    if statement := given.pop("freeze_after", ""):
        freeze_after(statement)
    sys.exit(run(words, group=program(intervals=intervals_of(given) if given else None)))


def freeze_after(words: str) -> None:
    """Stop this process inside the transaction of the first statement that has these words.

    The signal goes to the thread of the statement. By `os.kill` another thread may take it, which stops this one only when
    it gets a processor, and the transaction may be committed by then.
    """
    left = [words]

    @event.listens_for(Engine, "after_cursor_execute")
    def freeze(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if left and left[0] in statement:
            left.clear()
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
