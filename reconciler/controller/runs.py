"""Records a run in the state, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from reconciler.core.model.run import NewRun, RunCounts, RunEnd
from reconciler.errors import ReconcilerError, StateError
from reconciler.ports import Clock, RunRepository


@dataclass(slots=True)
class RunRecord:
    """A run in progress: its id, and what is recorded at its end."""

    id: int
    counts: RunCounts = field(default_factory=RunCounts)
    outcome: RunEnd = "done"
    message: str = ""


@contextmanager
def record_run(book: RunRepository, run: NewRun, clock: Clock) -> Iterator[RunRecord]:
    """Record the run around this block. Without an end, as after a kill, it counts as interrupted. StateError.

    A state that can't be written at the end takes nothing from the result: what was done is recorded already.
    """
    record = RunRecord(book.begin_run(run, at=clock.now()))
    ended: RunEnd = "failed"
    try:
        yield record
        ended = record.outcome
    except ReconcilerError as error:
        record.message = record.message or error.message
        raise
    except KeyboardInterrupt:
        ended = "stopped"
        raise
    finally:
        with suppress(StateError):
            book.end_run(record.id, at=clock.now(), outcome=ended, counts=record.counts, message=record.message)
