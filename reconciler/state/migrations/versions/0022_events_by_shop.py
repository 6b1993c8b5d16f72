"""Events are found by shop and time."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_index("reconciler_event_shop", "reconciler_event", ["shopify_shop", "at", "id"], schema=schema)
