"""Checks that this role sees all rows of a Postgres table, as row level security hides rows without an error.

A role with SELECT, but without a policy, gets no rows and no error; this would release every user. Views are checked by
their underlying tables, as the view's owner or, with security_invoker, as the connected role, also through other views.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from reconciler.errors import SourceError

_HIDDEN: Final = sa.text("""
WITH RECURSIVE seen (relation, reader) AS (
  SELECT c.oid, r.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
  WHERE n.nspname = :schema AND c.relname = :name AND r.rolname = current_user
  UNION
  SELECT d.refobjid, CASE WHEN (
      SELECT o.option_value::boolean FROM pg_options_to_table(v.reloptions) o WHERE o.option_name = 'security_invoker'
    ) THEN (SELECT oid FROM pg_roles WHERE rolname = current_user) ELSE v.relowner END
  FROM seen JOIN pg_class v ON v.oid = seen.relation AND v.relkind = 'v'
  JOIN pg_rewrite w ON w.ev_class = v.oid
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
), policy AS (
  SELECT seen.relation, seen.reader, p.polpermissive AS permissive,
         pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM 'true' AS everything
  FROM seen JOIN pg_policy p ON p.polrelid = seen.relation AND p.polcmd IN ('r', '*')
  WHERE EXISTS (SELECT FROM unnest(p.polroles) g (role)
                WHERE CASE WHEN g.role = 0 THEN true ELSE pg_has_role(seen.reader, g.role, 'USAGE') END)
)
SELECT format('%I.%I', n.nspname, c.relname), quote_ident(r.rolname)
FROM seen JOIN pg_class c ON c.oid = seen.relation JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles r ON r.oid = seen.reader
WHERE c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
  AND (c.relforcerowsecurity OR NOT pg_has_role(seen.reader, c.relowner, 'USAGE'))
  AND NOT (EXISTS (SELECT FROM policy p WHERE p.relation = seen.relation AND p.reader = seen.reader
                   AND p.permissive AND p.everything)
           AND NOT EXISTS (SELECT FROM policy p WHERE p.relation = seen.relation AND p.reader = seen.reader
                           AND NOT p.permissive AND NOT p.everything))
LIMIT 1
""")


def refuse_hidden(connection: Connection, schema: str, name: str) -> None:
    """SourceError if row level security may hide rows from this role."""
    hidden = connection.execute(_HIDDEN, {"schema": schema, "name": name}).one_or_none()
    if hidden is None:
        return
    table, role = hidden
    raise SourceError(
        f"row level security on {table} hides rows from the role {role}: nothing may be concluded from what it sees",
        hint=f"create policy reconciler_reads on {table} for select to {role} using (true);",
    )
