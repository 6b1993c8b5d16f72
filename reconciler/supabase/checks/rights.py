"""Reads for `doctor` which rights the profiles' role has on Postgres, and whether Supabase's API exposes the table."""

from __future__ import annotations

import sqlalchemy as sa

from reconciler.core.model.frozen import frozen
from reconciler.outbound.databases.url import rewritten
from reconciler.supabase.connection import begin_reading, open_source, translate_errors

_RIGHTS = """
SELECT current_user, r.rolsuper, has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE'),
       (NOT c.relrowsecurity AND c.relkind IN ('r', 'p') OR c.relkind IN ('m', 'f') OR c.relkind = 'v' AND NOT EXISTS (
         SELECT FROM pg_options_to_table(c.reloptions) o
         WHERE o.option_name = 'security_invoker' AND o.option_value::boolean)) AND EXISTS (
         SELECT FROM pg_roles a WHERE a.rolname IN ('anon', 'authenticated')
         AND has_schema_privilege(a.oid, n.oid, 'USAGE') AND has_table_privilege(a.oid, c.oid, 'SELECT')),
       c.relkind::text, format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
WHERE n.nspname = :schema AND c.relname = :name AND r.rolname = current_user"""


@frozen
class Rights:
    """The rights of `role`. `public`: Supabase's API exposes the table to everyone who has the app's public key. `kind` is
    pg_class.relkind, and `table` is quoted for SQL.
    """

    role: str
    superuser: bool
    writes: bool
    public: bool
    kind: str
    table: str


def rights_on(url: str, table: str) -> Rights | None:
    """The rights; None on SQLite, or if the table does not exist. SourceError if the database can't be read."""
    if rewritten(url).startswith("sqlite"):
        return None
    schema, _, name = table.rpartition(".")
    engine = open_source(url)
    try:
        with translate_errors(url), engine.connect() as connection:
            begin_reading(connection)
            row = connection.execute(sa.text(_RIGHTS), {"schema": schema or "public", "name": name}).one_or_none()
    finally:
        engine.dispose()
    return Rights(*row) if row is not None else None
