"""The database's time: one clock for all replicas that share a state, so that a lease is as long for one as for another.

Asked now and then, and carried on by the local clock in between: a call costs nothing. Where a clock jumps in between,
leases may end early or late by as much until the next asking; fencing numbers keep writes safe meanwhile.
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
AGAIN_S = 2.0  # after an asking that failed

_ASK = text("SELECT clock_timestamp() AS at").columns(at=UtcDateTime())


class DatabaseClock:
    """ports.Clock by the database's time; the local one where SQLite serves one process.

    StateError while it has never said it; later on an outage is bridged by what was measured before.
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
                self._ask_if_it_answers(local)
                local = self._local.now()
            return local + self._ahead

    def ahead_s(self) -> float:
        """How far the database's clock is ahead of ours, in seconds, as last measured: for `doctor`."""
        self.now()
        return self._ahead.total_seconds()

    def _ask_if_it_answers(self, local: datetime) -> None:
        """An outage stops no turn that is due: what was measured before still holds, until the database answers."""
        try:
            self._ask()
        except StateError:
            if self._asked_at is None:
                raise
            self._asked_at = local - self._every + timedelta(seconds=AGAIN_S)

    def _ask(self) -> None:
        with reading(self._engine) as connection:
            before = self._local.now()
            at: datetime = connection.execute(_ASK).scalar_one()
            after = self._local.now()
        self._ahead = at - (before + (after - before) / 2)
        self._asked_at = after
