"""An index of the users who left, by the time of it: `status` counts those since the last full scan."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TABLE = "reconciler_mapping"


def upgrade() -> None:
    """Create it: counts by the index of statuses read the row of each user who has ever left."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    left = sa.text("left_at IS NOT NULL")
    op.create_index(
        f"{TABLE}_left", TABLE, ["shopify_shop", "left_at"], schema=schema, postgresql_where=left, sqlite_where=left
    )
