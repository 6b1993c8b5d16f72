"""`RunTable`: one row for each run of a command or of a scheduled scan."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, Table, select, update
from sqlmodel import Field

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import NewRun, Run, RunCounts, RunEnd, RunKind, RunOutcome
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.holder import is_gone
from reconciler.state.processes.controllers import ReplicaTable
from reconciler.state.tables.mappings import Row, json_column, time_column

LOST_AFTER = timedelta(days=1)  # a command on another machine that has not ended by then counts as interrupted


class RunRow(Row, table=True):
    """One run. `stores`: their names, each between blanks. `ended_at` and `outcome` are NULL until it ends."""

    __tablename__ = "reconciler_run"
    id: int | None = Field(default=None, primary_key=True)
    kind: str
    stores: str
    actor: str
    via: str
    owner: str
    plan_digest: str = ""
    began_at: datetime = Field(sa_column=time_column(nullable=False))
    ended_at: datetime | None = Field(default=None, sa_column=time_column())
    outcome: str | None = None
    counts: dict[str, Any] | None = Field(default=None, sa_column=json_column(nullable=True))
    message: str = ""
    __table_args__ = (Index("reconciler_run_began", "began_at"), {"schema": SCHEMA})


_run: Table = RunRow.__table__


class RunTable(ReplicaTable):
    """`ports.RunRepository` on SQLite or Postgres."""

    def begin_run(self, run: NewRun, *, at: datetime) -> int:
        row = {
            "kind": run.kind, "stores": f" {' '.join(run.stores)} ", "actor": run.actor.name, "via": run.actor.via,
            "owner": run.owner, "plan_digest": run.plan_digest, "began_at": at, "message": "",
        }  # fmt: skip
        with writing(self._engine) as connection:
            return int(connection.execute(_run.insert().values(row).returning(_run.c.id)).scalar_one())

    def end_run(self, number: int, *, at: datetime, outcome: RunEnd, counts: RunCounts, message: str = "") -> None:
        ended = {"ended_at": at, "outcome": outcome, "counts": asdict(counts), "message": message}
        with writing(self._engine) as connection:
            connection.execute(update(_run).where(_run.c.id == number).values(ended))

    def runs(
        self,
        *,
        now: datetime,
        store: StoreName | None = None,
        kinds: Collection[RunKind] = (),
        before: int | None = None,
        limit: int,
    ) -> list[Run]:
        query = select(_run)
        if store is not None:
            query = query.where(_run.c.stores.contains(f" {store} ", autoescape=True))
        if kinds:
            query = query.where(_run.c.kind.in_(sorted(kinds)))
        if before is not None:
            query = query.where(_run.c.id < before)
        return self._runs(query.order_by(_run.c.id.desc()).limit(limit), now)

    def find_run(self, number: int, *, now: datetime) -> Run | None:
        return next(iter(self._runs(select(_run).where(_run.c.id == number), now)), None)

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
