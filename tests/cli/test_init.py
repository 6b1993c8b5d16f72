"""Init: from the database of the usual starters to settings files with which a plan works."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from reconciler.cli.main import run
from reconciler.settings import load
from tests.cli.harness import US, CliHarness
from tests.servers import Server

SUPABASE = """
create table users (id text primary key, email text, email_verified boolean, first_name text, last_name text,
                    avatar_url text, metadata jsonb, created_at timestamptz, updated_at timestamptz default now());
insert into users values ('user_2abcdefg', 'ada@example.com', true, 'Ada', 'Lovelace', 'https://x/a.png', '{}', now());
create table tasks (id serial primary key, user_id text, name text);
insert into tasks (user_id, name) values ('user_2abcdefg', 'write a program');
"""
PRISMA = """
create table "User" (id text primary key, "clerkId" text unique, "emailAddress" text, "emailVerified" timestamp,
                     name text, "imageUrl" text, "phoneNumber" text, "updatedAt" timestamp(3));
insert into "User" values ('clx1', 'user_2abcdefg', 'ada@example.com', now(), 'Ada Lovelace', '', '+1613', now());
create table "Account" (id text, "userId" text, provider text);
"""
DRIZZLE = """
create table users_table (id serial primary key, clerk_id varchar(64), email varchar(320), display_name text,
                          language text, is_email_verified text);
insert into users_table values (1, 'user_2abcdefg', 'ada@example.com', 'Ada', 'en', 'verified');
"""


def guessed(folder: Path) -> dict[str, str]:
    loaded = load(folder / "config.yaml", folder / "stores.yaml", {"RECONCILER_PROFILES_URL": "postgresql://x/y"})
    return dict(loaded.settings.profiles.columns)


def init(folder: Path, *words: str) -> int:
    return run(["--config", str(folder / "config.yaml"), "--stores", str(folder / "stores.yaml"), "init", *words])


@pytest.mark.parametrize(
    ("tables", "table", "columns", "trust"),
    [
        (
            SUPABASE,
            "public.users",
            {
                "clerk_user_id": "id", "email": "email", "email_verified": "email_verified", "first_name": "first_name",
                "last_name": "last_name", "image_url": "avatar_url", "metadata": "metadata", "updated_at": "updated_at",
            },
            "verified",
        ),
        (
            PRISMA,
            "public.User",
            {
                "clerk_user_id": "clerkId", "email": "emailAddress", "full_name": "name", "image_url": "imageUrl",
                "phone": "phoneNumber", "updated_at": "updatedAt",
            },
            "never",
        ),
        (
            DRIZZLE,
            "public.users_table",
            {
                "clerk_user_id": "clerk_id", "email": "email", "full_name": "display_name", "locale": "language",
                "email_verified": "is_email_verified",
            },
            "verified",
        ),
    ],
    ids=["supabase", "prisma", "drizzle"],
)  # fmt: skip
def test_the_tables_of_the_usual_starters_are_recognised(
    tables: str,
    table: str,
    columns: dict[str, str],
    trust: str,
    postgres: Server,
    postgres_database: Callable[..., str],
    tmp_path: Path,
) -> None:
    url = postgres.url(postgres_database())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(tables)
    assert init(tmp_path, "--profiles-url", url) == 0
    assert guessed(tmp_path) == columns
    environment = {"RECONCILER_PROFILES_URL": url}
    profiles = load(tmp_path / "config.yaml", tmp_path / "stores.yaml", environment).settings.profiles
    assert (profiles.table, profiles.trust_email) == (table, trust)
    assert url not in (tmp_path / "config.yaml").read_text()


def test_what_was_guessed_and_what_was_not_is_said_with_the_reason(
    postgres: Server, postgres_database: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url(postgres_database())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(PRISMA)
    assert init(tmp_path, "--profiles-url", url) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "✓ clerk_user_id clerkId (its values begin with user_)" in said
    assert "– email_verified emailVerified is timestamp, not a yes or no" in said
    assert "none finds an existing customer: see trust_email" in said
    assert "guessed: its values begin with user_" in (tmp_path / "config.yaml").read_text()


def test_from_a_database_to_a_first_plan(cli: CliHarness, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    url = f"sqlite:///{cli.folder / 'profiles.db'}"
    with closing(sqlite3.connect(cli.folder / "profiles.db")) as connection, connection:
        connection.execute("update customers set clerk_user_id = clerk_user_id || '_2abcdefg'")
        connection.execute("update customers set clerk_user_id = replace(clerk_user_id, 'user_', 'user_2')")
        connection.execute("update customers set clerk_user_id = replace(clerk_user_id, '_2abcdefg', '2abcdefg')")
    assert init(folder, "--profiles-url", url, "--shop", f"{US}.myshopify.com") == 0
    stores = folder / "stores.yaml"
    text = stores.read_text().replace(
        "webhook_secret:", f"admin_url: {cli.server.url(f'{US}.myshopify.com')}\n    webhook_secret:"
    )
    stores.write_text(text.replace("${ACME_US_TOKEN:-}", f"token-{US}"))
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("sqlite:///var/reconciler.db", f"sqlite:///{folder / 'state.db'}"))
    files = ["--config", str(config), "--stores", str(stores)]
    assert run([*files, "bootstrap", "--yes"]) == 0
    assert run([*files, "plan", "--detailed-exitcode"]) == 2


@pytest.mark.parametrize("there", ["config.yaml", "stores.yaml"])
def test_a_file_that_exists_is_not_overwritten_and_nothing_else_is_written(
    cli: CliHarness, tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / there).write_text("mine")
    assert init(folder, "--profiles-url", f"sqlite:///{cli.folder / 'profiles.db'}", "--table", "customers") == 64
    assert "is not overwritten" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [there]
    assert (folder / there).read_text() == "mine"


def test_a_database_without_clerk_user_ids_says_how_to_name_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("create table people (id integer primary key, email text)")
    url = f"sqlite:///{tmp_path / 'app.db'}"
    assert init(tmp_path, "--profiles-url", url) == 1
    assert "init --table NAME (tables: people)" in capsys.readouterr().err
    assert not (tmp_path / "config.yaml").exists()
    assert init(tmp_path, "--profiles-url", url, "--table", "people") == 0
    assert "clerk_user_id: CHANGE_ME" in (tmp_path / "config.yaml").read_text()
    assert "set columns.clerk_user_id in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 64, "no database is named"),
        (("--profiles-url", "sqlite:///nowhere.db"), 1, "nowhere.db"),
        (("--profiles-url", "sqlite:///nowhere.db", "--shop", "acme.com"), 64, "is not a shop domain"),
    ],
)
def test_what_is_missing_is_said_with_a_hint(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path, *words) == code
    error = capsys.readouterr().err
    assert said in error
    assert "hint:" in error
