"""Tables of bulk mutations: files that are ready or running, and the lines that hold users' next writes."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import key_column, metadata, time_column

# One file of writes, kept until all its answers have been read.
bulk_file_table = Table(
    "reconciler_bulk_file",
    metadata,
    Column("key", String, primary_key=True),
    Column("shopify_shop", String, nullable=False),
    Column("rides_in", String, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", String, nullable=False),
    Column("lines", Integer, nullable=False),
    time_column("begun_at", nullable=False),
    Column("operation", String),
    Index("reconciler_bulk_file_shop", "shopify_shop", "begun_at"),
    schema=SCHEMA,
)

# The next write of one user's action, from the decision to send it in bulk until its answer.
bulk_line_table = Table(
    "reconciler_bulk_line",
    metadata,
    key_column("shopify_shop", primary_key=True),
    key_column("clerk_user_id", primary_key=True),
    Column("rides_in", String, nullable=False),
    Column("decision", Text, nullable=False),
    Column("plan_digest", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("shopify_customer_id", String),
    Column("tries", Integer, nullable=False),
    Column("file", String),
    Column("number", Integer),
    Index("reconciler_bulk_line_waits", "shopify_shop", "file", "rides_in", "clerk_user_id"),
    Index("reconciler_bulk_line_number", "file", "number"),
    schema=SCHEMA,
)
