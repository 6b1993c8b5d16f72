"""Grants that let other Postgres roles read the state, for `doctor`."""

from __future__ import annotations

from sqlalchemy import Engine, text

from reconciler.state.database.engine import SCHEMA, is_sqlite, reading
from reconciler.state.schema import API_ROLES

_GRANTED = """
SELECT r.rolname FROM pg_roles r
WHERE r.rolname = ANY(:strangers) AND has_schema_privilege(r.rolname, :schema, 'USAGE')
ORDER BY 1"""
_OPEN = """
SELECT tablename FROM pg_tables WHERE schemaname = :schema AND NOT rowsecurity ORDER BY 1"""


def openings(engine: Engine) -> list[str]:
    """Return one line for each way in which Supabase's API roles reach our tables; empty if none, and on SQLite."""
    if is_sqlite(engine):
        return []
    with reading(engine) as connection:
        roles = connection.execute(text(_GRANTED), {"strangers": list(API_ROLES), "schema": SCHEMA}).scalars().all()
        tables = connection.execute(text(_OPEN), {"schema": SCHEMA}).scalars().all()
    return [f"{role} may use the schema {SCHEMA}" for role in roles] + [
        f"{SCHEMA}.{table} has no row level security" for table in tables
    ]
