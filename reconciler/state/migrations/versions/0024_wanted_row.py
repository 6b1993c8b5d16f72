"""A mapping keeps the time of the row that the store last wanted."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.add_column(
        "reconciler_mapping", sa.Column("wanted_row_at", sa.DateTime(timezone=True), nullable=True), schema=schema
    )
