"""A mapping keeps which phone its user waits for, and which customers have the e-mail and the phone."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLE = "reconciler_mapping"


def upgrade() -> None:
    """Add the columns, each with an index by which those are found who wait."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    for column in ("waits_for_phone", "waits_at_email", "waits_at_phone"):
        op.add_column(TABLE, sa.Column(column, sa.String(), nullable=True), schema=schema)
        name = f"{TABLE}_{column.replace('waits_for_', 'waits_')}"
        op.create_index(name, TABLE, ["shopify_shop", column], schema=schema)
