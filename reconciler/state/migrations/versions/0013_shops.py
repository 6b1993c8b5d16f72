"""Shops by their gid; those that the state knows already have none yet, and keep their name as their key."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Of each shop the store that a sweep has noted last, else any that its mappings name.
KNOWN = """
INSERT INTO {prefix}reconciler_shop (name, gid, shopify_shop, store, named_at)
SELECT k.shopify_shop, '', k.shopify_shop, COALESCE(MAX(s.store), MAX(k.store)),
    COALESCE(MAX(s.last_sweep_at), '2000-01-01 00:00:00.000000')
FROM (
    SELECT shopify_shop, MAX(store) AS store FROM {prefix}reconciler_mapping GROUP BY shopify_shop
    UNION SELECT shopify_shop, store FROM {prefix}reconciler_store
) AS k LEFT JOIN {prefix}reconciler_store AS s ON s.shopify_shop = k.shopify_shop
GROUP BY k.shopify_shop
"""


def upgrade() -> None:
    """Make the table, and note the shops that are known."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "reconciler_shop",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("gid", sa.String(), nullable=False),
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("named_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "gid"),
        schema=schema,
    )
    op.execute(KNOWN.format(prefix="reconciler." if schema else ""))
