"""The mirror answers whether it knows a back-link, an address or a phone, and knows what it was filled for."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


PHONES = "UPDATE {table} SET phone_key = {phone} WHERE observed LIKE '%phone%'"


def upgrade() -> None:
    """Add what those questions read; Shopify shows phones in the form that is their key."""
    postgres = op.get_bind().dialect.name == "postgresql"
    schema, table = "reconciler" if postgres else None, "reconciler_mirror"
    op.add_column(table, sa.Column("phone_key", sa.String(), nullable=True), schema=schema)
    phone = "observed::json ->> 'phone'" if postgres else "json_extract(observed, '$.phone')"
    op.execute(PHONES.format(table=f"{schema}.{table}" if schema else table, phone=phone))
    for name in ("shape", "begun_shape"):
        op.add_column("reconciler_mirror_mark", sa.Column(name, sa.String(), nullable=True), schema=schema)
    for name, column in (("backlink", "backlink"), ("email", "email_key"), ("phone", "phone_key")):
        op.create_index(f"{table}_{name}", table, ["shopify_shop", column], schema=schema)
