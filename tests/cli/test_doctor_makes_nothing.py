"""Doctor makes nothing: not the state's file, folder or tables, whether there is a state, none, an older or a newer one."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.cli.harness import US, CliHarness
from tests.cli.test_doctor import found
from tests.cli.test_doctor_postgres import role
from tests.servers import Server

VERSION = "reconciler_version"


def content(folder: Path) -> dict[str, str]:
    """All files below, and what is in them; not the settings that each command is given."""
    files = (path for path in folder.rglob("*") if path.suffix not in {".yaml", ".json"})
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in sorted(files)
    }


def tables(connection: psycopg.Connection) -> list[tuple[str, ...]]:
    query = "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
    return sorted(connection.execute(query).fetchall())


def test_without_a_state_no_file_and_no_folder_is_made(cli: CliHarness) -> None:
    cli.settings["state"] = {"url": f"sqlite:///{cli.folder / 'var' / 'deep' / 'state.db'}"}
    before = content(cli.folder)
    said = cli("doctor", "--output", "json")
    assert content(cli.folder) == before
    assert found(said, "state", "database")["level"] == "ok"
    assert "not created yet" in found(said, "state", "database")["message"]
    assert "creates it" in found(said, "state", "schema")["message"]
    assert found(said, US, "guards")["level"] == "ok"
    assert found(said, US, "token")["level"] == "ok"


def test_an_apps_own_file_is_left_as_it_is(cli: CliHarness) -> None:
    cli.settings["state"] = {"url": cli.settings["profiles"]["url"]}
    before = content(cli.folder)
    said = cli("doctor", "--output", "json")
    assert content(cli.folder) == before
    assert "creates it" in found(said, "state", "schema")["message"]


@pytest.mark.parametrize(
    ("version", "level", "hint"),
    [("0002", "warning", "reconciler db upgrade"), ("9999", "failed", "upgrade customer-parity")],
)
def test_an_older_or_newer_file_is_named_and_left_as_it_is(
    cli: CliHarness, version: str, level: str, hint: str
) -> None:
    assert cli("db", "upgrade").code == 0
    with closing(sqlite3.connect(cli.folder / "state.db")) as connection, connection:
        connection.execute(f"update {VERSION} set version_num = ?", [version])
    before = content(cli.folder)
    said = cli("doctor", "--output", "json")
    assert content(cli.folder) == before
    check = found(said, "state", "schema")
    assert (check["level"], version in check["message"], hint in check["hint"]) == (level, True, True)
    assert found(said, US, "token")["level"] == "ok"


@pytest.mark.slow
def test_on_postgres_no_schema_is_made_and_none_is_upgraded(
    cli: CliHarness, postgres: Server, postgres_database: Callable[..., str]
) -> None:
    url = postgres.url(postgres_database())
    cli.settings["state"] = {"url": url}
    with psycopg.connect(url, autocommit=True) as connection:
        said = cli("doctor", "--output", "json")
        assert tables(connection) == []
        assert "creates it" in found(said, "state", "schema")["message"]
        assert cli("db", "upgrade").code == 0
        for version, hint in (("0002", "reconciler db upgrade"), ("9999", "upgrade customer-parity")):
            connection.execute(f"update reconciler.{VERSION} set version_num = %s".encode(), [version])
            before = tables(connection)
            said = cli("doctor", "--output", "json")
            assert said.code == 1
            check = found(said, "state", "schema")
            assert (check["level"], check["hint"]) == ("failed", hint)
            assert tables(connection) == before


def test_a_role_that_may_make_no_schema_gets_the_sql(
    cli: CliHarness, postgres: Server, postgres_database: Callable[..., str]
) -> None:
    name = postgres_database()
    with psycopg.connect(postgres.url(name), autocommit=True) as connection, role(connection, "stater"):
        connection.execute("alter role stater login")
        cli.settings["state"] = {"url": postgres.url(name, user="stater")}
        check = found(cli("doctor", "--output", "json"), "state", "database")
        assert check["level"] == "failed"
        assert "stater may make no schema" in check["message"]
        connection.execute(check["hint"].encode())
        assert found(cli("doctor", "--output", "json"), "state", "database")["level"] == "ok"
        assert cli("db", "upgrade").code == 0


def test_a_state_that_row_level_security_hides_is_no_absent_one(
    cli: CliHarness, postgres: Server, postgres_database: Callable[..., str]
) -> None:
    name = postgres_database()
    cli.settings["state"] = {"url": postgres.url(name)}
    assert cli("db", "upgrade").code == 0
    with psycopg.connect(postgres.url(name), autocommit=True) as connection, role(connection, "peeper"):
        connection.execute("alter role peeper login; grant usage on schema reconciler to peeper")
        connection.execute("grant select on all tables in schema reconciler to peeper")
        cli.settings["state"] = {"url": postgres.url(name, user="peeper")}
        check = found(cli("doctor", "--output", "json"), "state", "database")
        assert check["level"] == "failed"
        assert "row level security hides" in check["message"]


def test_a_rotating_token_is_not_used_up_where_the_new_one_could_not_be_kept(cli: CliHarness) -> None:
    cli.stores[US]["auth"] = {"client_id": "id", "client_secret": "secret", "refresh_token": "rotates"}
    said = cli("doctor", "--output", "json")
    assert said.code == 1
    check = found(said, US, "shop")
    assert "stored in the state" in check["message"]
    assert "db upgrade" in check["hint"]
