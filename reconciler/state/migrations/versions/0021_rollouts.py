"""Rollouts, and the policy that each store has until its wave."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add both tables."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "reconciler_rollout",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_table(
        "reconciler_policy",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("policy", JSON, nullable=True),
        sa.Column("since", TIME, nullable=False),
        sa.Column("synced_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("shopify_shop"),
        schema=schema,
    )
