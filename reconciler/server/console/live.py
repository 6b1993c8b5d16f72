"""What the overview shows, read again for those who look at it: however many ask, it is read once in a while."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from reconciler.core.model.event import Event
from reconciler.core.model.frozen import frozen
from reconciler.core.model.run import NOTABLE_KINDS, Run
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.rollout import RolloutReport
from reconciler.core.report.status import StatusRow
from reconciler.ports import Clock
from reconciler.server.service import Service

KEPT_FOR: Final = timedelta(seconds=3)


@frozen
class Overview:
    """One reading of all that the overview shows."""

    at: datetime
    rows: Sequence[StatusRow]
    samples: Sequence[ParitySample]
    reasons: Sequence[str]
    config_problem: str | None
    rollout: RolloutReport | None
    runs: Sequence[Run]
    events: Sequence[Event]

    def tag(self, now: datetime, *about: Collection[str]) -> str:
        """The entity tag of a page of this reading: another one where something changed, and each minute, since the page
        says how long ago things were. `about`: what else the page depends on.
        """
        last = (len(self.samples), self.samples[-1].at) if self.samples else None
        seen = (self.rows, last, self.reasons, self.config_problem, self.rollout, self.runs, self.events)
        text = repr((seen, f"{now:%Y-%m-%d %H:%M}", about)).encode("utf-8", "surrogatepass")
        return f'"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'


class OverviewReader:
    """Reads the overview. Thread-safe."""

    def __init__(self, service: Service, clock: Clock, *, days: int, charted_max: int, runs: int, events: int) -> None:
        self._service, self._clock = service, clock
        self._days, self._charted_max, self._runs, self._events = timedelta(days=days), charted_max, runs, events
        self._reading = threading.Lock()
        self._last: Overview | None = None

    def read(self) -> Overview:
        """Read it now."""
        now = self._clock.now()
        rows = sorted(self._service.status_rows(), key=_urgency)
        charted = [row.store for row in rows[: self._charted_max]]
        found = self._last = Overview(
            at=now,
            rows=rows,
            samples=self._service.parity_lines(charted, since=now - self._days),
            reasons=self._service.readiness(),
            config_problem=self._service.config_problem(),
            rollout=self._service.rollout(),
            runs=self._service.runs(kinds=NOTABLE_KINDS, limit=self._runs),
            events=self._service.recent_events(limit=self._events),
        )
        return found

    def recent(self) -> Overview:
        """Return the last reading if it is at most KEPT_FOR old, or if another thread reads; else read it now."""
        last = self._last
        if last is not None and abs(self._clock.now() - last.at) <= KEPT_FOR:
            return last
        if not self._reading.acquire(blocking=last is None):
            assert last is not None
            return last
        try:
            return self.read() if self._last is last else self.recent()
        finally:
            self._reading.release()


def _urgency(row: StatusRow) -> tuple[bool, bool, float, str]:
    """Stores that can't work come first, then those that fail, then by parity."""
    return row.suspended is None, row.failing is None, row.parity, row.store
