"""Whether a mapping is equal as far as the mirror goes stands beside it; looks at changes count no rows any more."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

EQUAL = """
UPDATE {mapping} AS m SET equal_fp = profile_fp
 WHERE status = 'in_sync' AND observed_fp = (
   SELECT observed_fp FROM {mirror} AS r
    WHERE r.shopify_shop = m.shopify_shop AND r.shopify_customer_id = m.shopify_customer_id AND NOT r.gone)
"""


def upgrade() -> None:
    """Add the column, fill it, and give the sweeps' index what it reads now."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    prefix = f"{schema}." if schema else ""
    op.add_column("reconciler_mapping", sa.Column("equal_fp", sa.BigInteger(), nullable=True), schema=schema)
    op.execute(EQUAL.format(mapping=f"{prefix}reconciler_mapping", mirror=f"{prefix}reconciler_mirror"))
    op.drop_index("reconciler_mapping_pair", "reconciler_mapping", schema=schema)
    columns = ["shopify_shop", "clerk_user_id", "status", "config_fp", "equal_fp"]
    op.create_index("reconciler_mapping_equal", "reconciler_mapping", columns, schema=schema)
    op.drop_index("reconciler_mapping_status", "reconciler_mapping", schema=schema)
    columns = ["shopify_shop", "status", "reason", "shopify_customer_id"]
    op.create_index("reconciler_mapping_status", "reconciler_mapping", columns, schema=schema)
    op.drop_column("reconciler_sweep", "rows", schema=schema)
