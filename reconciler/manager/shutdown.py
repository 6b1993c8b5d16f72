"""The end of the process within so many seconds of SIGTERM, whatever hangs: a shop, a database, a lock, a log's reader.

The steps that end a replica are each bounded; this is what holds when a bound does not. Everything may be done twice,
so a process that is cut off owes nothing: its leases run out, and others go on.
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

END_S: Final = 18.0  # Kubernetes kills after 30, docker after 10 unless it is told otherwise
LAST_WORDS_S: Final = 0.5
ENDINGS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_log = structlog.get_logger(__name__)


class Deadline:
    """From SIGTERM or SIGINT on the process has `seconds`; then it exits with code 0. Made in the main thread.

    Python calls a handler only once the main thread is back from C, where it may wait for a database for long. The
    wake-up descriptor is written when the signal arrives.
    """

    def __init__(self, seconds: float = END_S) -> None:
        self._seconds = seconds
        self._near, self._far = socket.socketpair()
        self._far.setblocking(False)  # noqa: FBT003  socket's own
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)

    def __enter__(self) -> Self:
        self._before = signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """The end was reached in time. Threads that hang in a call would keep the interpreter: leave without them."""
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
        if not self._closed.wait(self._seconds):
            leave(self.hanging(0.0))

    def hanging(self, within_s: float = LAST_WORDS_S) -> list[str]:
        """The names of the threads that have not ended by then, but for this one and the main one."""
        own = {self._thread, threading.main_thread(), threading.current_thread()}
        until = time.monotonic() + within_s
        others = [thread for thread in threading.enumerate() if thread not in own]
        for thread in others:
            thread.join(left_s(until))
        return sorted(thread.name for thread in others if thread.is_alive())


def leave(left: list[str]) -> NoReturn:
    """End the process now, with code 0 and a word on what is left behind, if that can be written."""
    ended_within(LAST_WORDS_S, lambda: _log.warning("threads_abandoned", threads=left), "last-words")
    os._exit(0)


def ended_within(seconds: float, step: Callable[[], object], name: str) -> bool:
    """Whether this step of the end came to its end in time; else it goes on in its thread, which nobody waits for."""
    thread = threading.Thread(target=step, name=name, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    return not thread.is_alive()


def left_s(until: float) -> float:
    """Seconds until this moment (monotonic), at least 0."""
    return max(0.0, until - time.monotonic())
