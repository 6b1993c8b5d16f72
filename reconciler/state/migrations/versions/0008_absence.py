"""A mapping keeps since when its profile row is missing, and the digest of the row that was last wanted."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLE = "reconciler_mapping"


def upgrade() -> None:
    """Add both columns, and an index of the few users whose row is missing."""
    postgres = op.get_bind().dialect.name == "postgresql"
    schema = "reconciler" if postgres else None
    since = sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True)
    for column in (sa.Column("wanted_digest", sa.String(), nullable=True), since):
        op.add_column(TABLE, column, schema=schema)
    missing = sa.text("absent_since IS NOT NULL")
    op.create_index(
        f"{TABLE}_absent",
        TABLE,
        ["shopify_shop"],
        schema=schema,
        postgresql_where=missing,
        sqlite_where=missing,
    )
