"""Doctor on a real Postgres, as Supabase sets one up: roles, row level security, and who else may read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.cli.harness import US, CliHarness
from tests.cli.test_doctor import found
from tests.servers import Server

TABLE = """
create table customers (clerk_user_id text primary key, email text, email_verified boolean, first_name text,
                        last_name text, phone text, locale text, deleted_at timestamptz);
insert into customers values ('user_ada', 'ada@example.com', true, 'Ada', null, null, 'en-US', null);
"""


@pytest.fixture
def supabase(
    ready: CliHarness, postgres: Server, postgres_database: Callable[..., str]
) -> Iterator[psycopg.Connection]:
    """The profiles and the state in one Postgres."""
    url = postgres.url(postgres_database())
    ready.settings["state"] = {"url": url}
    ready.settings["profiles"] |= {"url": url, "table": "public.customers"}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        yield connection


@contextmanager
def role(connection: psycopg.Connection, name: str) -> Iterator[None]:
    """A role for as long as a test needs it: roles belong to the whole server, where another test may have made it."""
    there = connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone() is not None
    if not there:
        connection.execute(f"create role {name} nologin")
    try:
        yield
    finally:
        connection.execute(f"drop owned by {name}")
        if not there:
            connection.execute(f"drop role {name}")


@pytest.mark.slow
def test_a_superuser_is_more_than_a_reader_needs(ready: CliHarness, supabase: psycopg.Connection) -> None:
    assert supabase.closed is False
    assert ready("db", "upgrade").code == 0
    said = ready("doctor", "--output", "json")
    assert said.code == 0
    assert found(said, "profiles", "role")["level"] == "warning"
    assert "superuser" in found(said, "profiles", "role")["message"]
    assert found(said, "profiles", "rows")["message"] == "1 row"
    assert found(said, "state", "roles")["level"] == "ok"
    assert found(said, "state", "clocks")["level"] == "ok"
    assert found(said, US, "token")["level"] == "ok"


def test_profiles_that_the_public_key_shows_are_a_warning(ready: CliHarness, supabase: psycopg.Connection) -> None:
    with role(supabase, "anon"):
        supabase.execute("grant usage on schema public to anon; grant select on customers to anon")
        check = found(ready("doctor", "--output", "json"), "profiles", "RLS")
        assert check["level"] == "warning"
        assert check["hint"] == "alter table public.customers enable row level security;"
        supabase.execute("alter table customers enable row level security")
        checks = ready("doctor", "--output", "json").json["checks"]
        assert "RLS" not in {c["what"] for c in checks}


@pytest.mark.slow
def test_a_state_that_others_may_read_is_a_failure(ready: CliHarness, supabase: psycopg.Connection) -> None:
    assert ready("db", "upgrade").code == 0
    with role(supabase, "service_role"):
        supabase.execute("grant usage on schema reconciler to service_role")
        said = ready("doctor", "--output", "json")
        assert said.code == 1
        assert "service_role may use the schema reconciler" in found(said, "state", "roles")["message"]
        assert ready("db", "upgrade").code == 0
        assert ready("doctor", "--output", "json").code == 0
