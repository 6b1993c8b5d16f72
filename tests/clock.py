"""Clocks for tests and benchmarks with processes, databases and servers that live in real time."""

import threading
import time
from datetime import UTC, datetime, timedelta


class WallClock:
    """ports.Clock, without all the components that wiring builds."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the tests' one clock


class WorkClock:
    """ports.Clock of the thread that makes it: advances while that computes, and by what it sleeps, which takes no time.

    It stops while the thread waits for a core, a disk or an answer, so that other work on the machine moves it little.
    """

    def __init__(self) -> None:
        self._began = WallClock().now()
        self._cpu = time.pthread_getcpuclockid(threading.get_ident())
        self._offset_s = -time.clock_gettime(self._cpu)

    def now(self) -> datetime:
        return self._began + timedelta(seconds=time.clock_gettime(self._cpu) + self._offset_s)

    def sleep(self, seconds: float) -> None:
        self._offset_s += seconds
