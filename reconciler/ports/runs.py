"""The state's records of runs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import NewRun, Run, RunCounts, RunEnd, RunKind


class RunRepository(Protocol):
    """Reads and records runs: one short statement at the beginning, and one at the end."""

    def runs(
        self,
        *,
        now: datetime,
        store: StoreName | None = None,
        kinds: Collection[RunKind] = (),
        before: int | None = None,
        limit: int,
    ) -> list[Run]:
        """The newest runs, newest first: of this store, of these kinds or any, and begun before the run with this id."""

    def find_run(self, number: int, *, now: datetime) -> Run | None:
        """The run with this id."""

    def begin_run(self, run: NewRun, *, at: datetime) -> int:
        """Record a run that begins; return its id, to which its events point."""

    def end_run(self, number: int, *, at: datetime, outcome: RunEnd, counts: RunCounts, message: str = "") -> None:
        """Record how the run ended. One that was deleted meanwhile stays deleted."""
