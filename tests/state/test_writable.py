"""Readiness asks whether the state can be written: each table that webhooks and reconciles write, and each kind of write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import Engine

from reconciler.errors import StateError
from reconciler.state.database.engine import open_engine
from reconciler.state.writable import check_writable
from tests import servers

NOW = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
TRIED = ("reconciler_request", "reconciler_mapping", "reconciler_event")


@pytest.fixture
def owner(postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[psycopg.Connection]:
    with postgres.connect(postgres_database(migrated=True)) as connection:
        connection.execute("CREATE ROLE writer LOGIN BYPASSRLS; GRANT USAGE ON SCHEMA reconciler TO writer")
        for kind in (b"TABLES", b"SEQUENCES"):
            connection.execute(b"GRANT ALL ON ALL " + kind + b" IN SCHEMA reconciler TO writer")
        try:
            yield connection
        finally:
            connection.execute("DROP OWNED BY writer; DROP ROLE writer")


@pytest.fixture
def engine(postgres: servers.Server, owner: psycopg.Connection) -> Iterator[Engine]:
    engine = open_engine(postgres.url(owner.info.dbname, user="writer"))
    yield engine
    engine.dispose()


def test_a_table_that_refuses_a_write_is_named_and_nothing_stays(owner: psycopg.Connection, engine: Engine) -> None:
    owner.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'no space left in %', tg_table_name USING ERRCODE = 'disk_full'; END $$"
    )
    check_writable(engine, now=NOW)
    for table in TRIED:
        for write in ("INSERT", "UPDATE", "DELETE"):
            owner.execute(
                f"CREATE TRIGGER refuses BEFORE {write} ON reconciler.{table} "
                "FOR EACH ROW EXECUTE FUNCTION full_disk()".encode()
            )
            with pytest.raises(StateError, match=f"no space left in {table}"):
                check_writable(engine, now=NOW)
            owner.execute(f"DROP TRIGGER refuses ON reconciler.{table}".encode())
        assert owner.execute(f"SELECT count(*) FROM reconciler.{table}".encode()).fetchone() == (0,)
    check_writable(engine, now=NOW)


def test_a_table_that_drops_a_write_without_an_error_is_named(owner: psycopg.Connection, engine: Engine) -> None:
    owner.execute("CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    for table in TRIED:
        for write in ("INSERT", "UPDATE", "DELETE"):
            owner.execute(
                f"CREATE TRIGGER drops BEFORE {write} ON reconciler.{table} FOR EACH ROW EXECUTE FUNCTION drop_it()".encode()
            )
            with pytest.raises(StateError, match=f"{table} drops each {write.lower()}") as dropped:
                check_writable(engine, now=NOW)
            assert table in dropped.value.hint
            owner.execute(f"DROP TRIGGER drops ON reconciler.{table}".encode())
    check_writable(engine, now=NOW)


def test_a_right_that_was_revoked_is_named_for_each_table(owner: psycopg.Connection, engine: Engine) -> None:
    for table in (*TRIED, "reconciler_lease", "reconciler_fencing"):
        for right in ("INSERT", "UPDATE", "DELETE"):
            owner.execute(f"REVOKE {right} ON reconciler.{table} FROM writer".encode())
            with pytest.raises(StateError, match=table) as refused:
                check_writable(engine, now=NOW)
            assert "grant" in refused.value.hint
            owner.execute(f"GRANT {right} ON reconciler.{table} TO writer".encode())
    check_writable(engine, now=NOW)


def test_a_role_that_row_level_security_hides_the_tables_from_has_a_way_out(
    owner: psycopg.Connection, engine: Engine
) -> None:
    owner.execute("ALTER ROLE writer NOBYPASSRLS")
    with pytest.raises(StateError, match="row-level security") as refused:
        check_writable(engine, now=NOW)
    assert "bypassrls" in refused.value.hint
