"""A store keeps what the shop fails while it lets us in, by which error, and since when."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    for column in ("failing_what", "failing_reason"):
        op.add_column("reconciler_store", sa.Column(column, sa.String(), nullable=True), schema=schema)
    since = sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True)
    op.add_column("reconciler_store", since, schema=schema)
