"""What operators did, and the pauses that they set."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)
KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add both tables."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "reconciler_act",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=True),
        sa.Column("clerk_user_id", KEY, nullable=True),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_index("reconciler_act_at", "reconciler_act", ["at"], schema=schema)
    op.create_index("reconciler_act_user", "reconciler_act", ["clerk_user_id", "at"], schema=schema)
    op.create_table(
        "reconciler_pause",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.PrimaryKeyConstraint("shopify_shop"),
        schema=schema,
    )
