"""An overview of a database for `init`: its tables and views, their columns, and a sample of the values. Only reads."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from reconciler.core.model.frozen import frozen
from reconciler.supabase.connection import begin_reading, open_source, translate_errors
from reconciler.supabase.reading.table import names_of_tables

SAMPLE = 200
TABLES_MAX = 400


@frozen
class ColumnSeen:
    """A column: its name, its type in SQL's words, and some of its values as text, without nulls."""

    name: str
    type: str
    values: tuple[str, ...] = ()


@frozen
class TableSeen:
    """A table or a view that this role can read. The name has its schema on Postgres."""

    name: str
    columns: tuple[ColumnSeen, ...]


def list_tables(url: str) -> tuple[str, ...]:
    """The names of the app's tables and views, sorted. SourceError if the database can't be read."""
    engine = open_source(url)
    try:
        with translate_errors(url), engine.begin() as connection:
            begin_reading(connection)
            return tuple(sorted(names_of_tables(connection))[:TABLES_MAX])
    finally:
        engine.dispose()


def read_tables(url: str, names: Sequence[str]) -> tuple[TableSeen, ...]:
    """The named tables that exist, with their columns and a sample of their rows.

    SourceError if the database can't be read; a table that this role may not read has columns without values.
    """
    engine = open_source(url)
    try:
        with translate_errors(url):
            found = []
            for name in names:
                with engine.begin() as connection:
                    begin_reading(connection)
                    found.append(_columns(connection, name))
            return tuple(table for table in found if table.columns)
    finally:
        engine.dispose()


def _columns(connection: Connection, name: str) -> TableSeen:
    schema, _, bare = name.rpartition(".")
    try:
        columns = sa.inspect(connection).get_columns(bare, schema=schema or None)
    except sa.exc.NoSuchTableError:
        return TableSeen(name, ())
    readable = _may_read(connection, schema, bare)
    table = sa.table(bare, *[sa.column(c["name"]) for c in columns], schema=schema or None)
    rows = connection.execute(sa.select(table).limit(SAMPLE)).all() if readable and columns else []
    return TableSeen(
        name,
        tuple(
            ColumnSeen(c["name"], str(c["type"]).lower(), tuple(str(row[at]) for row in rows if row[at] is not None))
            for at, c in enumerate(columns)
        ),
    )


def _may_read(connection: Connection, schema: str, bare: str) -> bool:
    if connection.dialect.name != "postgresql":
        return True
    quoted = ".".join(connection.dialect.identifier_preparer.quote(part) for part in (schema, bare) if part)
    return bool(connection.scalar(sa.select(sa.func.has_table_privilege(quoted, "SELECT"))))
