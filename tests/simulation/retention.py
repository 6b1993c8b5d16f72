"""What only long times show: rows that should have been deleted, and times of the state that have drifted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Table, and_, exists, func, or_, select

from reconciler.state.database.engine import reading
from reconciler.state.operations.acts import ActRow
from reconciler.state.operations.parity import ParityRow
from reconciler.state.operations.runs import RunRow
from reconciler.state.processes.leases import BudgetRow, LeaseRow
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.scans import FindingRow, ScanRow
from tests.chaos.checker import Violation
from tests.simulation.sizes import Rhythm

EVENTS_KEPT, RESYNCS_KEPT, PARITY_KEPT = timedelta(days=180), timedelta(days=7), timedelta(days=30)
LEASES_LAST = timedelta(minutes=10)
LATE = timedelta(minutes=5)
RESYNCS = 4
"""An incremental resync has finished within so many intervals."""


def left_over(engine: Engine, now: datetime, rhythm: Rhythm) -> list[Violation]:
    """What is in the state after the calm and should not be. `now`: the true time."""
    late = timedelta(seconds=2 * rhythm.tidy_s)
    run, event, act, parity, lease = (_table(row) for row in (RunRow, EventRow, ActRow, ParityRow, LeaseRow))
    mapping, scan, budget = (_table(row) for row in (MappingRow, ScanRow, BudgetRow))
    finding = _table(FindingRow)
    of_it = (scan.c.shopify_shop == finding.c.shopify_shop, scan.c.kind == finding.c.kind)
    finished = (*of_it, scan.c.finished_at.is_not(None))
    behind = now - timedelta(seconds=RESYNCS * rhythm.resync_s)
    rows: tuple[tuple[Table, str, ColumnElement[bool]], ...] = (
        (run, "runs of resyncs", and_(run.c.kind == "resync", run.c.began_at < now - RESYNCS_KEPT - late)),
        (run, "runs", run.c.began_at < now - EVENTS_KEPT - late),
        (run, "runs of days to come", run.c.began_at > now + LATE),
        (event, "events", event.c.at < now - EVENTS_KEPT - late),
        (act, "acts", act.c.at < now - EVENTS_KEPT - late),
        (parity, "samples of parity", parity.c.at < now - PARITY_KEPT - late),
        (lease, "leases beyond their time", and_(lease.c.owner != "", lease.c.until > now + LEASES_LAST + LATE)),
        (mapping, "acceptances", mapping.c.accepted_until <= now - LATE - timedelta(seconds=rhythm.intervals.acceptances_s)),
        (mapping, "intents of users in sync", and_(mapping.c.status == "in_sync", mapping.c.intent.is_not(None))),
        (mapping, "absences of users in sync", and_(mapping.c.status == "in_sync", mapping.c.absent_since.is_not(None))),
        (scan, "cursors in the future", or_(scan.c.watermark > now + LATE, scan.c.started_at > now + LATE)),
        (scan, "cursors that lag", and_(scan.c.kind == "changes", scan.c.watermark < behind)),
        (budget, "budgets of hours to come", budget.c.hour > now + timedelta(hours=1)),
        (finding, "findings of scans that have finished", exists(select(scan.c.kind).where(*finished))),
    )  # fmt: skip
    return [Violation("not settled", "state", said) for said in _said(engine, rows)]


def _said(engine: Engine, rows: tuple[tuple[Table, str, ColumnElement[bool]], ...]) -> Iterator[str]:
    with reading(engine) as connection:
        for table, what, condition in rows:
            count = connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
            if count:
                yield f"{count} {what}"


def _table(row: Any) -> Table:
    table: Table = row.__table__
    return table
