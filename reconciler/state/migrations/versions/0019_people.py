"""A mapping keeps by what its user is found, and since when it has its reason."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the index; the next write of each row fills them."""
    postgres = op.get_bind().dialect.name == "postgresql"
    schema, table = "reconciler" if postgres else None, "reconciler_mapping"
    for name in ("profile_name", "profile_email", "profile_phone"):
        op.add_column(table, sa.Column(name, sa.String(), nullable=True), schema=schema)
    key = sa.String(collation="C") if postgres else sa.String()
    op.add_column(table, sa.Column("search_key", key, nullable=True), schema=schema)
    op.add_column(table, sa.Column("reason_since", sa.DateTime(timezone=True), nullable=True), schema=schema)
    columns = ["shopify_shop", "search_key", "clerk_user_id"]
    op.create_index("reconciler_mapping_search", table, columns, schema=schema)
