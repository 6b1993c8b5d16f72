"""Which replicas of `run` are there, and with which files: what `status` and the console compare the files with."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Column, Table, delete, select
from sqlmodel import Field

from reconciler.core.report.status import Replica
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, UtcDateTime

GONE_AFTER = timedelta(minutes=5)  # without a word for so long, a replica is gone


class ReplicaRow(Row, table=True):
    """One replica of `run`. `config_problem`: why the files on disk are not what it runs; NULL where they are."""

    __tablename__ = "reconciler_replica"
    owner: str = Field(primary_key=True)
    config_digest: str
    config_problem: str | None = None
    since: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    seen_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_replica: Table = ReplicaRow.__table__  # type: ignore[attr-defined]  # SQLModel's own


class ReplicaTable(Database):
    """The replicas that are there."""

    def put_replica(self, replica: Replica) -> None:
        """Say that it is there, and with which files; those of which nothing was heard for long are forgotten."""
        with writing(self._engine) as connection:
            connection.execute(delete(_replica).where(_replica.c.seen_at < replica.seen_at - GONE_AFTER))
            self._upsert(connection, _replica, [replica.model_dump()])

    def forget_replica(self, owner: str) -> None:
        """It has stopped."""
        with writing(self._engine) as connection:
            connection.execute(delete(_replica).where(_replica.c.owner == owner))

    def replicas(self, *, now: datetime) -> tuple[Replica, ...]:
        """Those that were heard of lately, by owner."""
        query = select(_replica).where(_replica.c.seen_at >= now - GONE_AFTER).order_by(_replica.c.owner)
        return tuple(Replica.model_validate(dict(row._mapping)) for row in self._rows(query))  # noqa: SLF001  SQLAlchemy's name
