"""The SQL for Supabase, executed on a real Postgres: who sees and writes which rows, and how changes are reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from reconciler.settings import Settings
from reconciler.supabase.outbox import outbox_sql
from tests import servers
from tests.docs.test_docs import text_of
from tests.standards.tree import ROOT

SUPABASE = ROOT / "config/supabase"
MIGRATIONS = sorted((SUPABASE / "migrations").glob("*.sql"))
USERS = "select clerk_user_id from public.customers order by 1"
API = ("anon", "authenticated", "service_role")


@dataclass(frozen=True, slots=True)
class Project:
    """A database after the migrations, with two users."""

    server: servers.Server
    name: str

    def run_file(self, path: Path) -> None:
        with self.server.connect(self.name) as connection:
            connection.execute(path.read_bytes())

    def run(self, statement: str, *, role: str = "postgres", sub: str | None = None) -> list[Any]:
        """As PostgREST does it: one transaction as the role, with the claims of the request."""
        with psycopg.connect(self.server.url(self.name)) as connection:
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            claims = json.dumps({"sub": sub, "role": role}) if sub else ""
            connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            done = connection.execute(statement.encode())
            return [row[0] for row in done] if done.description else []

    def refuses(self, statement: str, *, role: str, sub: str | None = None) -> bool:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            self.run(statement, role=role, sub=sub)
        return True


@pytest.fixture
def project(postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[Project]:
    found = Project(postgres, postgres_database())
    found.run_file(SUPABASE / "local/stand_ins.sql")
    with postgres.connect(found.name) as connection:
        for role in API:  # old projects grant every new table to the roles of the API
            connection.execute(f"alter default privileges in schema public grant all on tables to {role}".encode())
    for path in MIGRATIONS:
        found.run_file(path)
    found.run(
        "insert into public.customers (clerk_user_id, email, email_verified) "
        "values ('user_ada', 'ada@example.com', true), ('user_bob', 'bob@example.com', true)",
        role="service_role",
    )
    yield found
    for role in ("reconciler_reader", "reconciler_state"):  # roles belong to the whole server
        with postgres.connect(found.name) as connection:
            connection.execute(f"drop owned by {role} cascade; drop role {role}".encode())


def test_a_user_sees_their_own_row_only_and_writes_none(project: Project) -> None:
    assert project.run(USERS, role="authenticated", sub="user_ada") == ["user_ada"]
    assert project.run(USERS, role="authenticated", sub="user_eve") == []
    assert project.run(USERS, role="authenticated") == []
    assert project.refuses(USERS, role="anon")
    for statement in (
        "update public.customers set email = 'bob@example.com' where clerk_user_id = 'user_ada'",
        "insert into public.customers (clerk_user_id) values ('user_eve')",
        "delete from public.customers",
    ):
        assert project.refuses(statement, role="authenticated", sub="user_ada")
    assert project.run(USERS, role="service_role") == ["user_ada", "user_bob"]


def test_the_reading_role_reads_every_row_and_writes_none(project: Project) -> None:
    assert project.run(USERS, role="reconciler_reader") == ["user_ada", "user_bob"]
    assert project.refuses("update public.customers set email = null", role="reconciler_reader")
    assert project.refuses("create table public.mine ()", role="reconciler_reader")


def test_the_role_of_the_state_makes_its_own_schema_and_reads_no_profile(project: Project) -> None:
    project.run("create schema reconciler; create table reconciler.mine ()", role="reconciler_state")
    assert project.refuses(USERS, role="reconciler_state")
    for role in API:
        assert project.refuses("select * from reconciler.mine", role=role)


def test_with_upserts_the_reader_writes_rows_and_deletes_none(project: Project) -> None:
    project.run_file(SUPABASE / "optional/upsert_profiles.sql")
    project.run("insert into public.customers (clerk_user_id) values ('user_new')", role="reconciler_reader")
    project.run("update public.customers set first_name = 'Ada'", role="reconciler_reader")
    assert project.run("select first_name from public.customers", role="service_role") == ["Ada"] * 3
    assert project.refuses("delete from public.customers", role="reconciler_reader")


def test_the_outbox_reports_a_change_to_the_reader_alone(project: Project) -> None:
    project.run_file(SUPABASE / "optional/outbox.sql")
    project.run(
        "update public.customers set email = 'new@example.com' where clerk_user_id = 'user_ada'", role="service_role"
    )
    told = "select clerk_user_id from reconciler_outbox.outbox"
    assert project.run(told, role="reconciler_reader") == ["user_ada"]
    for role in API:
        assert project.refuses(told, role=role)


def test_the_webhook_sends_what_the_endpoint_reads(project: Project) -> None:
    project.run_file(SUPABASE / "optional/webhook.sql")
    project.run("delete from public.customers where clerk_user_id = 'user_bob'", role="service_role")
    ((url, body),) = [
        (row["url"], row["body"]) for row in project.run("select to_jsonb(s) from supabase_functions.sent s")
    ]
    assert url.endswith("/webhooks/supabase")
    assert (body["schema"], body["table"], body["old_record"]["clerk_user_id"]) == ("public", "customers", "user_bob")


def test_the_outbox_is_the_one_that_the_command_prints() -> None:
    printed = outbox_sql("public.customers", "clerk_user_id", "reconciler_reader")
    assert (SUPABASE / "optional/outbox.sql").read_text(encoding="utf-8") == printed


def test_the_trial_can_be_repeated_on_a_database_of_its_own(project: Project) -> None:
    project.run("truncate public.customers")
    project.run_file(SUPABASE / "local/trial.sql")
    assert len(project.run(USERS, role="reconciler_reader")) == 3


def test_the_columns_are_those_that_the_settings_map_by_default(project: Project) -> None:
    columns = project.run(
        "select attname from pg_attribute where attrelid = 'public.customers'::regclass and attnum > 0"
    )
    assert set(Settings(version=1).profiles.columns.values()) <= set(columns)


def test_every_file_is_named_in_the_docs() -> None:
    pages = text_of("docs/deploy.md") + text_of("docs/tasks/connect-clerk.md")
    for path in (*(SUPABASE / "optional").iterdir(), *MIGRATIONS, SUPABASE / "config.toml"):
        assert path.name in pages, path.name
