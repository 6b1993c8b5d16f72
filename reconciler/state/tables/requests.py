"""The rows of the queue: one a request, gone when nothing is owed. No job table: what can't exist can't be lost."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, String, text
from sqlmodel import Field, SQLModel

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import ABSENT, UtcDateTime, metadata

_KEY = String().with_variant(String(collation="C"), "postgresql")
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
_TAKEN = text("owner IS NOT NULL")


class RequestRow(SQLModel, table=True):
    """One request. `rank_at` is the order of the queue (core.request).

    `again_at`: since when another look has been owed, as it was asked for while being worked on. `delayed_at`: the
    earliest look asked for at a later time, which one that begins before does not cover.
    `generation` grows with each add that changed something, `seen` is the one the last finished look covered,
    `explicit_generation` that of the last add by a person. The key begins with the user and the claims' index with the
    priority, so that neither can stand in for the other: with statistics from an emptier hour Postgres would else read
    all rows of a store to find one.
    """

    metadata = metadata
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
        Index("reconciler_request_owner", "owner", "store", sqlite_where=_TAKEN),  # and see whole_for_postgres
        {"schema": SCHEMA},
    )


class FencingRow(SQLModel, table=True):
    """Where fencing numbers come from: this table's identity. It stays empty.

    They must outlive the requests' rows: a key that is done and asked for again must not be given an old number.
    """

    metadata = metadata
    __tablename__ = "reconciler_fencing"
    id: int | None = Field(default=None, sa_column=Column(_NUMBER, primary_key=True, autoincrement=True))
    __table_args__ = ({"schema": SCHEMA, "sqlite_autoincrement": True},)


def whole_for_postgres() -> None:
    """Make the indexes partial there as well. Said above, each command would import that dialect, which takes long."""
    partial = {"reconciler_request_owner": _TAKEN, "reconciler_mapping_absent": ABSENT}
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        if index.name in partial:
            index.dialect_options["postgresql"]["where"] = partial[index.name]
