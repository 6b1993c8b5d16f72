"""Mappings, events, stores, applied plans, tokens, budgets and leases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the first tables."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "reconciler_mapping",
        sa.Column("shopify_shop", KEY, nullable=False),
        sa.Column("clerk_user_id", KEY, nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("shopify_customer_id", sa.String(), nullable=True),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("email_key", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("first_seen_at", TIME, nullable=True),
        sa.Column("last_seen_at", TIME, nullable=True),
        sa.Column("left_at", TIME, nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("applied", JSON, nullable=False),
        sa.Column("refused", JSON, nullable=False),
        sa.Column("intent", JSON, nullable=True),
        sa.Column("waits_for_email", sa.String(), nullable=True),
        sa.Column("profile_digest", sa.String(), nullable=False),
        sa.Column("config_digest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("shopify_shop", "clerk_user_id"),
        schema=schema,
    )
    for name, columns, unique in (
        ("reconciler_mapping_customer", ["shopify_shop", "shopify_customer_id"], True),
        ("reconciler_mapping_email", ["shopify_shop", "email_key"], False),
        ("reconciler_mapping_waits", ["shopify_shop", "waits_for_email"], False),
        ("reconciler_mapping_status", ["shopify_shop", "status", "reason"], False),
    ):
        op.create_index(name, "reconciler_mapping", columns, unique=unique, schema=schema)
    op.create_table(
        "reconciler_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("clerk_user_id", sa.String(), nullable=False),
        sa.Column("shopify_customer_id", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("plan_digest", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    for name, columns in (
        ("reconciler_event_user", ["clerk_user_id", "at"]),
        ("reconciler_event_at", ["at"]),
        ("reconciler_event_plan", ["plan_digest"]),
    ):
        op.create_index(name, "reconciler_event", columns, schema=schema)
    op.create_table(
        "reconciler_store",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("profiles", sa.Integer(), nullable=True),
        sa.Column("last_sweep_at", TIME, nullable=True),
        sa.Column("suspended_at", TIME, nullable=True),
        sa.Column("suspended_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("shopify_shop"),
        schema=schema,
    )
    op.create_table(
        "reconciler_applied_plan",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("applied_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        schema=schema,
    )
    op.create_table(
        "reconciler_token",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.Column("stored_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("shopify_shop"),
        schema=schema,
    )
    op.create_table(
        "reconciler_budget",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("hour", TIME, nullable=False),
        sa.Column("spent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("shopify_shop", "kind", "hour"),
        schema=schema,
    )
    op.create_table(
        "reconciler_lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        schema=schema,
    )
