"""The queue's requests, and where their fencing numbers come from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
TAKEN = sa.text("owner IS NOT NULL")


def upgrade() -> None:
    """Make the queue."""
    postgres = op.get_bind().dialect.name == "postgresql"
    schema = "reconciler" if postgres else None
    op.create_table(
        "reconciler_request",
        sa.Column("clerk_user_id", KEY, nullable=False),
        sa.Column("store", KEY, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("rank_at", TIME, nullable=False),
        sa.Column("again_at", TIME, nullable=True),
        sa.Column("delayed_at", TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("explicit_generation", sa.BigInteger(), nullable=False),
        sa.Column("wants_updated_at", TIME, nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("clerk_user_id", "store"),
        schema=schema,
    )
    op.create_index("reconciler_request_rank", "reconciler_request", ["priority", "store", "rank_at"], schema=schema)
    op.create_index(
        "reconciler_request_owner",
        "reconciler_request",
        ["owner", "store"],
        postgresql_where=TAKEN,
        sqlite_where=TAKEN,
        schema=schema,
    )
    op.create_table(
        "reconciler_fencing",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
        schema=schema,
    )
    if postgres:  # rows live for seconds: dead ones are swept as soon as there are a few thousand, not a fifth of all
        op.execute(
            "ALTER TABLE reconciler.reconciler_request SET (autovacuum_vacuum_scale_factor = 0.01,"
            " autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.05)"
        )
