"""What Clerk says of users is stored until it is written to the profiles' table, with tombstones and refusals."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLE = "reconciler_profile_write"
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)
KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
INDEXES = {"due": "due_at", "email": "email_key", "refused": "refused_at"}


def upgrade() -> None:
    """Add the table."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        TABLE,
        sa.Column("clerk_user_id", KEY, nullable=False),
        sa.Column("newest_at", TIME, nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("last", JSON, nullable=True),
        sa.Column("pending", JSON, nullable=True),
        sa.Column("email_key", sa.String(), nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("missing", sa.Boolean(), nullable=False),
        sa.Column("refused_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("clerk_user_id"),
        schema=schema,
    )
    for name, column in INDEXES.items():
        op.create_index(f"{TABLE}_{name}", TABLE, [column], schema=schema)
