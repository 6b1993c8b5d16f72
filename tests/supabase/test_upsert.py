"""The profile row that the webhook path writes: on SQLite, on Postgres, and through a transaction pooler."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event, text

from reconciler.controller.profile_rows.writer import without_values
from reconciler.core.decide.profile_rows.merge import Values, clerk_values
from reconciler.core.decide.profile_rows.write import RowWrite, RowWritten
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Problem, Profile
from reconciler.errors import ConfigError, PermanentError, ReconcilerError, TemporaryError
from reconciler.state.database.engine import open_engine
from reconciler.supabase.reading.profiles import TableProfiles
from reconciler.supabase.writing.engine import open_writer
from reconciler.supabase.writing.upsert import ProfileUpserts
from tests.conftest import Database

USER = ClerkUserId("user_tove")
TRIES = 5
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CLERK = frozenset(
    {"email", "email_verified", "first_name", "last_name", "phone", "image_url", "locale", "updated_at", "metadata"}
)
COLUMNS = {
    "clerk_user_id": "clerk_user_id",
    "email": "email",
    "email_verified": "email_verified",
    "first_name": "first_name",
    "last_name": "last_name",
    "phone": "phone",
    "image_url": "avatar_url",
    "locale": "locale",
    "note": "note",
    "updated_at": "updated_at",
    "deleted_at": "deleted_at",
    "metadata": "metadata",
}
SQLITE_TABLE = """CREATE TABLE customers (clerk_user_id TEXT PRIMARY KEY, email TEXT, email_verified BOOLEAN,
    first_name TEXT, last_name TEXT, phone TEXT, avatar_url TEXT, locale TEXT, note TEXT DEFAULT 'ours',
    updated_at TIMESTAMP, deleted_at TIMESTAMP, metadata JSON, points INTEGER NOT NULL DEFAULT 3)"""
POSTGRES_TABLE = """CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, email text, email_verified boolean,
    first_name text, last_name text, phone text, avatar_url text, locale text, note text DEFAULT 'ours',
    updated_at timestamptz, deleted_at timestamptz, metadata jsonb, points integer NOT NULL DEFAULT 3)"""


def person(**changes: Any) -> Profile:
    known: dict[str, Any] = {
        "clerk_user_id": USER,
        "mapped": CLERK,
        "email": "tove@tove.example",
        "email_verified": True,
        "first_name": "Tove",
        "last_name": "Ærø",
        "phone": "+4531415926",
        "image_url": "https://img.example/t.png",
        "locale": "da-DK",
        "updated_at": NOON,
        "metadata": {"brand": "acme"},
    }
    return Profile(**(known | changes))


class Upserts(ProfileUpserts):
    def put(self, profile: Profile, *, last: Values | None = None, fill_only: bool = False) -> str:
        """Write, and give the outcome alone. As in `run`, what failed for a moment is done again."""
        for left in reversed(range(TRIES)):
            try:
                return self.write_together([RowWrite(profile, last, fill_only)])[0].outcome
            except TemporaryError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")


@dataclass
class World:
    """A profiles' table, what writes it, and eyes on it that are not the product's."""

    database: Database
    engine: Engine
    columns: dict[str, str]

    @property
    def sqlite(self) -> bool:
        return self.database.backend == "sqlite"

    @property
    def table(self) -> str:
        return "customers" if self.sqlite else "public.customers"

    def run(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    def row(self) -> dict[str, Any]:
        (found,) = self.run("SELECT * FROM customers")
        return found

    def stored_json(self) -> Any:
        """The metadata as JSON, whatever the column gives."""
        found = self.row()["metadata"]
        return json.loads(found) if self.sqlite and isinstance(found, str) else found

    def upserts(self, **columns: str | None) -> Upserts:
        chosen = {ours: theirs for ours, theirs in (self.columns | columns).items() if theirs is not None}
        return Upserts(self.engine, self.table, chosen)

    def read_back(self, **columns: str | None) -> Profile:
        chosen = {ours: theirs for ours, theirs in (self.columns | columns).items() if theirs is not None}
        with closing(TableProfiles(self.database.url, self.table, chosen)) as profiles:
            return profiles.get([USER])[USER]

    def table_is(self, sqlite: str, postgres: str) -> None:
        self.run("DROP TABLE customers")
        self.run(sqlite if self.sqlite else postgres)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    if database.backend == "sqlite":
        Path(database.url.removeprefix("sqlite:///")).touch()
    engine = open_writer(database.url)
    made = World(database, engine, dict(COLUMNS))
    made.run(SQLITE_TABLE if made.sqlite else POSTGRES_TABLE)
    yield made
    engine.dispose()


def at(value: Any) -> datetime:
    """A time as the driver gives it, aware."""
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(parsed, datetime)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed


def test_a_new_user_gets_a_row_that_reads_back_as_written(world: World) -> None:
    upserts = world.upserts()
    upserts.check()
    assert upserts.put(person()) == "written"
    found = world.read_back()
    for name in CLERK:
        assert getattr(found, name) == getattr(person(), name), name
    assert world.row()["points"] == 3


def test_only_mapped_columns_are_written_and_none_that_is_not_clerks(world: World) -> None:
    world.run("INSERT INTO customers (clerk_user_id, phone, note, points) VALUES ('user_tove', '1', 'mine', 9)")
    assert world.upserts(phone=None, locale=None).put(person()) == "written"
    row = world.row()
    assert (row["phone"], row["note"], row["points"], row["locale"]) == ("1", "mine", 9, None)
    assert row["first_name"] == "Tove"


def test_the_same_change_twice_is_written_once(world: World) -> None:
    upserts = world.upserts()
    assert [upserts.put(person()) for _ in range(3)] == ["written", "kept", "kept"]


def test_the_table_that_is_written_is_the_one_that_is_read_whatever_the_search_path(world: World) -> None:
    if world.sqlite:
        return
    name = world.database.url.rpartition("/")[2]
    world.run("CREATE SCHEMA app")
    world.run("CREATE TABLE app.customers (LIKE public.customers INCLUDING ALL)")
    world.run(f"ALTER ROLE postgres IN DATABASE {name} SET search_path = app, public")
    engine = open_writer(world.database.url)
    upserts = Upserts(engine, "customers", world.columns)
    upserts.check()
    assert upserts.put(person()) == "written"
    engine.dispose()
    assert world.run("SELECT clerk_user_id FROM public.customers") == [{"clerk_user_id": USER}]
    assert world.run("SELECT clerk_user_id FROM app.customers") == []


def test_a_value_that_clerk_removed_becomes_the_default_of_a_column_that_is_never_null(world: World) -> None:
    """As frameworks make them: `text not null default ''`. The rest of the row must not wait for it."""
    empty = "NOT NULL DEFAULT '(none)'"
    world.table_is(
        SQLITE_TABLE.replace("last_name TEXT", f"last_name TEXT {empty}"),
        POSTGRES_TABLE.replace("last_name text", f"last_name text {empty}"),
    )
    upserts = world.upserts()
    upserts.put(person())
    assert upserts.put(person(last_name=None, email="new@tove.example"), last=clerk_values(person())) == "written"
    assert (world.row()["last_name"], world.row()["email"]) == ("(none)", "new@tove.example")


@pytest.mark.parametrize("required", ["", " NOT NULL DEFAULT ''"])
def test_emails_pass_in_a_circle_where_only_one_row_may_have_each(world: World, required: str) -> None:
    world.table_is(
        SQLITE_TABLE.replace("email TEXT", f"email TEXT{required} UNIQUE"),
        POSTGRES_TABLE.replace("email text", f"email text{required} UNIQUE"),
    )
    upserts = world.upserts()
    users = [ClerkUserId(f"user_{name}") for name in "bca"]  # each takes that of the one before
    before = [person(clerk_user_id=user, email=f"{user}@tove.example") for user in users]
    for each in before:
        upserts.put(each)
    after = [person(clerk_user_id=user, email=before[place - 1].email) for place, user in enumerate(users)]
    writes = [RowWrite(now, clerk_values(then)) for now, then in zip(after, before, strict=True)]
    with pytest.raises(PermanentError, match="another row has the same value"):
        upserts.write_together(writes)
    assert [row.outcome for row in upserts.exchange_addresses(writes)] == ["written"] * 3
    found = {row["clerk_user_id"]: row["email"] for row in world.run("SELECT * FROM customers")}
    assert found == {each.clerk_user_id: each.email for each in after}


KEYS = {
    "view": "CREATE MATERIALIZED VIEW customers AS SELECT * FROM base; CREATE UNIQUE INDEX ON customers (clerk_user_id)",
    "not unique": "ALTER TABLE base DROP CONSTRAINT base_pkey, ADD UNIQUE (clerk_user_id) DEFERRABLE",
    "is not unique": "ALTER TABLE base DROP CONSTRAINT base_pkey, ADD PRIMARY KEY (clerk_user_id) DEFERRABLE",
    "generated": "ALTER TABLE base DROP clerk_user_id, ADD clerk_user_id text GENERATED ALWAYS AS (note) STORED UNIQUE",
}


@pytest.mark.parametrize("said", KEYS)
def test_a_table_that_never_takes_a_row_is_refused_at_the_start(world: World, said: str) -> None:
    if world.sqlite:
        return
    world.run("DROP TABLE customers")
    world.run(POSTGRES_TABLE.replace("public.customers", "base"))
    for statement in KEYS[said].split("; "):
        world.run(statement)
    if said != "view":
        world.run("ALTER TABLE base RENAME TO customers")
    with pytest.raises(ConfigError, match=said):
        world.upserts().check()


def test_after_a_failover_the_connections_to_the_standby_are_left(world: World) -> None:
    """A session that takes no writes, as each one has it that was opened before the primary became a standby."""
    if world.database.backend != "postgres":
        return
    name = world.database.url.rpartition("/")[2]
    world.upserts().check()
    world.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    engine = open_writer(world.database.url)
    upserts = Upserts(engine, world.table, world.columns)
    upserts.check()
    world.run(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    with pytest.raises(TemporaryError):
        upserts.write_together([RowWrite(person())])[0]
    assert upserts.write_together([RowWrite(person())])[0].outcome == "written"
    engine.dispose()


def test_a_row_with_an_unknown_time_is_brought_up_to_date(world: World) -> None:
    world.run("INSERT INTO customers (clerk_user_id, first_name) VALUES ('user_tove', 'Old')")
    assert world.upserts().put(person()) == "written"
    assert world.row()["first_name"] == "Tove"


def test_the_flag_of_an_address_never_outlives_a_doubt_about_it(world: World) -> None:
    upserts = world.upserts()
    upserts.put(person())
    upserts.put(person(email=None, email_verified=True), last=clerk_values(person()))
    assert (world.read_back().email, world.read_back().email_verified) == (None, False)
    upserts.put(person(email="new@tove.example", email_verified=False))
    assert (world.read_back().email, world.read_back().email_verified) == ("new@tove.example", False)


def test_the_flag_is_of_the_address_that_clerk_names_in_any_spelling(world: World) -> None:
    world.run("INSERT INTO customers (clerk_user_id, email) VALUES ('user_tove', 'Tove@Tove.example')")
    world.upserts().put(person(), fill_only=True)
    assert (world.row()["email"], world.read_back().email_verified) == ("Tove@Tove.example", True)
    world.run("UPDATE customers SET email = 'other@tove.example', email_verified = NULL")
    world.upserts().put(person(), fill_only=True)
    assert world.read_back().email_verified is None


def test_only_empty_columns_are_filled_where_that_is_asked_for(world: World) -> None:
    world.run("INSERT INTO customers (clerk_user_id, first_name, last_name) VALUES ('user_tove', 'App', '  ')")
    world.upserts().put(person(), fill_only=True)
    row = world.read_back()
    assert (row.first_name, row.last_name, row.email, row.email_verified) == ("App", "Ærø", "tove@tove.example", True)


def test_what_clerk_did_not_change_stays_as_the_app_left_it(world: World) -> None:
    upserts = world.upserts()
    upserts.put(person())
    world.run("UPDATE customers SET first_name = 'App', phone = NULL, avatar_url = 'app.png'")
    upserts.put(person(last_name="Byron", image_url=None), last=clerk_values(person()))
    row = world.read_back()
    assert (row.first_name, row.last_name) == ("App", "Byron")
    assert row.phone == "+4531415926"  # empty columns are filled
    assert row.image_url == "app.png"  # what Clerk has removed was not there any more
    upserts.put(person(phone=None, first_name="Clerk"), last=clerk_values(person()))
    assert (world.read_back().phone, world.read_back().first_name) == (None, "Clerk")


def test_the_time_of_a_row_never_goes_back(world: World) -> None:
    later = (NOON + timedelta(hours=1)).isoformat()
    world.run("INSERT INTO customers (clerk_user_id, updated_at) VALUES ('user_tove', :at)", at=later)
    assert world.upserts().put(person()) == "written"
    assert (world.read_back().email, world.read_back().updated_at) == (
        "tove@tove.example", NOON + timedelta(hours=1),
    )  # fmt: skip


def test_a_part_that_was_not_understood_leaves_its_column_alone(world: World) -> None:
    upserts = world.upserts()
    upserts.put(person())
    odd = person(
        email=None,
        email_verified=False,
        first_name="New",
        updated_at=NOON + timedelta(seconds=1),
        problems=(Problem(field="email", message="?"),),
    )
    upserts.put(odd)
    row = world.read_back()
    assert (row.first_name, row.email, row.email_verified) == ("New", "tove@tove.example", True)


def test_clerks_metadata_goes_over_the_apps_and_leaves_its_other_keys(world: World) -> None:
    world.run(
        "INSERT INTO customers (clerk_user_id, metadata) VALUES ('user_tove', :m)",
        m=json.dumps({"brand": "old", "theme": "dark"}),
    )
    world.upserts().put(person())
    assert world.read_back().metadata == {"brand": "acme", "theme": "dark"}


def test_metadata_that_is_null_is_filled(world: World) -> None:
    world.run("INSERT INTO customers (clerk_user_id, metadata) VALUES ('user_tove', 'null')")
    world.upserts().put(person())
    assert world.read_back().metadata == {"brand": "acme"}


@pytest.mark.parametrize("before", ["[1]", '"text"', "7", '"[1]"'])
def test_metadata_that_is_no_object_is_left_alone_and_said_to_be(world: World, before: str) -> None:
    world.run("INSERT INTO customers (clerk_user_id, metadata) VALUES ('user_tove', :m)", m=before)
    written = world.upserts().write_together([RowWrite(person())])[0]
    assert written.outcome == "written"
    assert written.held is not None
    assert "not a JSON object" in written.held
    assert world.stored_json() == json.loads(before)
    assert world.row()["first_name"] == "Tove"


def test_a_json_string_that_holds_an_object_is_decoded_and_merged(world: World) -> None:
    spelled = json.dumps(json.dumps({"brand": "old", "theme": "dark", "exact": 12345678901234567890}))
    world.run("INSERT INTO customers (clerk_user_id, metadata) VALUES ('user_tove', :m)", m=spelled)
    assert world.upserts().write_together([RowWrite(person())])[0] == RowWritten("written")
    assert world.stored_json() == {"brand": "acme", "theme": "dark", "exact": 12345678901234567890}


def test_keys_of_the_app_within_an_object_of_clerks_stay(world: World) -> None:
    before = {"deep": {"a": 1, "app": 2}, "list": [1]}
    world.run("INSERT INTO customers (clerk_user_id, metadata) VALUES ('user_tove', :m)", m=json.dumps(before))
    world.upserts().put(person(metadata={"deep": {"a": 3}, "none": None}))
    assert world.stored_json() == {"deep": {"a": 3, "app": 2}, "list": [1]}
    told = clerk_values(person(metadata={"deep": {"a": 3}, "gone": 1}))
    world.upserts().put(person(metadata={"deep": {"a": 3}, "gone": 1}), last=told)
    world.upserts().put(person(metadata={}), last=told)
    assert world.stored_json() == {"deep": {"app": 2, "a": 3}, "list": [1]}


def test_a_deleted_user_is_marked_and_a_late_update_does_not_bring_them_back(world: World) -> None:
    world.upserts().put(person())
    assert world.upserts().delete(USER, at=NOON + timedelta(hours=1)) == RowWritten("written")
    assert at(world.row()["deleted_at"]) == NOON + timedelta(hours=1)
    late = person(first_name="Late", updated_at=NOON + timedelta(hours=2))
    assert world.upserts().put(late) == "deleted"
    assert world.row()["first_name"] == "Tove"
    assert world.upserts().delete(USER, at=NOON + timedelta(hours=9)) == RowWritten("deleted")
    assert at(world.row()["deleted_at"]) == NOON + timedelta(hours=1)


def test_without_a_deletion_column_nothing_is_deleted(world: World) -> None:
    upserts = world.upserts(deleted_at=None)
    upserts.put(person())
    assert upserts.delete(USER, at=NOON) == RowWritten("kept")
    assert world.row()["first_name"] == "Tove"


def test_a_full_name_is_written_where_the_table_has_one(world: World) -> None:
    world.table_is(
        "CREATE TABLE customers (clerk_user_id TEXT PRIMARY KEY, display_name TEXT)",
        "CREATE TABLE public.customers (clerk_user_id varchar(60) PRIMARY KEY, display_name varchar(80))",
    )
    world.columns = {"clerk_user_id": "clerk_user_id", "full_name": "display_name"}
    assert world.upserts().put(person()) == "written"
    assert world.row()["display_name"] == "Tove Ærø"


SHAPES = {
    "numbers and text": (
        """CREATE TABLE customers (id INTEGER PRIMARY KEY, "Clerk Id" TEXT NOT NULL UNIQUE, email TEXT,
        email_verified INTEGER, phone TEXT, updated_at INTEGER, deleted_at INTEGER, metadata TEXT)""",
        """CREATE TABLE public.customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        "Clerk Id" text NOT NULL UNIQUE, email varchar(320), email_verified smallint, phone text,
        updated_at bigint, deleted_at bigint, metadata json)""",
    ),
    "text all over": (
        """CREATE TABLE customers (id TEXT DEFAULT (hex(randomblob(8))) PRIMARY KEY, "Clerk Id" TEXT, email TEXT,
        email_verified TEXT, phone TEXT, updated_at TEXT, deleted_at TEXT, metadata TEXT)""",
        """CREATE TABLE public.customers (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, "Clerk Id" char(9), email text,
        email_verified text, phone text, updated_at text, deleted_at text, metadata text)""",
    ),
    "local times and a flag": (
        """CREATE TABLE customers ("Clerk Id" VARCHAR PRIMARY KEY, email VARCHAR, email_verified BOOLEAN,
        phone VARCHAR, updated_at DATETIME, deleted_at BOOLEAN, metadata JSON)""",
        """CREATE TABLE public.customers ("Clerk Id" varchar PRIMARY KEY, email varchar, email_verified boolean,
        phone varchar, updated_at timestamp, deleted_at boolean DEFAULT false, metadata jsonb)""",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_cast_to_what_the_columns_are(world: World, shape: str) -> None:
    world.table_is(*SHAPES[shape])
    world.run('CREATE UNIQUE INDEX customers_clerk ON customers ("Clerk Id")')
    keep = ("email", "email_verified", "phone", "updated_at", "deleted_at", "metadata")
    world.columns = {"clerk_user_id": "Clerk Id"} | {name: name for name in keep}
    upserts = world.upserts()
    upserts.check()
    assert upserts.put(person()) == "written"
    assert upserts.put(person()) == "kept"
    assert upserts.put(person(email="new@t.example", updated_at=NOON + timedelta(milliseconds=5))) == "written"
    found = world.read_back()
    assert (found.email, found.email_verified, found.metadata) == ("new@t.example", True, {"brand": "acme"})
    assert found.updated_at == NOON + timedelta(milliseconds=5)
    assert found.phone == "+4531415926"
    assert upserts.delete(USER, at=NOON) == RowWritten("written")
    assert world.read_back().deleted
    assert world.upserts().put(person(email="x@t.example", updated_at=NOON + timedelta(days=1))) == "deleted"


@pytest.mark.parametrize(
    "stored",
    ["2026-11-23T12:00:00+00:00", "2026-11-23 12:00:00", "2026-11-23T12:00:00.000Z", "2026-11-23T13:00:00+01:00"],
)
def test_a_time_that_the_app_wrote_as_text_is_compared_as_a_time(world: World, stored: str) -> None:
    if not world.sqlite and stored == "2026-11-23 12:00:00":
        stored += "+00"  # without a zone Postgres takes the session's
    world.table_is(
        "CREATE TABLE customers (clerk_user_id TEXT PRIMARY KEY, first_name TEXT, updated_at TEXT)",
        "CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, first_name text, updated_at text)",
    )
    world.columns = {"clerk_user_id": "clerk_user_id", "first_name": "first_name", "updated_at": "updated_at"}
    world.run("INSERT INTO customers VALUES ('user_tove', 'App', :at)", at=stored)
    assert world.upserts().put(person(updated_at=NOON - timedelta(seconds=1))) == "written"
    assert (world.row()["first_name"], world.row()["updated_at"]) == ("Tove", stored)
    assert world.upserts().put(person(updated_at=NOON + timedelta(seconds=1))) == "written"
    assert world.row()["updated_at"] != stored


@pytest.mark.parametrize("stored", [1_795_435_200, 1_795_435_200_000])
def test_a_time_that_the_app_wrote_as_a_number_is_compared_as_a_time(world: World, stored: int) -> None:
    world.table_is(
        "CREATE TABLE customers (clerk_user_id TEXT PRIMARY KEY, first_name TEXT, updated_at BIGINT)",
        "CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, first_name text, updated_at bigint)",
    )
    world.columns = {"clerk_user_id": "clerk_user_id", "first_name": "first_name", "updated_at": "updated_at"}
    world.run("INSERT INTO customers VALUES ('user_tove', 'App', :at)", at=stored)
    assert world.upserts().put(person(updated_at=NOON - timedelta(seconds=1))) == "written"
    assert (world.row()["first_name"], world.row()["updated_at"]) == ("Tove", stored)
    assert world.upserts().put(person(updated_at=NOON + timedelta(seconds=1))) == "written"
    assert world.row()["updated_at"] != stored


def test_the_app_and_many_webhooks_at_once_leave_one_row_and_the_newest_values(world: World) -> None:
    upserts = world.upserts()
    upserts.check()
    failures: list[BaseException] = []
    barrier = threading.Barrier(6)

    def together(work: Callable[[int], object]) -> None:
        barrier.wait(60)
        try:
            for n in range(8):
                work(n)
        except BaseException as error:  # noqa: BLE001  shown by the assert below
            failures.append(error)

    def write(n: int) -> None:
        upserts.put(person(first_name=f"Tove {n}", updated_at=NOON + timedelta(seconds=n)))

    def app(n: int) -> None:
        world.run(
            "INSERT INTO customers (clerk_user_id, points) VALUES ('user_tove', :n) ON CONFLICT (clerk_user_id) "
            "DO UPDATE SET points = excluded.points",
            n=n,
        )

    threads = [threading.Thread(target=together, args=(work,)) for work in (write, write, write, write, app, app)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert (world.row()["first_name"], world.row()["points"]) == ("Tove 7", 7)


def refusal(upserts: ProfileUpserts) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        upserts.check()
    assert caught.value.hint
    return caught.value


def test_a_key_that_is_not_unique_is_refused_by_the_check_and_by_the_write(world: World) -> None:
    world.table_is(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, clerk_user_id TEXT, email TEXT, updated_at TIMESTAMP)",
        "CREATE TABLE public.customers (id serial PRIMARY KEY, clerk_user_id text, email text, updated_at timestamptz)",
    )
    world.columns = {"clerk_user_id": "clerk_user_id", "email": "email", "updated_at": "updated_at"}
    world.run("CREATE UNIQUE INDEX some_rows_only ON customers (clerk_user_id) WHERE email IS NOT NULL")
    assert "unique" in refusal(world.upserts()).message
    with pytest.raises(ConfigError):
        world.upserts().put(person())


def test_a_column_that_must_not_be_empty_and_is_not_clerks_is_refused_by_the_check(world: World) -> None:
    world.table_is(
        "CREATE TABLE customers (clerk_user_id TEXT PRIMARY KEY, email TEXT, plan TEXT NOT NULL)",
        "CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, email text, plan text NOT NULL)",
    )
    world.columns = {"clerk_user_id": "clerk_user_id", "email": "email"}
    assert "plan" in refusal(world.upserts()).message


def test_a_column_that_is_not_there_and_a_table_that_is_not_there_are_refused(world: World) -> None:
    assert "no column missing" in refusal(world.upserts(locale="missing")).message
    world.run("DROP TABLE customers")
    assert "customers" in refusal(world.upserts()).message


@pytest.mark.parametrize("field", ["updated_at", "phone"])
def test_a_column_of_a_kind_that_can_not_hold_the_value_is_refused(world: World, field: str) -> None:
    world.table_is(
        "CREATE TABLE customers (clerk_user_id TEXT PRIMARY KEY, phone INTEGER, updated_at DATE)",
        "CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, phone integer, updated_at date)",
    )
    world.columns = {"clerk_user_id": "clerk_user_id", field: field}
    assert field in refusal(world.upserts()).message


def expect_refused(work: Callable[[], object], kind: type[ReconcilerError]) -> str:
    with pytest.raises(kind) as caught:
        work()
    assert "tove" not in caught.value.message.replace("user_tove", "").lower()
    return caught.value.message


def test_another_row_with_the_same_address_is_a_permanent_error_without_the_address(world: World) -> None:
    world.run("CREATE UNIQUE INDEX one_email ON customers (email)")
    world.run("INSERT INTO customers (clerk_user_id, email) VALUES ('user_old', 'tove@tove.example')")
    assert "email" in expect_refused(lambda: world.upserts().put(person()), PermanentError)


def test_a_user_without_what_the_table_needs_is_a_permanent_error(world: World) -> None:
    world.table_is(
        "CREATE TABLE customers (clerk_user_id TEXT PRIMARY KEY, email TEXT NOT NULL)",
        "CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, email text NOT NULL)",
    )
    world.columns = {"clerk_user_id": "clerk_user_id", "email": "email"}
    upserts = world.upserts()
    upserts.check()
    assert "email must not be empty" in expect_refused(lambda: upserts.put(person(email=None)), PermanentError)


def test_a_database_that_is_away_is_a_temporary_error() -> None:
    engine = open_engine("postgresql://no_one@127.0.0.1:9/none")
    expect_refused(
        lambda: ProfileUpserts(engine, "public.customers", COLUMNS).write_together([RowWrite(person())])[0],
        TemporaryError,
    )


STOP = "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
STOPS = "CREATE TRIGGER stops BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION stop()"
REFUSING = {
    "customers_check": ("ALTER TABLE customers ADD CHECK (first_name IS NULL OR points > 5)",),
    "character varying(3)": ("ALTER TABLE customers ALTER COLUMN locale TYPE varchar(3)",),
    "enum tongue": (
        "CREATE TYPE tongue AS ENUM ('en')",
        "ALTER TABLE customers ALTER COLUMN locale TYPE tongue USING null",
    ),
    "customers_phone_fkey": (
        "CREATE TABLE phones (n text PRIMARY KEY)",
        "ALTER TABLE customers ADD FOREIGN KEY (phone) REFERENCES phones",
    ),
    "no … here": (STOP + "RAISE EXCEPTION 'no % here', NEW.email; END $$", STOPS),
    "drops it": (STOP + "RETURN NULL; END $$", STOPS),
}


class OnPostgres:
    @pytest.fixture
    def database(self, postgres: Any, postgres_database: Callable[..., str]) -> Database:
        url = postgres.url(postgres_database())
        return Database("postgres", url, url)


class TestIsolation(OnPostgres):
    def test_rows_are_written_in_read_committed_whatever_the_role_sets(self, world: World) -> None:
        """In a stricter isolation the row of a user that the app writes at the same time would be refused."""
        name = world.database.url.rpartition("/")[2]
        world.run(
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.note = current_setting('transaction_isolation'); RETURN NEW; END $$"
        )
        world.run("CREATE TRIGGER notes BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION note()")
        world.run(f"ALTER ROLE postgres IN DATABASE {name} SET default_transaction_isolation = 'serializable'")
        engine = open_writer(world.database.url)
        Upserts(engine, world.table, world.columns).put(person())
        engine.dispose()
        assert world.row()["note"] == "read committed"


class TestCatalog(OnPostgres):
    def test_no_transaction_is_open_between_two_reads_of_the_catalog(self, world: World) -> None:
        left: list[TransactionStatus] = []

        @event.listens_for(world.engine, "after_cursor_execute")
        def note(connection: Any, *_: Any) -> None:
            left.append(connection.connection.driver_connection.info.transaction_status)

        upserts = world.upserts()
        upserts.check()
        upserts.fields()
        assert len(left) > 5
        assert set(left) == {TransactionStatus.IDLE}


class TestRightsAndTypes(OnPostgres):
    def test_a_value_that_does_not_fit_is_a_permanent_error_without_the_value(self, world: World) -> None:
        world.table_is("", "CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, email varchar(5))")
        world.columns = {"clerk_user_id": "clerk_user_id", "email": "email"}
        expect_refused(lambda: world.upserts().put(person()), PermanentError)

    def test_enums_domains_and_generated_columns_are_served(self, world: World) -> None:
        world.run("CREATE TYPE tongue AS ENUM ('da-DK', 'en-US')")
        world.run("CREATE DOMAIN address AS text CHECK (value LIKE '%@%')")
        world.table_is(
            "",
            """CREATE TABLE public.customers (clerk_user_id text PRIMARY KEY, locale tongue, email address, first_name text,
            last_name text, display_name text GENERATED ALWAYS AS (first_name || ' ' || last_name) STORED)""",
        )
        names = ("clerk_user_id", "locale", "email", "first_name", "last_name")
        world.columns = {name: name for name in names} | {"full_name": "display_name"}
        assert world.upserts().put(person()) == "written"
        assert world.row()["display_name"] == "Tove Ærø"

    def test_a_role_that_may_not_write_is_shown_what_to_grant(self, world: World, postgres: Any) -> None:
        role = "reconciler_reader_only"
        world.run(f"CREATE ROLE {role} LOGIN")
        try:
            world.run(f"GRANT SELECT ON customers TO {role}")
            world.run(f"GRANT INSERT (clerk_user_id) ON customers TO {role}")
            engine = open_engine(world.database.url.replace("postgres@", f"{role}@"))
            limited = Upserts(engine, "public.customers", COLUMNS)
            assert "may not INSERT email" in refusal(limited).message
            expect_refused(lambda: limited.put(person()), ConfigError)
            engine.dispose()
        finally:
            world.run(f"DROP OWNED BY {role}")
            world.run(f"DROP ROLE {role}")

    def test_a_trigger_that_sets_the_time_loses_no_change(self, world: World) -> None:
        world.run(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$"
        )
        world.run("CREATE TRIGGER touched BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch()")
        upserts = world.upserts()
        upserts.put(person())
        for n in range(3):
            assert upserts.put(person(first_name=f"Tove {n}")) == "written"
            assert world.row()["first_name"] == f"Tove {n}"

    def test_numbers_of_the_app_keep_all_their_digits(self, world: World) -> None:
        exact = '{"pi": 3.14159265358979323846264338327950288, "big": 12345678901234567890123}'
        world.run("INSERT INTO customers (clerk_user_id, metadata) VALUES ('user_tove', cast(:m as jsonb))", m=exact)
        world.upserts().put(person())
        (found,) = world.run("SELECT metadata::text AS found FROM customers")
        assert "3.14159265358979323846264338327950288" in found["found"]
        assert "12345678901234567890123" in found["found"]

    def test_a_locked_table_is_a_temporary_error_within_the_limit(self, world: World) -> None:
        upserts = world.upserts()
        upserts.check()
        with world.engine.begin() as other:
            if not world.sqlite:
                other.execute(text("SET LOCAL application_name = 'the app'"))  # the watcher is after ours
            other.execute(text("ALTER TABLE customers ADD COLUMN more text"))
            began = time.monotonic()
            expect_refused(lambda: upserts.write_together([RowWrite(person())])[0], TemporaryError)
            assert time.monotonic() - began < 10

    @pytest.mark.parametrize("named", REFUSING)
    def test_what_refuses_a_row_is_named(self, world: World, named: str) -> None:
        upserts = world.upserts()
        upserts.check()
        for statement in REFUSING[named]:
            world.run(statement)
        with pytest.raises(PermanentError) as caught:
            upserts.put(person())
        assert without_values(caught.value.message, person()).count(named) == 1

    def test_row_level_security_refuses_one_row_and_not_another(self, world: World) -> None:
        role = "reconciler_upserter"
        world.run(f"CREATE ROLE {role} LOGIN")
        try:
            world.run(f"GRANT SELECT, INSERT, UPDATE ON customers TO {role}")
            world.run("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
            world.run(f"CREATE POLICY danes ON customers TO {role} USING (true) WITH CHECK (locale = 'da-DK')")
            engine = open_writer(world.database.url.replace("postgres@", f"{role}@"))
            limited = Upserts(engine, "public.customers", COLUMNS)
            assert limited.put(person()) == "written"
            other = person(clerk_user_id=ClerkUserId("user_other"), locale="en")
            assert "row level security" in expect_refused(lambda: limited.put(other), PermanentError)
            engine.dispose()
        finally:
            world.run(f"DROP OWNED BY {role}")
            world.run(f"DROP ROLE {role}")


def several(*users: str, **changes: Any) -> list[Profile]:
    return [person(clerk_user_id=ClerkUserId(user), email=f"{user}@x.example", **changes) for user in users]


def test_several_rows_are_written_together(world: World) -> None:
    world.run("INSERT INTO customers (clerk_user_id, first_name, deleted_at) VALUES ('user_b', 'Gone', :at)",
              at=NOON.isoformat())  # fmt: skip
    upserts = world.upserts()
    writes = [RowWrite(one) for one in several("user_a", "user_b")]
    assert [one.outcome for one in upserts.write_together(writes)] == ["written", "deleted"]
    names = {row["clerk_user_id"]: row["first_name"] for row in world.run("SELECT * FROM customers")}
    assert names == {"user_a": "Tove", "user_b": "Gone"}
    assert [one.outcome for one in upserts.write_together(writes)] == ["kept", "deleted"]
    assert upserts.write_together([]) == []


def test_of_rows_that_are_written_together_one_refusal_leaves_none(world: World) -> None:
    world.run("CREATE UNIQUE INDEX one_address ON customers (email)")
    world.run("INSERT INTO customers (clerk_user_id, email) VALUES ('user_old', 'user_b@x.example')")
    with pytest.raises(PermanentError, match="another row has the same value"):
        world.upserts().write_together([RowWrite(one) for one in several("user_a", "user_b")])
    assert [row["clerk_user_id"] for row in world.run("SELECT * FROM customers")] == ["user_old"]
