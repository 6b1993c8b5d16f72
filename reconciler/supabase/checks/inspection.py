"""Inspects the profiles table for `doctor`: its kind, indexes, triggers, policies and limits. Only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from reconciler.core.model.frozen import frozen
from reconciler.supabase.connection import begin_reading, open_source, translate_errors
from reconciler.supabase.reading.table import KEY, ProfileTable, find_table

SAMPLE = 20_000
_POSTGRES = sa.text(
    """
WITH facts AS (
  SELECT c.oid, c.relkind::text AS kind, format('%I.%I', n.nspname, c.relname) AS quoted, r.oid AS role,
         quote_ident(r.rolname) AS role_name, quote_ident(:key) AS quoted_key, quote_ident(:updated) AS quoted_updated
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
  WHERE n.nspname = :schema AND c.relname = :name AND r.rolname = current_user
), policies AS (
  SELECT p.polcmd, p.polpermissive, COALESCE(pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid), '')
           IS NOT DISTINCT FROM 'true' AS everything
  FROM facts JOIN pg_policy p ON p.polrelid = facts.oid
  WHERE EXISTS (SELECT FROM unnest(p.polroles) g (role)
                WHERE CASE WHEN g.role = 0 THEN true ELSE pg_has_role(facts.role, g.role, 'USAGE') END)
), indexes AS (
  SELECT a.attname, i.indisunique AND i.indnkeyatts = 1 AND i.indimmediate AS is_unique
  FROM facts JOIN pg_index i ON i.indrelid = facts.oid AND i.indisvalid AND i.indpred IS NULL
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
), movers AS (
  SELECT quote_ident(t.tgname) AS name
  FROM facts JOIN pg_trigger t ON t.tgrelid = facts.oid JOIN pg_proc p ON p.oid = t.tgfoid
  WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND (t.tgtype & 19) = 19  -- before update of each row
  AND (p.proname = 'moddatetime' AND encode(t.tgargs, 'escape') LIKE '%' || :updated || '%'
       OR p.prosrc ~* (E'\\\\m' || regexp_replace(:updated, E'\\\\W', '.', 'g') || E'\\\\M'))
), columns AS (
  SELECT a.attname, t.typname,
         (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
          WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) AS given
  FROM facts JOIN pg_attribute a ON a.attrelid = facts.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
)
SELECT kind, quoted, quoted_key, quoted_updated, role_name,
  (SELECT reset_val::bigint FROM pg_settings WHERE name = 'statement_timeout') AS statement_timeout_ms,
  (SELECT reset_val::bigint FROM pg_settings WHERE name = 'lock_timeout') AS lock_timeout_ms,
  (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') = 'on'
    OR pg_is_in_recovery() AS read_only,
  pg_is_in_recovery() AS is_standby,
  COALESCE((SELECT bool_or(is_unique) FROM indexes WHERE attname = :key), false) AS is_unique,
  EXISTS (SELECT FROM indexes WHERE attname = :key) AS is_indexed,
  EXISTS (SELECT FROM indexes WHERE attname = :updated) AS is_updated_indexed,
  (SELECT string_agg(name, ', ' ORDER BY name) FROM movers) AS moved_by,
  row_security_active(facts.oid) AS is_restricted,
  EXISTS (SELECT FROM policies WHERE polcmd IN ('a', '*') AND polpermissive) AS may_insert,
  EXISTS (SELECT FROM policies WHERE polcmd IN ('w', '*') AND polpermissive) AS may_update,
  EXISTS (SELECT FROM policies WHERE polcmd IN ('a', '*') AND polpermissive AND everything)
  AND EXISTS (SELECT FROM policies WHERE polcmd IN ('w', '*') AND polpermissive AND everything)
  AND NOT EXISTS (SELECT FROM policies WHERE polcmd IN ('a', 'w', '*') AND NOT polpermissive AND NOT everything) AS may_all,
  (SELECT typname FROM columns WHERE attname = :key) AS key_type,
  (SELECT given FROM columns WHERE attname = :updated) ~* 'now|current_timestamp|clock_timestamp|statement_timestamp'
    AS updated_by_default,
  EXISTS (SELECT FROM columns WHERE attname = 'created_at' AND typname IN ('timestamptz', 'timestamp'))
  AND (SELECT typname FROM columns WHERE attname = :updated) IN ('timestamptz', 'timestamp') AS has_created_at
FROM facts
"""
)
_COLLATION = sa.text(
    """
SELECT CASE WHEN co.collprovider = 'd' THEN to_jsonb(d)->>'datcollversion' ELSE co.collversion END AS built,
       CASE WHEN co.collprovider = 'd' THEN pg_database_collation_actual_version(d.oid)
            ELSE pg_collation_actual_version(co.oid) END AS there
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attname = :key
JOIN pg_collation co ON co.oid = i.indcollation[0]
JOIN pg_database d ON d.datname = current_database()
WHERE n.nspname = :schema AND c.relname = :name
"""
)
"""The versions of the collations of the key's indexes. Needs Postgres 15, which notes that of a database."""
_SQLITE = sa.text(
    """
SELECT
  EXISTS (SELECT 1 FROM pragma_index_list(:name) AS l WHERE l."unique" AND NOT l.partial
          AND (SELECT group_concat(x.name) FROM pragma_index_info(l.name) AS x) = :key)
  OR (SELECT count(*) = 1 AND max(name) = :key FROM pragma_table_xinfo(:name) WHERE pk > 0) AS is_unique,
  EXISTS (SELECT 1 FROM pragma_index_list(:name) AS l, pragma_index_info(l.name) AS x
          WHERE x.seqno = 0 AND x.name = :key AND NOT l.partial)
  OR (SELECT max(name) = :key FROM pragma_table_xinfo(:name) WHERE pk = 1) AS is_indexed,
  EXISTS (SELECT 1 FROM pragma_index_list(:name) AS l, pragma_index_info(l.name) AS x
          WHERE x.seqno = 0 AND x.name = :updated AND NOT l.partial) AS is_updated_indexed,
  (SELECT group_concat(name) FROM sqlite_master
   WHERE type = 'trigger' AND tbl_name = :name AND sql LIKE '%' || :updated || '%') AS moved_by,
  EXISTS (SELECT 1 FROM pragma_table_xinfo(:name) WHERE name = 'created_at') AS has_created_at,
  (SELECT type FROM sqlite_master WHERE name = :name) AS kind
"""
)


@frozen
class Inspection:
    """The facts of one table. Names are quoted for SQL. `kind` is pg_class.relkind, on SQLite "r" or "v".

    `moved_by`: triggers that set `updated_at`. `may_insert`, `may_update`: a policy lets this role write some rows;
    `may_all`: any row; all three are True without row level security. `still`: the number of checked rows if `updated_at`
    equals `created_at` in all of them, otherwise None. `email`: the expression that finds the users of an email, or empty;
    `is_email_indexed`: an index supports it. `collations`: the version of the key's collation by which its index was built,
    and the server's, where they differ.
    """

    kind: str
    table: str
    key: str
    updated: str
    role: str
    key_type: str
    statement_timeout_ms: int
    lock_timeout_ms: int
    is_read_only: bool
    is_standby: bool
    is_unique: bool
    is_indexed: bool
    is_updated_indexed: bool
    email: str
    is_email_indexed: bool
    moved_by: str
    updated_by_default: bool
    may_insert: bool
    may_update: bool
    may_all: bool
    still: int | None
    collations: tuple[str, str] | None = None

    @property
    def is_postgres(self) -> bool:
        return bool(self.role)


def inspect_profiles(url: str, table: str, columns: Mapping[str, str]) -> Inspection | None:
    """The table as the database describes it; None if it does not exist. SourceError if the database can't be read."""
    schema, _, name = table.rpartition(".")
    asked = {"schema": schema or "public", "name": name, "key": columns[KEY], "updated": columns.get("updated_at", "")}
    engine = open_source(url)
    is_sqlite = engine.dialect.name == "sqlite"
    try:
        with translate_errors(url), engine.connect() as connection:
            begin_reading(connection)
            row = connection.execute(_SQLITE if is_sqlite else _POSTGRES, asked).mappings().one_or_none()
            if row is None or row["kind"] is None:
                return None
            if is_sqlite:
                return _of_sqlite(connection, row, asked)
            found = _of_postgres(connection, row, asked)
            found = replace(found, collations=_collations(connection, asked))
            return (
                _with_email(connection, found, find_table(connection, table, columns)) if "email" in columns else found
            )
    finally:
        engine.dispose()


def _of_postgres(connection: Connection, row: Mapping[Any, Any], asked: Mapping[str, str]) -> Inspection:
    is_free = not row["is_restricted"]
    updated: str = row["quoted_updated"] if asked["updated"] else ""
    later = f"abs(extract(epoch FROM {updated} - created_at)) > 1"
    return Inspection(
        kind=row["kind"],
        table=row["quoted"],
        key=row["quoted_key"],
        updated=updated,
        role=row["role_name"],
        key_type=row["key_type"] or "",
        statement_timeout_ms=row["statement_timeout_ms"],
        lock_timeout_ms=row["lock_timeout_ms"],
        is_read_only=row["read_only"],
        is_standby=row["is_standby"],
        is_unique=row["is_unique"],
        is_indexed=row["is_indexed"],
        is_updated_indexed=row["is_updated_indexed"],
        email="",
        is_email_indexed=True,
        moved_by=(row["moved_by"] or "") if updated else "",
        updated_by_default=bool(row["updated_by_default"]),
        may_insert=is_free or row["may_insert"],
        may_update=is_free or row["may_update"],
        may_all=is_free or row["may_all"],
        still=_still(connection, row["quoted"], updated, later) if updated and row["has_created_at"] else None,
    )


def _collations(connection: Connection, asked: Mapping[str, str]) -> tuple[str, str] | None:
    if (connection.dialect.server_version_info or ()) < (15,):
        return None
    rows = connection.execute(_COLLATION, asked)
    return next(((row.built, row.there) for row in rows if row.built and row.there and row.built != row.there), None)


def _with_email(connection: Connection, found: Inspection, table: ProfileTable) -> Inspection:
    """Add whether an index finds the users of an email: the planner is asked with sequential scans off."""
    dialect = connection.dialect
    expression = str(table.rough_email().compile(dialect=dialect))
    column = str(table.raw("email").compile(dialect=dialect))
    expression = expression.replace(column, dialect.identifier_preparer.quote(table.columns["email"].name))
    connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
    plan = connection.exec_driver_sql(
        f"EXPLAIN SELECT FROM {found.table} WHERE {expression} = 'a@example.com'"
    ).scalars()
    return replace(found, email=expression, is_email_indexed=any("Index Cond: (lower(" in line for line in plan))


def _of_sqlite(connection: Connection, row: Mapping[Any, Any], asked: Mapping[str, str]) -> Inspection:
    table, key, updated = (_quoted(asked[word]) if asked[word] else "" for word in ("name", "key", "updated"))
    is_compared = bool(updated) and bool(row["has_created_at"])
    return Inspection(
        kind="v" if row["kind"] == "view" else "r",
        table=table,
        key=key,
        updated=updated,
        role="",
        key_type="",
        statement_timeout_ms=0,
        lock_timeout_ms=0,
        is_read_only=False,
        is_standby=False,
        is_unique=bool(row["is_unique"]),
        is_indexed=bool(row["is_indexed"]),
        is_updated_indexed=bool(row["is_updated_indexed"]),
        email="",
        is_email_indexed=True,
        moved_by=(row["moved_by"] or "") if updated else "",
        updated_by_default=False,
        may_insert=True,
        may_update=True,
        may_all=True,
        still=_still(connection, table, updated, f"{updated} IS NOT created_at") if is_compared else None,
    )


def _still(connection: Connection, table: str, updated: str, later: str) -> int | None:
    """The number of checked rows if `updated_at` equals `created_at` in all of them, otherwise None."""
    rows = f"SELECT {later} AS later FROM {table} WHERE {updated} IS NOT NULL AND created_at IS NOT NULL LIMIT {SAMPLE}"  # noqa: S608  quoted
    query = f"SELECT count(*), count(CASE WHEN later THEN 1 END) FROM ({rows}) AS looked_at"  # noqa: S608  as above
    count, moved = connection.execute(sa.text(query.replace(":", r"\:"))).one()
    return None if moved else int(count)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
