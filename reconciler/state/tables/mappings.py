"""The tables. On Postgres they are in the schema `reconciler`; on SQLite their names have its prefix.

Keys are compared by code point on both (COLLATE "C"), so that mappings and profiles can be joined as streams. A table in
a file of its own is part of the same `metadata`, and its file is imported by schema.py, so that `db check` knows it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    event,
    text,
)
from sqlalchemy.types import TypeEngine

from reconciler.state.database.engine import SCHEMA

metadata = MetaData()


TOMBSTONES = ("released", "erased")  # the statuses of users who left
ABSENT = text("absent_since IS NOT NULL")
ACCEPTED = text("accepted_until IS NOT NULL")
HAS_RUN = text("run_id IS NOT NULL")


KEY_LETTERS_MAX = 600


class UtcDateTime(TypeDecorator[datetime]):
    """timestamptz on Postgres, ISO text in UTC on SQLite; aware and UTC in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone: pass an aware datetime")
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def key_column(name: str, **options: Any) -> Column[str]:
    """Return a text column that is sorted by code point on both databases."""
    return Column(name, String().with_variant(String(collation="C"), "postgresql"), **options)


def index_key(key: str | None) -> str | None:
    """Return the key if an index can hold it (Postgres' limit is about 2,700 bytes), else None. No real key is longer."""
    return key if key is None or len(key) <= KEY_LETTERS_MAX else None


class Json(TypeDecorator[Any]):
    """JSONB on Postgres, text on SQLite; None is NULL, not the JSON null."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415  takes long to import, and SQLite does without

        return dialect.type_descriptor(JSONB(none_as_null=True))


def json_column(name: str, *, nullable: bool = False) -> Column[Any]:
    """Return a column for a JSON value."""
    return Column(name, Json(), nullable=nullable)


def time_column(name: str, *, nullable: bool = True) -> Column[datetime]:
    """Return a column for a time, aware and UTC in Python."""
    return Column(name, UtcDateTime(), nullable=nullable)


# Which customer belongs to which user; unique per shop in both directions.
mapping_table = Table(
    "reconciler_mapping",
    metadata,
    key_column("shopify_shop", primary_key=True),
    key_column("clerk_user_id", primary_key=True),
    Column("store", String, nullable=False),
    Column("shopify_customer_id", String),
    Column("email", String),
    Column("email_key", String),
    Column("status", String, nullable=False),
    Column("reason", String),
    Column("message", Text),
    time_column("first_seen_at"),
    time_column("last_seen_at"),
    time_column("left_at"),
    Column("generation", Integer, nullable=False, default=0),
    json_column("applied"),
    json_column("refused"),
    json_column("intent", nullable=True),
    Column("waits_for_email", String),
    Column("waits_for_phone", String),
    Column("waits_at_email", String),
    Column("waits_at_phone", String),
    Column("profile_digest", String, nullable=False, default=""),
    Column("wanted_digest", String),
    time_column("absent_since"),
    time_column("left_row_at"),
    Column("config_digest", String, nullable=False, default=""),
    Column("profile_fp", BigInteger),
    Column("config_fp", BigInteger),  # `config_digest`, for the index
    Column("observed_fp", BigInteger),
    Column("equal_fp", BigInteger),  # kept by equal.py
    time_column("reason_since"),
    Column("profile_name", String),
    Column("profile_email", String),
    Column("profile_phone", String),
    key_column("search_key", nullable=True),  # of these three
    json_column("accepted", nullable=True),  # by acts.py alone
    time_column("accepted_until"),
    Index("reconciler_mapping_customer", "shopify_shop", "shopify_customer_id", unique=True),
    Index("reconciler_mapping_email", "shopify_shop", "email_key"),
    Index("reconciler_mapping_waits", "shopify_shop", "waits_for_email"),
    Index("reconciler_mapping_waits_phone", "shopify_shop", "waits_for_phone"),
    Index("reconciler_mapping_waits_at_email", "shopify_shop", "waits_at_email"),
    Index("reconciler_mapping_waits_at_phone", "shopify_shop", "waits_at_phone"),
    Index(
        "reconciler_mapping_absent",
        "shopify_shop",
        sqlite_where=ABSENT,  # for Postgres: requests_table.whole_for_postgres
    ),
    Index("reconciler_mapping_accepted", "accepted_until", sqlite_where=ACCEPTED),  # as the one before
    # With the user, so that a search for a part of a name reads only the index.
    Index("reconciler_mapping_search", "shopify_shop", "search_key", "clerk_user_id"),
    # With the customer, so that counts of mappings need only the index.
    Index("reconciler_mapping_status", "shopify_shop", "status", "reason", "shopify_customer_id"),
    # All that a scan reads of a row; the rest, ten times as long, is not read unless something moved.
    Index("reconciler_mapping_equal", "shopify_shop", "clerk_user_id", "status", "config_fp", "equal_fp"),
    schema=SCHEMA,
)


# One write that was executed, with values before and after.
event_table = Table(
    "reconciler_event",
    metadata,
    Column("id", Integer, primary_key=True),
    time_column("at", nullable=False),
    Column("store", String, nullable=False),
    Column("shopify_shop", String, nullable=False),
    Column("clerk_user_id", String, nullable=False),
    Column("shopify_customer_id", String),
    Column("kind", String, nullable=False),
    json_column("changes"),
    Column("plan_digest", String, nullable=False, default=""),
    Column("message", String, nullable=False, default=""),
    Column("run_id", Integer),
    Index("reconciler_event_run", "run_id", sqlite_where=HAS_RUN),
    Index("reconciler_event_user", "clerk_user_id", "at"),
    Index("reconciler_event_at", "at"),
    Index("reconciler_event_shop", "shopify_shop", "at", "id"),
    Index("reconciler_event_plan", "plan_digest"),
    schema=SCHEMA,
)


@event.listens_for(event_table, "before_create")
def _limit_index(table: Table, connection: Connection, **_: Any) -> None:
    """Make the index partial on Postgres. As an option of Index, it would import that dialect in every command."""
    if connection.dialect.name == "postgresql":
        index = next(index for index in table.indexes if index.name == "reconciler_event_run")
        index.dialect_options["postgresql"]["where"] = HAS_RUN


# Facts of a store that are kept between runs.
store_table = Table(
    "reconciler_store",
    metadata,
    Column("shopify_shop", String, primary_key=True),
    Column("store", String, nullable=False),
    Column("profiles", Integer),
    time_column("last_sweep_at"),
    time_column("suspended_at"),
    Column("suspended_reason", String),
    Column("failing_what", String),
    Column("failing_reason", String),
    time_column("failing_since"),
    schema=SCHEMA,
)


# Sealed plans that were applied; each can be applied once.
applied_plan_table = Table(
    "reconciler_applied_plan",
    metadata,
    Column("digest", String, primary_key=True),
    time_column("applied_at", nullable=False),
    schema=SCHEMA,
)


# A rotated token pair, encrypted: the only secret that is stored.
token_table = Table(
    "reconciler_token",
    metadata,
    Column("shopify_shop", String, primary_key=True),
    Column("sealed", String, nullable=False),
    time_column("stored_at", nullable=False),
    schema=SCHEMA,
)


# How many actions of one kind the guards allowed in a shop in one hour of `run`.
budget_table = Table(
    "reconciler_budget",
    metadata,
    Column("shopify_shop", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("spent", Integer, nullable=False),
    schema=SCHEMA,
)


# The holder of a lease. The row stays after a release, so that `fence` only grows.
lease_table = Table(
    "reconciler_lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("fence", BigInteger, nullable=False),
    time_column("until", nullable=False),
    schema=SCHEMA,
)
