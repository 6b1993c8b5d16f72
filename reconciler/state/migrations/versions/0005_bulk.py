"""Bulk mutations: what is in which file, so that a killed run can be gone on with."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
FILES = "reconciler_bulk_file"
LINES = "reconciler_bulk_line"


def upgrade() -> None:
    """Make the book of bulk mutations."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    op.create_table(
        FILES,
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("rides_in", sa.String(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operation", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
        schema=schema,
    )
    op.create_index("reconciler_bulk_file_shop", FILES, ["shopify_shop", "begun_at"], schema=schema)
    op.create_table(
        LINES,
        sa.Column("shopify_shop", KEY, nullable=False),
        sa.Column("clerk_user_id", KEY, nullable=False),
        sa.Column("rides_in", sa.String(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("plan_digest", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("shopify_customer_id", sa.String(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("file", sa.String(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("shopify_shop", "clerk_user_id"),
        schema=schema,
    )
    waits = ["shopify_shop", "file", "rides_in", "clerk_user_id"]
    op.create_index("reconciler_bulk_line_waits", LINES, waits, schema=schema)
    op.create_index("reconciler_bulk_line_number", LINES, ["file", "number"], schema=schema)
