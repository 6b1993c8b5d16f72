"""The running replicas of `run` and the digest of the files that each one uses, for `status` and the console."""

from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Column, Table, delete, select
from sqlmodel import Field

from reconciler.core.report.status import Replica
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, UtcDateTime

GONE_AFTER = timedelta(minutes=5)  # a replica that has not reported for so long counts as stopped


class ReplicaRow(Row, table=True):
    """One replica of `run`. `config_problem` says why it does not run the files on disk; NULL if it does."""

    __tablename__ = "reconciler_replica"
    owner: str = Field(primary_key=True)
    config_digest: str
    config_problem: str | None = None
    since: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    seen_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_replica: Table = ReplicaRow.__table__


class ReplicaTable(Database):
    """The running replicas."""

    def put_replica(self, replica: Replica) -> None:
        """Record that the replica runs, with its files, and delete replicas that have not reported for `GONE_AFTER`."""
        with writing(self._engine) as connection:
            connection.execute(delete(_replica).where(_replica.c.seen_at < replica.seen_at - GONE_AFTER))
            self._upsert(connection, _replica, [asdict(replica)])

    def forget_replica(self, owner: str) -> None:
        """Delete the row of a replica that stops."""
        with writing(self._engine) as connection:
            connection.execute(delete(_replica).where(_replica.c.owner == owner))

    def replicas(self, *, now: datetime) -> tuple[Replica, ...]:
        """Return the replicas that reported within `GONE_AFTER`, ordered by owner."""
        query = select(_replica).where(_replica.c.seen_at >= now - GONE_AFTER).order_by(_replica.c.owner)
        return tuple(Replica(**row._mapping) for row in self._rows(query))  # noqa: SLF001  SQLAlchemy's name
