"""The tables as SQLModel classes. On Postgres they are in the schema `reconciler`; on SQLite their names have its prefix.

Keys are compared by code point on both (COLLATE "C"), so that mappings and profiles can be joined as streams. A table in
its own file derives from `Row` and is imported by all_tables.py, so that `db check` knows it. No file of a table defers its
annotations: SQLModel would compile each of them whenever a command starts.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import ConfigDict
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Index,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    cast,
    event,
    text,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

from reconciler.core.model.consent import PREFIX as CONSENT
from reconciler.state.database.engine import SCHEMA

metadata = MetaData()


TOMBSTONES = ("released", "erased")  # the statuses of users who left
ABSENT = text("absent_since IS NOT NULL")
LEFT = text("left_at IS NOT NULL")
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


def key_column(**options: Any) -> Column[str]:
    """Return a text column that is sorted by code point on both databases."""
    return Column(String().with_variant(String(collation="C"), "postgresql"), **options)


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


def json_column(*, nullable: bool = False) -> Column[Any]:
    """Return a column for a JSON value."""
    return Column(Json(), nullable=nullable)


def time_column(*, nullable: bool = True) -> Column[datetime]:
    """Return a column for a time, aware and UTC in Python."""
    return Column(UtcDateTime(), nullable=nullable)


class Row(SQLModel):
    """Base of all our tables: one metadata, separate from SQLModel's. Rows are not validated, so no validator is built."""

    __table__: ClassVar[Table]
    model_config = ConfigDict(defer_build=True)  # type: ignore[assignment]  # SQLModel declares its own type
    metadata = metadata


def names_consent(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a JSON column names the field of a consent: those are proofs, and kept longer than the rest."""
    return cast(column, Text).like(f'%"{CONSENT}%')


class MappingRow(Row, table=True):
    """Which customer belongs to which user; unique per shop in both directions."""

    __tablename__ = "reconciler_mapping"
    shopify_shop: str = Field(sa_column=key_column(primary_key=True))
    clerk_user_id: str = Field(sa_column=key_column(primary_key=True))
    store: str
    shopify_customer_id: str | None = None
    email: str | None = None
    email_key: str | None = None
    status: str
    reason: str | None = None
    message: str | None = Field(default=None, sa_column=Column(Text))
    first_seen_at: datetime | None = Field(default=None, sa_column=time_column())
    last_seen_at: datetime | None = Field(default=None, sa_column=time_column())
    left_at: datetime | None = Field(default=None, sa_column=time_column())
    generation: int = 0
    applied: dict[str, Any] = Field(sa_column=json_column())
    refused: dict[str, Any] = Field(sa_column=json_column())
    intent: dict[str, Any] | None = Field(default=None, sa_column=json_column(nullable=True))
    waits_for_email: str | None = None
    waits_for_phone: str | None = None
    waits_at_email: str | None = None
    waits_at_phone: str | None = None
    profile_digest: str = ""
    wanted_digest: str | None = None
    wanted_row_at: datetime | None = Field(default=None, sa_column=time_column())
    absent_since: datetime | None = Field(default=None, sa_column=time_column())
    left_row_at: datetime | None = Field(default=None, sa_column=time_column())
    config_digest: str = ""
    profile_fp: int | None = Field(default=None, sa_column=Column(BigInteger()))
    config_fp: int | None = Field(default=None, sa_column=Column(BigInteger()))  # `config_digest`, for the index
    observed_fp: int | None = Field(default=None, sa_column=Column(BigInteger()))
    equal_fp: int | None = Field(default=None, sa_column=Column(BigInteger()))  # kept by equal.py
    reason_since: datetime | None = Field(default=None, sa_column=time_column())
    profile_name: str | None = None
    profile_email: str | None = None
    profile_phone: str | None = None
    search_key: str | None = Field(default=None, sa_column=key_column(nullable=True))  # of these three
    accepted: dict[str, Any] | None = Field(default=None, sa_column=json_column(nullable=True))  # by acts.py alone
    accepted_until: datetime | None = Field(default=None, sa_column=time_column())
    __table_args__ = (
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
        Index("reconciler_mapping_left", "shopify_shop", "left_at", sqlite_where=LEFT),
        # With the user, so that a search for a part of a name reads only the index.
        Index("reconciler_mapping_search", "shopify_shop", "search_key", "clerk_user_id"),
        # With the customer, so that counts of mappings need only the index.
        Index("reconciler_mapping_status", "shopify_shop", "status", "reason", "shopify_customer_id"),
        # All that a scan reads of a row; the rest, ten times as long, is not read unless something moved.
        Index("reconciler_mapping_equal", "shopify_shop", "clerk_user_id", "status", "config_fp", "equal_fp"),
        {"schema": SCHEMA},
    )


class EventRow(Row, table=True):
    """One write that was executed, with values before and after."""

    __tablename__ = "reconciler_event"
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=time_column(nullable=False))
    store: str
    shopify_shop: str
    clerk_user_id: str
    shopify_customer_id: str | None = None
    kind: str
    changes: list[Any] = Field(sa_column=json_column())
    plan_digest: str = ""
    message: str = ""
    run_id: int | None = None
    __table_args__ = (
        Index("reconciler_event_run", "run_id", "at", "id", sqlite_where=HAS_RUN),
        Index("reconciler_event_user", "clerk_user_id", "at"),
        Index("reconciler_event_at", "at"),
        Index("reconciler_event_shop", "shopify_shop", "at", "id"),
        Index("reconciler_event_plan", "plan_digest"),
        {"schema": SCHEMA},
    )


@event.listens_for(EventRow.__table__, "before_create")
def _limit_index(table: Table, connection: Connection, **_: Any) -> None:
    """Make the index partial on Postgres. As an option of Index, it would import that dialect in every command."""
    if connection.dialect.name == "postgresql":
        index = next(index for index in table.indexes if index.name == "reconciler_event_run")
        index.dialect_options["postgresql"]["where"] = HAS_RUN


class StoreRow(Row, table=True):
    """Facts of a store that are kept between runs."""

    __tablename__ = "reconciler_store"
    shopify_shop: str = Field(primary_key=True)
    store: str
    profiles: int | None = None
    last_sweep_at: datetime | None = Field(default=None, sa_column=time_column())
    suspended_at: datetime | None = Field(default=None, sa_column=time_column())
    suspended_reason: str | None = None
    failing_what: str | None = None
    failing_reason: str | None = None
    failing_since: datetime | None = Field(default=None, sa_column=time_column())
    __table_args__ = ({"schema": SCHEMA},)
