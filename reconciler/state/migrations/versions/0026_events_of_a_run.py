"""The events of a run are found in their order: Postgres read all events by their number to find those of a late run."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

NAME, TABLE = "reconciler_event_run", "reconciler_event"


def upgrade() -> None:
    """Replace the index by one that has the order too."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    has_run = sa.text("run_id IS NOT NULL")
    op.drop_index(NAME, TABLE, schema=schema)
    op.create_index(NAME, TABLE, ["run_id", "at", "id"], schema=schema, postgresql_where=has_run, sqlite_where=has_run)
