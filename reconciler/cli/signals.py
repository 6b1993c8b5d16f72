"""The signals of `run`, taken before its modules are imported: an early one ends it with code 0 as a later one does."""

from __future__ import annotations

import signal
import time
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from reconciler.manager.app import Manager


class Signals:
    """Signal handlers: SIGTERM and SIGINT stop, SIGHUP reloads the files. A stop before `attach` is kept."""

    def __init__(self) -> None:
        self.is_ending = False
        # A SimpleQueue, as its `put` is reentrant: an Event that is set in a signal handler can deadlock.
        self._received: SimpleQueue[None] = SimpleQueue()
        self._manager: Manager | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._reload)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def attach(self, manager: Manager) -> None:
        self._manager = manager
        if self.is_ending:
            manager.stop()

    def wait(self, seconds: float) -> bool:
        """Wait for this time or until a signal stops the command; returns whether one did."""
        until = time.monotonic() + seconds
        while not self.is_ending and (left := until - time.monotonic()) > 0:
            try:
                self._received.get(timeout=left)
            except Empty:
                break
        return self.is_ending

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.is_ending = True
        self._received.put(None)
        if self._manager is not None:
            self._manager.stop()

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        if self._manager is not None:
            self._manager.reload_soon()
