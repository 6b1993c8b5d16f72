"""Threads that never delay the end of the process: a hanging shop must not outlive SIGTERM.

Python waits at exit for the threads of concurrent.futures, however long they hang.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from apscheduler.executors.pool import BasePoolExecutor

Call = tuple["Future[Any]", Callable[[], Any]]


class DaemonPool:
    """A fixed number of daemon threads, each with one call at a time. Calls must not raise; APScheduler catches errors."""

    def __init__(self, size: int, name: str) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run the call in one of the threads as soon as one is free."""
        future: Future[Any] = Future()
        self._calls.put((future, lambda: call(*args)))
        return future

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002  as concurrent.futures has it
        """Begin nothing more; with `wait`, wait for running calls."""
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            self.join(float("inf"))

    def join(self, until: float) -> bool:
        """Wait for the threads until this moment (monotonic); return whether all have ended."""
        for thread in self._threads:
            left = until - time.monotonic()
            thread.join(None if left == float("inf") else max(0.0, left))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            future.set_running_or_notify_cancel()
            future.set_result(call())
            del item, future, call


class DaemonExecutor(BasePoolExecutor):  # type: ignore[misc]  # APScheduler has no types
    """APScheduler's executor on daemon threads."""

    def __init__(self, size: int, name: str) -> None:
        self.pool = DaemonPool(size, name)
        super().__init__(self.pool)
