"""Runs of commands and of scheduled scans; events point to the run that wrote them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table, and the column with an index of the events that have a run."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "reconciler_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("stores", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("plan_digest", sa.String(), nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("counts", JSON, nullable=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_index("reconciler_run_began", "reconciler_run", ["began_at"], schema=schema)
    op.add_column("reconciler_event", sa.Column("run_id", sa.Integer(), nullable=True), schema=schema)
    has_run = sa.text("run_id IS NOT NULL")
    op.create_index(
        "reconciler_event_run",
        "reconciler_event",
        ["run_id"],
        schema=schema,
        postgresql_where=has_run,
        sqlite_where=has_run,
    )
