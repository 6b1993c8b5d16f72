"""Tables of the mirror: each shop's customers as last observed, and the progress of each shop's mirror."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table, Text, false

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import key_column, metadata, time_column

# One customer. `observed` is compact JSON in the shop's names; `observed_fp` is its fingerprint, NULL if unknown now.
#
# `moved_at` is the last change of that. Rows marked `gone` stay, so that an older observation does not restore them.
mirror_table = Table(
    "reconciler_mirror",
    metadata,
    key_column("shopify_shop", primary_key=True),
    key_column("shopify_customer_id", primary_key=True),
    Column("email_key", String),
    Column("phone_key", String),
    Column("backlink", String),
    Column("observed", Text, nullable=False),
    Column("observed_fp", BigInteger),
    time_column("seen_at", nullable=False),
    time_column("moved_at", nullable=False),
    time_column("updated_at"),
    Column("source", String, nullable=False),
    Column("gone", Boolean, nullable=False, server_default=false()),
    # All that a scan reads of a row; the rest is not read unless something moved.
    Index("reconciler_mirror_held", "shopify_shop", "shopify_customer_id", "observed_fp", "gone"),
    Index("reconciler_mirror_moved", "shopify_shop", "moved_at"),
    Index("reconciler_mirror_backlink", "shopify_shop", "backlink"),
    Index("reconciler_mirror_email", "shopify_shop", "email_key"),
    Index("reconciler_mirror_phone", "shopify_shop", "phone_key"),
    schema=SCHEMA,
)

# The progress of one shop's mirror.
mirror_mark_table = Table(
    "reconciler_mirror_mark",
    metadata,
    Column("shopify_shop", String, primary_key=True),
    Column("operation", String),
    time_column("began_at"),
    Column("lines", BigInteger, nullable=False),
    Column("expected", BigInteger),
    time_column("complete_at"),
    time_column("listed_at"),
    Column("shape", String),
    Column("begun_shape", String),
    schema=SCHEMA,
)
