"""The database's time: one clock for all replicas that share a state, so that a lease is as long for one as for another.

The database is asked now and then; in between a steady clock of this machine counts on, so that a call costs nothing. A
wall clock that jumps changes nothing, not even while the database does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import Engine, text

from reconciler.errors import StateError
from reconciler.ports import Clock
from reconciler.state.database.engine import is_sqlite, reading
from reconciler.state.tables.mappings import UtcDateTime

EVERY_S = 60.0
AGAIN_S = 2.0  # after the database did not answer

_ASK = text("SELECT clock_timestamp() AS at").columns(at=UtcDateTime())


def steady_s() -> float:
    """Seconds that never jump; they count while the machine sleeps, where the system has such a clock."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class DatabaseClock:
    """ports.Clock by the database's time; the local one where SQLite serves one process.

    StateError until the database has answered once; a later outage is bridged by the steady clock.
    """

    def __init__(
        self, engine: Engine, local: Clock, *, every_s: float = EVERY_S, steady_s: Callable[[], float] = steady_s
    ) -> None:
        self._engine, self._local = engine, local
        self._every_s, self._steady_s = every_s, steady_s
        self._lock = Lock()
        self._ahead = timedelta()
        self._base: tuple[datetime, float] | None = None  # the database's time, and the steady clock's at that moment
        self._ask_at_s = 0.0

    def now(self) -> datetime:
        if is_sqlite(self._engine):
            return self._local.now()
        with self._lock:
            if self._base is None or self._steady_s() >= self._ask_at_s:
                self._base = self._ask(self._base)
            at, since_s = self._base
            return at + timedelta(seconds=self._steady_s() - since_s)

    def ahead_s(self) -> float:
        """How far the database's clock is ahead of ours, in seconds, as last measured: for `doctor`."""
        self.now()
        return self._ahead.total_seconds()

    def _ask(self, base: tuple[datetime, float] | None) -> tuple[datetime, float]:
        """The new base; the one before where the database does not answer."""
        try:
            with reading(self._engine) as connection:
                before_s = self._steady_s()
                at: datetime = connection.execute(_ASK).scalar_one()
                after_s = self._steady_s()
        except StateError:
            if base is None:
                raise
            self._ask_at_s = self._steady_s() + min(AGAIN_S, self._every_s)
            return base
        self._ask_at_s = after_s + self._every_s
        half_s = (after_s - before_s) / 2
        self._ahead = at + timedelta(seconds=half_s) - self._local.now()
        return at, after_s - half_s
