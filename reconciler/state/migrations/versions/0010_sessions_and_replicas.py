"""Sessions of the console that were ended, and the replicas of `run` with the files that each runs with."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make both tables."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        "reconciler_ended_session",
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("session"),
        schema=schema,
    )
    op.create_table(
        "reconciler_replica",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("config_digest", sa.String(), nullable=False),
        sa.Column("config_problem", sa.String(), nullable=True),
        sa.Column("since", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("owner"),
        schema=schema,
    )
