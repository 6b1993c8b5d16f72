"""The database's time: one clock for all replicas that share a state, so leases have the same length for all.

The offset is measured every few seconds and added to the local clock in between, so a call costs nothing. If a clock
jumps in between, leases may end early or late until the next measurement; fencing tokens keep writes safe meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import Engine, text

from reconciler.errors import StateError
from reconciler.ports import Clock
from reconciler.state.database.engine import is_sqlite, reading
from reconciler.state.tables.mappings import UtcDateTime

EVERY_S = 60.0
AGAIN_S = 2.0  # until the next measurement, after one that failed

_ASK = text("SELECT clock_timestamp() AS at").columns(at=UtcDateTime())


class DatabaseClock:
    """`ports.Clock` with the database's time. With SQLite, which serves one process, the local time.

    Raises StateError until the first measurement succeeds. Later outages use the last measured offset.
    """

    def __init__(self, engine: Engine, local: Clock, *, every_s: float = EVERY_S) -> None:
        self._engine = engine
        self._local = local
        self._every = timedelta(seconds=every_s)
        self._lock = Lock()
        self._ahead = timedelta()
        self._asked_at: datetime | None = None

    def now(self) -> datetime:
        if is_sqlite(self._engine):
            return self._local.now()
        with self._lock:
            local = self._local.now()
            if self._asked_at is None or abs(local - self._asked_at) >= self._every:
                self._try_measure(local)
                local = self._local.now()
            return local + self._ahead

    def ahead_s(self) -> float:
        """Return how many seconds the database's clock was ahead of ours at the last measurement, for `doctor`."""
        self.now()
        return self._ahead.total_seconds()

    def _try_measure(self, local: datetime) -> None:
        """Measure the offset; if the database does not answer, keep the last one so that scheduled work continues."""
        try:
            self._measure()
        except StateError:
            if self._asked_at is None:
                raise
            self._asked_at = local - self._every + timedelta(seconds=AGAIN_S)

    def _measure(self) -> None:
        with reading(self._engine) as connection:
            before = self._local.now()
            at: datetime = connection.execute(_ASK).scalar_one()
            after = self._local.now()
        self._ahead = at - (before + (after - before) / 2)
        self._asked_at = after
