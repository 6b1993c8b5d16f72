"""The state's schema: made once by any starter, the same from migrations and tables, and closed to Supabase's API roles."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.schema import CreateSchema

from reconciler import state
from reconciler.core.model.act import Act, Actor
from reconciler.core.model.ids import ShopDomain
from reconciler.errors import StateError
from reconciler.state.all_tables import metadata
from reconciler.state.database.engine import SCHEMA, open_engine
from reconciler.state.database.version import VERSION_TABLE, head, is_current
from reconciler.state.mirror.customers import MirrorTable
from reconciler.state.operations.acts import ActTable
from reconciler.state.schema import check, ensure_schema, upgrade
from reconciler.state.shops import ShopTable
from tests import servers
from tests.conftest import Database

MIGRATIONS = Path(state.__file__).with_name("migrations")
AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
STRANGERS = ("anon", "authenticated", "service_role")


@pytest.fixture
def opened() -> Iterator[Callable[[str], Engine]]:
    """Opens engines, and closes them after the test."""
    made: list[Engine] = []

    def make(url: str) -> Engine:
        made.append(open_engine(url))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


def test_an_empty_database_becomes_a_state_and_a_second_start_changes_nothing(
    database: Database, opened: Callable[[str], Engine]
) -> None:
    engine = opened(database.url)
    assert check(engine) == [
        f"it is at nothing, this program needs {ScriptDirectory(str(MIGRATIONS)).get_current_head()}"
    ]
    ensure_schema(engine)
    assert check(engine) == []
    before = _shape(database)
    ensure_schema(engine)
    upgrade(engine)
    assert _shape(database) == before


def test_two_simultaneous_starters_make_one_schema(database: Database, opened: Callable[[str], Engine]) -> None:
    engines = [opened(database.url) for _ in range(4)]
    gate = Barrier(len(engines))

    def start(engine: Engine) -> None:
        gate.wait(30)
        ensure_schema(engine)

    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(start, engines))
    assert check(engines[0]) == []


def test_what_each_command_asks_first_is_right_without_alembic(
    database: Database, opened: Callable[[str], Engine]
) -> None:
    assert head() == ScriptDirectory(str(MIGRATIONS)).get_current_head()
    engine = opened(database.url)
    assert not is_current(engine)
    ensure_schema(engine)
    assert is_current(engine)
    with engine.begin() as connection:
        prefix = "" if engine.dialect.name == "sqlite" else f"{SCHEMA}."
        connection.exec_driver_sql(f"UPDATE {prefix}{VERSION_TABLE} SET version_num = '0001'")
    assert not is_current(engine)


def test_migrations_lead_to_the_tables(
    database: Database, opened: Callable[[str], Engine], postgres_pair: Callable[[Database], Database]
) -> None:
    upgrade(opened(database.url))
    made = postgres_pair(database)
    engine = opened(made.url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(CreateSchema(SCHEMA))
        metadata.create_all(connection)
    assert _shape(database) == _shape(made)


@pytest.fixture
def postgres_pair(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Database], Database]:
    """A second empty database of the same kind."""

    def make(other: Database) -> Database:
        if other.backend == "sqlite":
            url = f"sqlite:///{tmp_path / 'other.db'}"
            return Database("sqlite", url, url)
        name = request.getfixturevalue("postgres_database")()
        url = request.getfixturevalue("postgres").url(name)
        return Database("postgres", url, url)

    return make


_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, co.collname, a.attidentity,
       pg_get_serial_sequence('reconciler.' || c.relname, a.attname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'reconciler'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE c.relkind = 'r' AND c.relname <> 'reconciler_version' ORDER BY 1, 2
"""
_INDEXES = (
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'reconciler' AND tablename <> 'reconciler_version' ORDER BY 1"
)


def _shape(database: Database) -> list[tuple[Any, ...]]:
    """All that a schema is, as the database itself tells it."""
    if database.backend != "sqlite":
        with psycopg.connect(database.direct) as connection:
            return [*connection.execute(_COLUMNS), *connection.execute(_INDEXES)]
    with closing(sqlite3.connect(database.url.removeprefix("sqlite:///"))) as connection:
        found: list[tuple[Any, ...]] = []
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'reconciler_%' ORDER BY 1"
        )
        for (table,) in sorted(tables.fetchall()):
            if table == "reconciler_version":
                continue
            columns = connection.execute(
                f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}') ORDER BY 1"
            )
            found += [(table, *column) for column in columns]
            found += [(table, "AUTOINCREMENT" in _sql(connection, table))]
        indexes = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
        return [*found, *((" ".join(str(sql).split()),) for (sql,) in connection.execute(indexes))]


def _sql(connection: sqlite3.Connection, table: str) -> str:
    return str(connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()[0])


def test_a_column_that_somebody_dropped_is_reported(state_database: Database, opened: Callable[[str], Engine]) -> None:
    engine = opened(state_database.url)
    prefix = "" if state_database.backend == "sqlite" else "reconciler."
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP INDEX {prefix}reconciler_mapping_waits")
        connection.exec_driver_sql(f"ALTER TABLE {prefix}reconciler_mapping DROP COLUMN waits_for_email")
    differences = "\n".join(check(engine))
    assert "waits_for_email" in differences
    assert "reconciler_mapping_waits" in differences


def test_a_sequence_behind_its_table_is_reported_and_moved(
    postgres: servers.Server, postgres_database: Callable[..., str], opened: Callable[[str], Engine]
) -> None:
    engine = opened(postgres.url(postgres_database(migrated=True)))
    acts = ActTable(engine)
    act = Act(AT, Actor("ada", "console"), "pause")
    acts.note_acts([act, act])
    assert check(engine) == []
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT setval('reconciler.reconciler_act_id_seq', 1, false)")
    with pytest.raises(StateError) as refused:
        acts.note_acts([act])
    assert refused.value.hint == "reconciler db check"
    assert "reconciler_act_id_seq" in "".join(check(engine))
    upgrade(engine)
    assert check(engine) == []
    acts.note_acts([act])


def _set_version(engine: Engine, version: str) -> None:
    prefix = "" if engine.dialect.name == "sqlite" else "reconciler."
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {prefix}reconciler_version SET version_num = '{version}'")


def test_a_newer_schema_is_refused(state_database: Database, opened: Callable[[str], Engine]) -> None:
    engine = opened(state_database.url)
    _set_version(engine, "9999")
    with pytest.raises(StateError, match="is at 9999, which is newer than this program") as caught:
        ensure_schema(engine)
    assert caught.value.hint == "upgrade customer-parity"


def test_an_older_schema_is_upgraded_on_sqlite_and_refused_on_postgres(
    database: Database, opened: Callable[[str], Engine]
) -> None:
    engine = opened(database.url)
    migrate_to(engine, "0001")
    if database.backend == "sqlite":
        ensure_schema(engine)
    else:
        with pytest.raises(StateError, match="is at 0001, this program needs") as caught:
            ensure_schema(engine)
        assert caught.value.hint == "reconciler db upgrade"
        assert len(check(engine)) == 1
        upgrade(engine)
    assert check(engine) == []


def test_phones_that_the_mirror_knew_before_are_known_by_their_key(
    database: Database, opened: Callable[[str], Engine]
) -> None:
    engine = opened(database.url)
    migrate_to(engine, "0006")
    prefix = "" if database.backend == "sqlite" else f"{SCHEMA}."
    seen = (
        ("c1", '{"email":"a@x.example.com","phone":"+15551234567"}'),
        ("c2", '{"metafields.x.phone":"+1"}'),
        ("c3", "{}"),
    )
    with engine.begin() as connection:
        for customer, observed in seen:
            connection.execute(
                text(
                    f"INSERT INTO {prefix}reconciler_mirror (shopify_shop, shopify_customer_id, observed, seen_at, "
                    "moved_at, source, gone) VALUES ('x', :customer, :observed, :at, :at, 'bulk', :gone)"
                ),
                {"customer": customer, "observed": observed, "at": "2026-11-01 09:00:00.000000", "gone": False},
            )
    upgrade(engine)
    state = MirrorTable(engine)
    assert state.known_phones(ShopDomain("x"), ["+15551234567", "+1"]) == {"+15551234567"}


def test_shops_that_the_state_knew_before_keep_their_name_as_their_key(
    database: Database, opened: Callable[[str], Engine]
) -> None:
    engine = opened(database.url)
    migrate_to(engine, "0012")
    prefix = "" if database.backend == "sqlite" else f"{SCHEMA}."
    columns = "clerk_user_id, store, status, generation, applied, refused, profile_digest, config_digest"
    with engine.begin() as connection:
        for shop, user, store in (("a", "user_1", "former"), ("a", "user_2", "other"), ("b", "user_1", "b-store")):
            connection.execute(
                text(
                    f"INSERT INTO {prefix}reconciler_mapping (shopify_shop, {columns})"
                    " VALUES (:shop, :user, :store, 'erased', 0, '{}', '{}', '', '')"
                ),
                {"shop": shop, "user": user, "store": store},
            )
        scanned = (
            f"INSERT INTO {prefix}reconciler_store (shopify_shop, store, last_sweep_at) VALUES (:shop, :store, :at)"
        )
        for shop, store in (("a", "a-store"), ("c", "c-store")):
            connection.execute(text(scanned), {"shop": shop, "store": store, "at": "2026-11-01 09:00:00.000000"})
    upgrade(engine)
    known = ShopTable(engine).known_shops()
    assert {(k.name, k.gid, k.key, k.store, k.named_at.year) for k in known} == {
        ("a", "", "a", "a-store", 2026),
        ("b", "", "b", "b-store", known[0].named_at.year),
        ("c", "", "c", "c-store", 2026),
    }
    assert known[0].name == "b"  # never scanned: older than all that was
    assert check(engine) == []


def migrate_to(engine: Engine, revision: str) -> None:
    """The schema as an older program made it."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_supabases_api_roles_see_nothing_of_the_state(
    postgres: servers.Server, postgres_database: Callable[..., str], opened: Callable[[str], Engine]
) -> None:
    name = postgres_database()
    with postgres.connect(name) as owner:
        for role in STRANGERS:
            if owner.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
                bypass = "BYPASSRLS" if role == "service_role" else ""
                owner.execute(f"CREATE ROLE {role} NOLOGIN {bypass}".encode())
            # what old projects have: every new table is granted to the API's roles
            for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
                owner.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {role}".encode())
        owner.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
        ensure_schema(opened(postgres.url(name)))
        tables = [row[0] for row in owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'reconciler'")]
        assert {"reconciler_mapping", "reconciler_token", "reconciler_version"} <= set(tables)
        for role in (*STRANGERS, "PUBLIC"):
            grantee = 0 if role == "PUBLIC" else f"(SELECT oid FROM pg_roles WHERE rolname = '{role}')"
            granted = owner.execute(
                f"""SELECT c.relname, p.privilege_type FROM pg_class c, aclexplode(c.relacl) p
                    WHERE c.relnamespace = 'reconciler'::regnamespace AND p.grantee = {grantee}""".encode()
            ).fetchall()
            assert granted == []
        for role in STRANGERS:
            with owner.transaction():
                owner.execute(f"SET LOCAL ROLE {role}".encode())
                for table in tables:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
                        owner.execute(f"SELECT * FROM reconciler.{table}".encode())
        unguarded = owner.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'reconciler' AND NOT rowsecurity"
        ).fetchall()
        assert unguarded == []
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            for role in STRANGERS:
                owner.execute(f"ALTER DEFAULT PRIVILEGES REVOKE ALL ON {kind} FROM {role}".encode())


def test_a_role_that_row_level_security_shows_nothing_is_refused(
    postgres: servers.Server, postgres_database: Callable[..., str], opened: Callable[[str], Engine]
) -> None:
    name = postgres_database(migrated=True)
    with postgres.connect(name) as owner:
        if owner.execute("SELECT 1 FROM pg_roles WHERE rolname = 'runner'").fetchone() is None:
            owner.execute("CREATE ROLE runner LOGIN")
        owner.execute("GRANT USAGE ON SCHEMA reconciler TO runner")
        owner.execute("GRANT ALL ON ALL TABLES IN SCHEMA reconciler TO runner")
    engine = opened(postgres.url(name, user="runner"))
    with pytest.raises(StateError, match="hides the state's tables from the role runner") as caught:
        ensure_schema(engine)
    assert "alter role runner bypassrls" in caught.value.hint


def test_a_role_that_may_create_only_in_the_schema_made_for_it_can_make_the_state(
    postgres: servers.Server, postgres_database: Callable[..., str], opened: Callable[[str], Engine]
) -> None:
    name = postgres_database()
    with postgres.connect(name) as owner:
        if owner.execute("SELECT 1 FROM pg_roles WHERE rolname = 'runner'").fetchone() is None:
            owner.execute("CREATE ROLE runner LOGIN")
        engine = opened(postgres.url(name, user="runner"))
        with pytest.raises(StateError, match="permission denied") as caught:
            ensure_schema(engine)
        assert "reconciler" in caught.value.hint
        owner.execute("CREATE SCHEMA reconciler AUTHORIZATION runner")
    ensure_schema(engine)
    assert check(engine) == []
