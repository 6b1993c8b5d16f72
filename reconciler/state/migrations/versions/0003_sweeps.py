"""Looks at whole stores: how far each is, and what it found."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the book of looks."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "reconciler_sweep",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("cursor", sa.String(), nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("watermark", TIME, nullable=True),
        sa.Column("looked_at", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shopify_shop", "kind"),
        schema=schema,
    )
    op.create_table(
        "reconciler_finding",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("clerk_user_id", KEY, nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("shopify_shop", "kind", "clerk_user_id"),
        schema=schema,
    )
    columns = ["shopify_shop", "kind", "action", "clerk_user_id"]
    op.create_index("reconciler_finding_action", "reconciler_finding", columns, schema=schema)
