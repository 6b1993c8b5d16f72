"""The tables, as SQLModel classes. On Postgres they live in the schema `reconciler`, on SQLite they carry its prefix.

Keys are compared by code point on both (COLLATE "C"), so that mappings and profiles can be joined as streams.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Dialect, Index, MetaData, String, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from reconciler.state.engine import SCHEMA

metadata = MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """timestamptz on Postgres, ISO text in UTC on SQLite; aware and UTC on our side."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _key(**options: Any) -> Column[str]:
    return Column(String().with_variant(String(collation="C"), "postgresql"), **options)


def _json() -> Column[Any]:
    return Column(JSON().with_variant(JSONB(), "postgresql"), nullable=False)


def _time(*, nullable: bool = True) -> Column[datetime]:
    return Column(UtcDateTime(), nullable=nullable)


class _Row(SQLModel):
    metadata = metadata


class MappingRow(_Row, table=True):
    """Which customer is which user's (M5), unique in both directions per shop."""

    __tablename__ = "reconciler_mapping"
    shopify_shop: str = Field(sa_column=_key(primary_key=True))
    clerk_user_id: str = Field(sa_column=_key(primary_key=True))
    store: str
    shopify_customer_id: str | None = None
    email: str | None = None
    email_key: str | None = None
    status: str
    reason: str | None = None
    message: str | None = Field(default=None, sa_column=Column(Text))
    first_seen_at: datetime | None = Field(default=None, sa_column=_time())
    last_seen_at: datetime | None = Field(default=None, sa_column=_time())
    left_at: datetime | None = Field(default=None, sa_column=_time())
    generation: int = 0
    applied: dict[str, Any] = Field(sa_column=_json())
    refused: dict[str, Any] = Field(sa_column=_json())
    profile_digest: str = ""
    config_digest: str = ""
    __table_args__ = (
        Index("reconciler_mapping_customer", "shopify_shop", "shopify_customer_id", unique=True),
        Index("reconciler_mapping_email", "shopify_shop", "email_key"),
        Index("reconciler_mapping_status", "shopify_shop", "status", "reason"),
        {"schema": SCHEMA},
    )


class EventRow(_Row, table=True):
    """One write that was carried out, with before and after values."""

    __tablename__ = "reconciler_event"
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=_time(nullable=False))
    store: str
    shopify_shop: str
    clerk_user_id: str
    shopify_customer_id: str | None = None
    kind: str
    changes: list[Any] = Field(sa_column=_json())
    plan_digest: str = ""
    message: str = ""
    __table_args__ = (
        Index("reconciler_event_user", "clerk_user_id", "at"),
        Index("reconciler_event_at", "at"),
        Index("reconciler_event_plan", "plan_digest"),
        {"schema": SCHEMA},
    )


class StoreRow(_Row, table=True):
    """What is remembered of a store between runs."""

    __tablename__ = "reconciler_store"
    shopify_shop: str = Field(primary_key=True)
    store: str
    profiles: int | None = None
    last_sweep_at: datetime | None = Field(default=None, sa_column=_time())
    suspended_at: datetime | None = Field(default=None, sa_column=_time())
    suspended_reason: str | None = None
    __table_args__ = ({"schema": SCHEMA},)


class AppliedPlanRow(_Row, table=True):
    """Sealed plans that were applied: each may be once."""

    __tablename__ = "reconciler_applied_plan"
    digest: str = Field(primary_key=True)
    applied_at: datetime = Field(sa_column=_time(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


class TokenRow(_Row, table=True):
    """A rotated token pair, encrypted: the only secret that is kept."""

    __tablename__ = "reconciler_token"
    shopify_shop: str = Field(primary_key=True)
    sealed: str
    stored_at: datetime = Field(sa_column=_time(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)
