"""Columns of types that can't hold what is mapped to them: unreadable, with column, type and what to do."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.supabase.reading.profiles import TableProfiles
from tests.servers import Server

KEY = {"clerk_user_id": "id"}
TYPES = """
create type person as (first text, last text);
create domain names as text[];
create domain short as varchar(40);
create domain shorter as short check (length(value) < 30);
create type mood as enum ('calm', 'Ada');
"""
MISFITS = [
    ("first_name", "person", "row('Ada', 'Byron')::person", "person, a composite type"),
    ("full_name", "person", "row('Ada', 'Byron')::person", "person, a composite type"),
    ("email", "text[]", "array['ada@example.com']", "text[], an array"),
    ("email", "names", "array['ada@example.com']", "names, an array"),
    ("email", "bytea", "'ada@example.com'::bytea", "bytea"),
    ("email", "jsonb", "'\"ada@example.com\"'::jsonb", "jsonb"),
    ("phone", "integer", "491701234", "integer, a number"),
    ("phone", "bytea", "'\\x00ff'::bytea", "bytea"),
    ("phone", "int8range", "'[1,2)'::int8range", "int8range, a range"),
    ("last_name", "point", "'(1,2)'::point", "point, a geometric type"),
    ("note", "interval", "'1 day'::interval", "interval, an interval"),
    ("note", "xml", "'<a/>'::xml", "xml"),
    ("metadata", "jsonb[]", "array['{}'::jsonb]", "jsonb[], an array"),
    ("metadata", "integer", "5", "integer, a number"),
    ("updated_at", "tstzrange", "'[2026-01-01,)'::tstzrange", "tstzrange, a range"),
    ("updated_at", "time", "'10:00'::time", "time without time zone, a time"),
    ("deleted_at", "timestamptz[]", "array[now()]", "timestamp with time zone[], an array"),
    ("email_verified", "jsonb", "'true'::jsonb", "jsonb"),
]
FITTING = [
    ("email", "short", "'ada@example.com'", "ada@example.com"),
    ("email", "shorter", "'ada@example.com'", "ada@example.com"),
    ("email", "char(64)", "'ada@example.com'", "ada@example.com"),
    ("first_name", "mood", "'Ada'", "Ada"),
    ("first_name", "char(20)", "'Ada'", "Ada"),
    ("email_verified", "text", "'true'", True),
    ("email_verified", "timestamptz", "now()", True),
    ("email_verified", "smallint", "1", True),
    ("metadata", "json", "'{\"a\": 1}'", {"a": 1}),
    ("metadata", "text", "'{\"a\": 1}'", {"a": 1}),
    ("metadata", "jsonb", "'{\"a\": 1}'", {"a": 1}),
]


@pytest.fixture
def database(postgres: Server, postgres_database: Callable[..., str]) -> Iterator[tuple[str, psycopg.Connection]]:
    url = postgres.url(postgres_database())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TYPES)
        yield url, connection


def the_one(url: str, field: str, table: str = "customers") -> Profile:
    reader = TableProfiles(url, table, KEY | {field: "value"})
    found = reader.get([ClerkUserId("user_1"), ClerkUserId("user_2")])
    (scanned,) = [p for profiles in reader.scan() for p in profiles if p.clerk_user_id == "user_1"]
    reader.close()
    assert found[ClerkUserId("user_2")].problems == ()  # null is null in any type
    assert scanned == found[ClerkUserId("user_1")]
    return scanned


def test_what_a_type_can_not_hold_is_unreadable_and_says_so(database: tuple[str, psycopg.Connection]) -> None:
    url, connection = database
    for field, type_, value, said in MISFITS:
        connection.execute(f"create table customers (id text primary key, value {type_})".encode())
        connection.execute(f"insert into customers values ('user_1', {value}), ('user_2', null)".encode())
        profile = the_one(url, field)
        messages = {problem.message for problem in profile.problems}
        column = f"{field} is mapped to the column value of type {said}: map a column of "
        assert len(messages) == 1, (field, type_)
        assert messages.pop().startswith(column), (field, type_, profile.problems)
        assert not profile.deleted
        connection.execute("drop table customers")


def test_what_a_type_can_hold_is_read(database: tuple[str, psycopg.Connection]) -> None:
    url, connection = database
    for field, type_, value, read in FITTING:
        connection.execute(f"create table customers (id text primary key, value {type_})".encode())
        connection.execute(f"insert into customers values ('user_1', {value}), ('user_2', null)".encode())
        profile = the_one(url, field)
        assert profile.problems == (), (field, type_)
        assert getattr(profile, field) == read, (field, type_)
        connection.execute("drop table customers")


def test_whole_rows_in_a_view_are_unreadable(database: tuple[str, psycopg.Connection]) -> None:
    url, connection = database
    connection.execute("create table people (id text, name text)")
    connection.execute("insert into people values ('user_1', 'Ada'), ('user_2', null)")
    connection.execute(
        "create view customers as select id, case when name is not null then people end as value from people"
    )
    (problem,) = the_one(url, "first_name").problems
    assert "of type people, a composite type" in problem.message
