"""`RunTable`: one row for each run of a command or of a scheduled scan."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Index, Integer, String, Table, select, update

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import NewRun, Run, RunCounts, RunEnd, RunKind, RunOutcome
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.holder import is_gone
from reconciler.state.processes.controllers import ReplicaTable
from reconciler.state.tables.mappings import json_column, metadata, time_column

LOST_AFTER = timedelta(days=1)  # a command on another machine that has not ended by then counts as interrupted


# One run. `stores`: their names, each between blanks. `ended_at` and `outcome` are NULL until it ends.
run_table = Table(
    "reconciler_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("stores", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("via", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("plan_digest", String, nullable=False, default=""),
    time_column("began_at", nullable=False),
    time_column("ended_at"),
    Column("outcome", String),
    json_column("counts", nullable=True),
    Column("message", String, nullable=False, default=""),
    Index("reconciler_run_began", "began_at"),
    schema=SCHEMA,
)


class RunTable(ReplicaTable):
    """`ports.RunRepository` on SQLite or Postgres."""

    def begin_run(self, run: NewRun, *, at: datetime) -> int:
        row = {
            "kind": run.kind, "stores": f" {' '.join(run.stores)} ", "actor": run.actor.name, "via": run.actor.via,
            "owner": run.owner, "plan_digest": run.plan_digest, "began_at": at, "message": "",
        }  # fmt: skip
        with writing(self._engine) as connection:
            return int(connection.execute(run_table.insert().values(row).returning(run_table.c.id)).scalar_one())

    def end_run(self, number: int, *, at: datetime, outcome: RunEnd, counts: RunCounts, message: str = "") -> None:
        ended = {"ended_at": at, "outcome": outcome, "counts": asdict(counts), "message": message}
        with writing(self._engine) as connection:
            connection.execute(update(run_table).where(run_table.c.id == number).values(ended))

    def runs(
        self,
        *,
        now: datetime,
        store: StoreName | None = None,
        kind: RunKind | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Run]:
        query = select(run_table)
        if store is not None:
            query = query.where(run_table.c.stores.contains(f" {store} ", autoescape=True))
        if kind is not None:
            query = query.where(run_table.c.kind == kind)
        if before is not None:
            query = query.where(run_table.c.id < before)
        return self._runs(query.order_by(run_table.c.id.desc()).limit(limit), now)

    def find_run(self, number: int, *, now: datetime) -> Run | None:
        return next(iter(self._runs(select(run_table).where(run_table.c.id == number), now)), None)

    def _runs(self, query: Any, now: datetime) -> list[Run]:
        rows = self._rows(query)
        open_ones = [row for row in rows if row.outcome is None]
        alive = {replica.owner for replica in self.replicas(now=now)} if open_ones else set()
        return [_run_of(row, _outcome(row, alive, now)) for row in rows]


def _outcome(row: Any, alive: Collection[str], now: datetime) -> RunOutcome:
    """Return how the run ended. One without an end is interrupted once its process is gone, or a replica is silent."""
    if row.outcome is not None:
        ended: RunOutcome = row.outcome
        return ended
    if row.via != "command":
        return "running" if row.owner in alive else "interrupted"
    return "interrupted" if is_gone(row.owner) or now - row.began_at > LOST_AFTER else "running"


def _run_of(row: Any, outcome: RunOutcome) -> Run:
    return Run(
        id=row.id,
        kind=row.kind,
        stores=tuple(StoreName(name) for name in row.stores.split()),
        actor=Actor(row.actor, row.via),
        began_at=row.began_at,
        ended_at=row.ended_at,
        outcome=outcome,
        counts=RunCounts(**(row.counts or {})),
        plan_digest=row.plan_digest,
        message=row.message,
    )
