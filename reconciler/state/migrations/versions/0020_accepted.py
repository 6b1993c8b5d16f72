"""A mapping keeps the drift that an operator has accepted, and until when."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TABLE = "reconciler_mapping"


def upgrade() -> None:
    """Add both columns, and an index of the few users with accepted drift."""
    postgres = op.get_bind().dialect.name == "postgresql"
    schema = "reconciler" if postgres else None
    op.add_column(TABLE, sa.Column("accepted", JSONB() if postgres else sa.JSON(), nullable=True), schema=schema)
    op.add_column(TABLE, sa.Column("accepted_until", sa.DateTime(timezone=True), nullable=True), schema=schema)
    accepted = sa.text("accepted_until IS NOT NULL")
    op.create_index(
        f"{TABLE}_accepted",
        TABLE,
        ["accepted_until"],
        schema=schema,
        postgresql_where=accepted,
        sqlite_where=accepted,
    )
