"""Tables of bulk mutations: files that are ready or running, and the lines that hold users' next writes."""

from datetime import datetime

from sqlalchemy import Column, Index, Integer, Text
from sqlmodel import Field

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import Row, key_column, time_column


class BulkFileRow(Row, table=True):
    """One file of writes, kept until all its answers have been read."""

    __tablename__ = "reconciler_bulk_file"
    key: str = Field(primary_key=True)
    shopify_shop: str
    rides_in: str
    path: str = Field(sa_column=Column(Text, nullable=False))
    digest: str
    lines: int = Field(sa_column=Column(Integer, nullable=False))
    begun_at: datetime = Field(sa_column=time_column(nullable=False))
    operation: str | None = None
    __table_args__ = (Index("reconciler_bulk_file_shop", "shopify_shop", "begun_at"), {"schema": SCHEMA})


class BulkLineRow(Row, table=True):
    """The next write of one user's action, from the decision to send it in bulk until its answer."""

    __tablename__ = "reconciler_bulk_line"
    shopify_shop: str = Field(sa_column=key_column(primary_key=True))
    clerk_user_id: str = Field(sa_column=key_column(primary_key=True))
    rides_in: str
    decision: str = Field(sa_column=Column(Text, nullable=False))
    plan_digest: str
    position: int = Field(sa_column=Column(Integer, nullable=False))
    shopify_customer_id: str | None = None
    tries: int = Field(sa_column=Column(Integer, nullable=False))
    file: str | None = None
    number: int | None = Field(default=None, sa_column=Column(Integer))
    __table_args__ = (
        Index("reconciler_bulk_line_waits", "shopify_shop", "file", "rides_in", "clerk_user_id"),
        Index("reconciler_bulk_line_number", "file", "number"),
        {"schema": SCHEMA},
    )
