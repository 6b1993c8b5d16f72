"""What Clerk says of a user and is not written yet is found by its phone, too: rows that take each other's phones."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLE = "reconciler_profile_write"


def upgrade() -> None:
    """Add the column and its index. Rows that wait since before the upgrade get it with Clerk's next event."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.add_column(TABLE, sa.Column("phone_key", sa.String(), nullable=True), schema=schema)
    op.create_index(f"{TABLE}_phone", TABLE, ["phone_key"], schema=schema)
