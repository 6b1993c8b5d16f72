"""Tables of the queue: one row a request, deleted when no reconcile is owed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, String, Table, text

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import ABSENT, ACCEPTED, UtcDateTime, metadata

_KEY = String().with_variant(String(collation="C"), "postgresql")
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
_TAKEN = text("owner IS NOT NULL")


# One request. `rank_at` is the order of the queue (core/model/request.py).
#
# `again_at`: since when another reconcile is owed, because it was requested during a reconcile. `delayed_at`: the
# earliest reconcile requested for a later time; one that begins before that does not cover it.
# `generation` grows with each add that changed something, `seen` is the one that the last finished reconcile covered,
# `explicit_generation` that of the last add by a person. The key begins with the user, and the index for claims with
# the priority, so that neither can replace the other: with outdated statistics Postgres would otherwise read all rows
# of a store to find one.
request_table = Table(
    "reconciler_request",
    metadata,
    Column("clerk_user_id", _KEY, primary_key=True),
    Column("store", _KEY, primary_key=True),
    Column("priority", SmallInteger, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("rank_at", UtcDateTime, nullable=False),
    Column("again_at", UtcDateTime),
    Column("delayed_at", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("explicit_generation", BigInteger, nullable=False),
    Column("wants_updated_at", UtcDateTime),
    Column("owner", String),
    Column("lease_until", UtcDateTime),
    Column("fencing", BigInteger, nullable=False),
    Column("reason", String, nullable=False),
    Index("reconciler_request_rank", "priority", "store", "rank_at"),
    Index("reconciler_request_owner", "owner", "store", sqlite_where=_TAKEN),  # for Postgres: whole_for_postgres
    schema=SCHEMA,
)


# The source of fencing tokens: this table's identity column. The table stays empty.
#
# Tokens must outlive the rows of requests: a request that is done and added again must not get an old token.
fencing_table = Table(
    "reconciler_fencing",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    schema=SCHEMA,
    sqlite_autoincrement=True,
)


def make_partial_on_postgres() -> None:
    """Make the indexes partial on Postgres too. A declaration above would import that dialect, slowly, in each command."""
    partial = {
        "reconciler_request_owner": _TAKEN,
        "reconciler_mapping_absent": ABSENT,
        "reconciler_mapping_accepted": ACCEPTED,
    }
    for index in (index for table in metadata.tables.values() for index in table.indexes):
        if index.name in partial:
            index.dialect_options["postgresql"]["where"] = partial[index.name]
