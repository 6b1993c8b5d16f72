"""End the process within a limit after SIGTERM, whatever hangs: a shop, a database, a lock, a reader of the log.

Each step of a replica's end is bounded; this applies when a bound fails. Everything may be done twice, so a killed process
leaves nothing unfinished: its leases expire, and other replicas continue.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, NoReturn, Self

import structlog

END_S: Final = 18.0  # Kubernetes kills after 30, docker after 10 by default
LAST_WORDS_S: Final = 0.5
ENDINGS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_log = structlog.get_logger(__name__)


class Deadline:
    """After SIGTERM or SIGINT the process has END_S; then it exits with code 0. Create it in the main thread.

    Python calls a handler only once the main thread returns from C code, where it may wait long for a database. So a thread
    reads the wake-up descriptor, which is written when the signal arrives.
    """

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._far.setblocking(False)  # noqa: FBT003  socket's own
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)
        self._earlier = frozenset(threading.enumerate())  # not ours, such as those of `demo --serve`

    def __enter__(self) -> Self:
        self._before = signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Exit the process if threads hang in a call: they would keep the interpreter alive."""
        signal.set_wakeup_fd(self._before)
        self._closed.set()
        self._far.close()
        self._thread.join()
        self._near.close()

    def _watch(self) -> None:
        while numbers := self._near.recv(64):
            if ENDINGS & set(numbers):
                break
        else:
            return
        if not self._closed.wait(END_S):
            exit_now(self.hanging(0.0))

    def hanging(self, within_s: float = LAST_WORDS_S) -> list[str]:
        """Return the names of threads that have not ended by then, except this one and those that ran before."""
        expected = {self._thread, threading.current_thread(), *self._earlier}
        until = time.monotonic() + within_s
        others = [thread for thread in threading.enumerate() if thread not in expected]
        for thread in others:
            thread.join(left_s(until))
        return sorted(thread.name for thread in others if thread.is_alive())


def exit_now(left: list[str]) -> NoReturn:
    """Exit the process with code 0, after logging what is left behind if that can be written."""
    run_within(LAST_WORDS_S, lambda: _log.warning("threads_abandoned", threads=left), "last-words")
    os._exit(0)


def run_within(seconds: float, step: Callable[[], object], name: str) -> bool:
    """Run this step of the shutdown in a thread; return whether it ended in time. Otherwise it continues unattended."""
    thread = threading.Thread(target=step, name=name, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    return not thread.is_alive()


def left_s(until: float) -> float:
    """Return the seconds until this moment (monotonic), at least 0."""
    return max(0.0, until - time.monotonic())
