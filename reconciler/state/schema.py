"""The state's schema: created if missing, upgraded by migrations."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, text

from reconciler.errors import StateError
from reconciler.state.all_tables import metadata
from reconciler.state.database.engine import SCHEMA, is_sqlite, long_transactions, reading, writing
from reconciler.state.database.version import MIGRATIONS, VERSION_TABLE
from reconciler.state.tables import requests as requests_table

LOCK_KEY = 7_305_811_905  # advisory lock, so that two processes never create the schema at the same time
API_ROLES = ("anon", "authenticated", "service_role")

_SEQUENCES = text(
    """
SELECT s.oid::regclass::text, t.oid::regclass::text, quote_ident(a.attname)
FROM pg_class s JOIN pg_namespace n ON n.oid = s.relnamespace AND n.nspname = :schema
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i')
  AND d.refclassid = 'pg_class'::regclass
JOIN pg_class t ON t.oid = d.refobjid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE s.relkind = 'S' ORDER BY 1
"""
)

_MOVE_SEQUENCE = text("SELECT setval(CAST(:name AS regclass), :highest)")

requests_table.make_partial_on_postgres()


def ensure_schema(engine: Engine) -> None:
    """Create a missing schema; upgrade SQLite. Raises StateError for an older or newer Postgres schema."""
    head = _script().get_current_head()
    with reading(engine) as connection:
        current = _current(connection)
        if current is None:
            _refuse_hidden(connection)
    if current == head:
        return
    _refuse_newer(current)
    if current is not None and not is_sqlite(engine):
        raise StateError(f"the state's schema is at {current}, this program needs {head}", hint="reconciler db upgrade")
    upgrade(engine)


def upgrade(engine: Engine) -> None:
    """Upgrade the schema to this program's version. Safe to repeat and to run concurrently: the second one waits."""
    with writing(long_transactions(engine)) as connection:
        _upgrade(connection)


def check(engine: Engine) -> list[str]:
    """Return the differences between the schema and this program's tables, one a line. StateError if it is newer."""
    with reading(engine) as connection:
        _refuse_newer(_current(connection))
        if _current(connection) != _script().get_current_head():
            return [f"it is at {_current(connection) or 'nothing'}, this program needs {_script().get_current_head()}"]
        late = _late_sequences(connection) if connection.dialect.name == "postgresql" else []
        return [
            *(str(each) for each in compare_metadata(_context(connection), options(connection)["target_metadata"])),
            *(
                f"the sequence {each.name} is behind its table, as after a copy that leaves sequences out"
                for each in late
            ),
        ]


def _refuse_newer(current: str | None) -> None:
    """Raise StateError if a newer program created the schema."""
    known = {revision.revision for revision in _script().walk_revisions()}
    if current is not None and current not in known:
        raise StateError(
            f"the state's schema is at {current}, which is newer than this program", hint="upgrade customer-parity"
        )


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        if not _has_schema(connection):  # IF NOT EXISTS needs the right to create even if the schema exists
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    _refuse_newer(_current(connection))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "postgresql":
        for late in _late_sequences(connection):
            connection.execute(_MOVE_SEQUENCE, {"name": late.name, "highest": late.highest})
        _revoke_api_roles(connection)


class _LateSequence(NamedTuple):
    """A sequence that would give a number which a row has already, and the highest of these."""

    name: str
    highest: int


def _late_sequences(connection: Connection) -> list[_LateSequence]:
    """The sequences behind their tables: logical replication and copies of rows leave them where they were."""
    found = connection.execute(_SEQUENCES, {"schema": SCHEMA}).all()
    late: list[_LateSequence] = []
    for sequence, table, column in found:
        given = connection.execute(text(f"SELECT last_value - (NOT is_called)::int FROM {sequence}")).scalar_one()  # noqa: S608  quoted
        highest = connection.execute(text(f"SELECT max({column}) FROM {table}")).scalar_one()  # noqa: S608  as above
        if highest is not None and highest > given:
            late.append(_LateSequence(sequence, highest))
    return late


def _has_schema(connection: Connection) -> bool:
    found = connection.execute(text("SELECT count(*) FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA})
    return bool(found.scalar_one())


def _refuse_hidden(connection: Connection) -> None:
    """Raise StateError if row level security hides our tables: a role that is not the owner reads them as empty."""
    if connection.dialect.name != "postgresql":
        return
    hidden = connection.execute(
        text(
            "SELECT current_user FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = :schema AND relname = :name AND row_security_active(pg_class.oid)"
        ),
        {"schema": SCHEMA, "name": VERSION_TABLE},
    ).scalar_one_or_none()
    if hidden is not None:
        raise StateError(
            f"row level security hides the state's tables from the role {hidden}",
            hint=f"name their owner in state.url, or: alter role {hidden} bypassrls",
        )


def _revoke_api_roles(connection: Connection) -> None:
    """Enable row level security and revoke all grants: Supabase's API roles read none of our tables."""
    roles = connection.execute(
        text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)"), {"names": list(API_ROLES)}
    ).scalars()
    for role in ["PUBLIC", *roles]:
        connection.execute(text(f"REVOKE ALL ON SCHEMA {SCHEMA} FROM {role}"))
        connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {role}"))
        connection.execute(text(f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {SCHEMA} FROM {role}"))
        connection.execute(text(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {SCHEMA} REVOKE ALL ON TABLES FROM {role}"))
    tables = connection.execute(
        text("SELECT tablename FROM pg_tables WHERE schemaname = :schema AND NOT rowsecurity"), {"schema": SCHEMA}
    ).scalars()
    for table in list(tables):
        connection.execute(text(f'ALTER TABLE {SCHEMA}."{table}" ENABLE ROW LEVEL SECURITY'))


@cache
def _script() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


def _current(connection: Connection) -> str | None:
    return _context(connection).get_current_revision()


def _context(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts=options(connection))


def options(connection: Connection) -> dict[str, Any]:
    """Return Alembic's options, for migrations and for comparing."""
    postgres = connection.dialect.name == "postgresql"

    def ours(name: str | None, kind: str, _parents: object) -> bool:
        if kind == "schema":
            return name == (SCHEMA if postgres else None)
        return kind != "table" or ((name or "").startswith("reconciler_") and name != VERSION_TABLE)

    return {
        "target_metadata": metadata if postgres else _without_schema(),
        "version_table": VERSION_TABLE,
        "version_table_schema": SCHEMA if postgres else None,
        "include_schemas": postgres,
        "include_name": ours,
        "transactional_ddl": True,
    }


@cache
def _without_schema() -> MetaData:
    """Return the same tables without a schema, as SQLite has them."""
    plain = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(plain, schema=None)  # type: ignore[arg-type]  # None removes the schema
    return plain
