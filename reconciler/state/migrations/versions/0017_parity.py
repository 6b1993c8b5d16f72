"""Parity over time."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    counts = [sa.Column(name, sa.BigInteger(), nullable=False) for name in ("profiles", "in_sync", "pending", "held")]
    op.create_table(
        "reconciler_parity",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *counts,
        sa.Column("parity", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("shopify_shop", "slot"),
        schema=schema,
    )
