"""Tables of scans: their progress, and what they found until they end."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, String, Table

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import UtcDateTime, json_column, metadata

_KEY = String().with_variant(String(collation="C"), "postgresql")


# One kind of scan of one shop: the running one, or the last.
scan_table = Table(
    "reconciler_sweep",
    metadata,
    Column("shopify_shop", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("cursor", String),
    Column("finished_at", UtcDateTime),
    Column("watermark", UtcDateTime),
    Column("looked_at", BigInteger, nullable=False),
    Column("wanted", BigInteger, nullable=False),
    Column("total", BigInteger),
    json_column("counted", nullable=True),
    schema=SCHEMA,
)

# A user who needs a reconcile, until the scan that found them ends.
finding_table = Table(
    "reconciler_finding",
    metadata,
    Column("shopify_shop", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("clerk_user_id", _KEY, primary_key=True),
    Column("action", String, nullable=False),
    Index("reconciler_finding_action", "shopify_shop", "kind", "action", "clerk_user_id"),
    schema=SCHEMA,
)
