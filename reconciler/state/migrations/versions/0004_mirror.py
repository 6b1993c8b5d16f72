"""The mirror of each shop, by which a mapping is known to be unmoved; and how long a look is, and counted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
TIME = sa.DateTime(timezone=True)
PAIR = ["shopify_shop", "clerk_user_id", "status", "shopify_customer_id", "profile_fp", "config_fp", "observed_fp"]


def upgrade() -> None:
    """Make the mirror; let mappings say when they were equal, and looks how long they are."""
    schema = "reconciler" if op.get_bind().dialect.name == "postgresql" else None
    for name in ("profile_fp", "config_fp", "observed_fp"):
        op.add_column("reconciler_mapping", sa.Column(name, sa.BigInteger(), nullable=True), schema=schema)
    op.create_index("reconciler_mapping_pair", "reconciler_mapping", PAIR, schema=schema)
    for name, kind in (("total", sa.BigInteger()), ("rows", sa.BigInteger()), ("counted", JSON)):
        op.add_column("reconciler_sweep", sa.Column(name, kind, nullable=True), schema=schema)
    op.create_table(
        "reconciler_mirror",
        sa.Column("shopify_shop", KEY, nullable=False),
        sa.Column("shopify_customer_id", KEY, nullable=False),
        sa.Column("email_key", sa.String(), nullable=True),
        sa.Column("backlink", sa.String(), nullable=True),
        sa.Column("observed", sa.Text(), nullable=False),
        sa.Column("observed_fp", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("moved_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("shopify_shop", "shopify_customer_id"),
        schema=schema,
    )
    held = ["shopify_shop", "shopify_customer_id", "observed_fp", "gone"]
    op.create_index("reconciler_mirror_held", "reconciler_mirror", held, schema=schema)
    op.create_index("reconciler_mirror_moved", "reconciler_mirror", ["shopify_shop", "moved_at"], schema=schema)
    op.create_table(
        "reconciler_mirror_mark",
        sa.Column("shopify_shop", sa.String(), nullable=False),
        sa.Column("operation", sa.String(), nullable=True),
        sa.Column("began_at", TIME, nullable=True),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=True),
        sa.Column("complete_at", TIME, nullable=True),
        sa.Column("listed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("shopify_shop"),
        schema=schema,
    )
