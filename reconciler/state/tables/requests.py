"""Tables of the queue: one row a request, deleted when no reconcile is owed."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, String, text
from sqlmodel import Field

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import ABSENT, ACCEPTED, LEFT, Row, UtcDateTime, metadata

_KEY = String().with_variant(String(collation="C"), "postgresql")
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
_TAKEN = text("owner IS NOT NULL")


class RequestRow(Row, table=True):
    """One request. `rank_at` is the order of the queue (core/model/request.py).

    `again_at`: since when another reconcile is owed, because it was requested during a reconcile. `delayed_at`: the
    earliest reconcile requested for a later time; one that begins before that does not cover it.
    `generation` grows with each add that changed something, `seen` is the one that the last finished reconcile covered,
    `explicit_generation` that of the last add by a person. The key begins with the user, and the index for claims with
    the priority, so that neither can replace the other. Otherwise Postgres, with outdated statistics, would read all rows
    of a store to find one.
    """

    __tablename__ = "reconciler_request"
    clerk_user_id: str = Field(sa_column=Column(_KEY, primary_key=True))
    store: str = Field(sa_column=Column(_KEY, primary_key=True))
    priority: int = Field(sa_column=Column(SmallInteger(), nullable=False))
    due_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    rank_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    again_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    delayed_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    attempts: int = Field(sa_column=Column(Integer(), nullable=False))
    generation: int = Field(sa_column=Column(BigInteger(), nullable=False))
    seen: int = Field(sa_column=Column(BigInteger(), nullable=False))
    explicit_generation: int = Field(sa_column=Column(BigInteger(), nullable=False))
    wants_updated_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    owner: str | None = None
    lease_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    fencing: int = Field(sa_column=Column(BigInteger(), nullable=False))
    reason: str
    __table_args__ = (
        Index("reconciler_request_rank", "priority", "store", "rank_at"),
        Index("reconciler_request_owner", "owner", "store", sqlite_where=_TAKEN),  # for Postgres: whole_for_postgres
        {"schema": SCHEMA},
    )


class FencingRow(Row, table=True):
    """The source of fencing tokens: on Postgres this column's sequence, and the table stays empty; on SQLite its one row.

    Tokens must outlive the rows of requests: a request that is done and added again must not get an old token. Delete
    SQLite's row only after an insert: AUTOINCREMENT remembers the numbers that were inserted, and not those of an update.
    """

    __tablename__ = "reconciler_fencing"
    id: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True, autoincrement=True))
    __table_args__ = ({"schema": SCHEMA, "sqlite_autoincrement": True},)


def make_partial_on_postgres() -> None:
    """Make the indexes partial on Postgres too. A declaration above would import that dialect, slowly, in each command."""
    partial = {
        "reconciler_request_owner": _TAKEN,
        "reconciler_mapping_absent": ABSENT,
        "reconciler_mapping_accepted": ACCEPTED,
        "reconciler_mapping_left": LEFT,
    }
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        if index.name in partial:
            index.dialect_options["postgresql"]["where"] = partial[index.name]
