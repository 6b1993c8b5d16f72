"""Doctor on tables as apps have them: each thing that keeps rows from being used is named, with the SQL where SQL helps."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from tests.cli.harness import CliHarness, Said
from tests.cli.test_doctor_postgres import role
from tests.servers import Server

READER = "profile_reader"
TOUCH = (
    "create function {name}() returns trigger language plpgsql as $$ begin new.updated_at = now(); return new; end $$"
)
BEFORE_UPDATE = "create trigger {name} before update on customers for each row execute function {function}"
FILLED = "insert into customers select 'user_' || n, 'u' || n || '@example.com' from generate_series(1, 30) n"


class AppDatabase:
    """The app's Postgres, a role that reads it, and doctor on it."""

    def __init__(self, cli: CliHarness, owner: psycopg.Connection, url: str) -> None:
        self.cli, self.owner = cli, owner
        cli.settings["profiles"] |= {"url": url, "table": "public.customers", "trust_email": "always"}
        for store in cli.stores.values():
            del store["where"]
        self.columns(clerk_user_id="clerk_user_id", email="email")

    def columns(self, **columns: str) -> None:
        self.cli.settings["profiles"]["columns"] = columns

    def run(self, script: str) -> None:
        self.owner.execute(script.encode())

    def make(self, table: str, rows: str = FILLED) -> None:
        self.run(f"create table customers ({table}); {rows}; grant select on customers to {READER}")

    def doctor(self) -> Said:
        said = self.cli("doctor", "--store", "acme-us", "--output", "json")
        assert said.out, said.err
        return said

    def odd(self) -> list[dict[str, Any]]:
        """What doctor has to say of the profiles beside that all is well."""
        checks: list[dict[str, Any]] = self.doctor().json["checks"]
        return [c for c in checks if c["area"] == "profiles" and c["level"] != "ok"]

    def the_odd(self, what: str, level: str = "warning") -> dict[str, Any]:
        found = [check for check in self.odd() if (check["what"], check["level"]) == (what, level)]
        assert len(found) == 1, self.odd()
        return found[0]


@pytest.fixture
def app(ready: CliHarness, postgres: Server, postgres_database: Callable[..., str]) -> Iterator[AppDatabase]:
    name = postgres_database()
    with ExitStack() as stack:
        owner = stack.enter_context(psycopg.connect(postgres.url(name), autocommit=True))
        stack.enter_context(role(owner, READER))
        owner.execute(f"alter role {READER} login")
        stack.callback(owner.execute, f"alter role {READER} reset all")
        yield AppDatabase(ready, owner, postgres.url(name, user=READER))


def test_a_plain_table_and_a_reader_are_well(app: AppDatabase) -> None:
    app.make("clerk_user_id text primary key, email text")
    assert app.odd() == []
    assert app.doctor().code == 0


def test_a_key_that_is_not_unique_is_named_with_its_index_and_its_double_rows(app: AppDatabase) -> None:
    app.make("clerk_user_id text, email text")
    check = app.the_odd("key")
    app.run("insert into customers values ('user_1', 'other@example.com')")
    doubled = app.the_odd("values")
    assert "2 rows have this key" in doubled["message"]
    assert "1 of 30 rows" in doubled["message"]
    assert app.owner.execute(doubled["hint"]).fetchall() == [("user_1", 2)]
    app.run("delete from customers where email = 'other@example.com'")
    app.run(check["hint"])
    assert app.odd() == []


def test_names_that_need_quotes_are_quoted_in_the_sql(app: AppDatabase) -> None:
    app.run(f'create table "My Customers" ("userId" text, email text); grant select on "My Customers" to {READER}')
    app.run("insert into \"My Customers\" values ('user_1', 'a@example.com')")
    app.cli.settings["profiles"]["table"] = "public.My Customers"
    app.columns(clerk_user_id="userId", email="email")
    app.run(app.the_odd("key")["hint"])
    assert app.odd() == []


@pytest.mark.slow
def test_a_large_table_without_indexes_is_named(app: AppDatabase) -> None:
    rows = "insert into customers select 'user_' || n, now() from generate_series(1, 12000) n"
    app.make("clerk_user_id text not null, updated_at timestamptz", rows)
    app.columns(clerk_user_id="clerk_user_id", updated_at="updated_at")
    hints = [check["hint"] for check in app.odd() if check["what"] == "index"]
    assert len(hints) == 2
    for hint in hints:
        app.run(hint)
    assert [check["what"] for check in app.odd()] == ["key"]


@pytest.mark.slow
def test_a_large_table_in_which_no_index_finds_an_address_is_named(app: AppDatabase) -> None:
    """Each reconcile of a user asks who else has the address: without an index that is a pass over the app's table."""
    rows = "insert into customers select 'user_' || n, 'u' || n || '@example.com' from generate_series(1, 50000) n"
    app.make('clerk_user_id text primary key, "Email" text', rows)
    app.columns(clerk_user_id="clerk_user_id", email="Email")
    check = app.the_odd("index")
    assert "finds the users of an email (50,000 rows)" in check["message"]
    app.run(check["hint"])
    assert app.odd() == []


@pytest.mark.parametrize(
    ("columns", "rows", "mapped", "what", "said"),
    [
        (
            "phone integer",
            "491701234",
            {"phone": "phone"},
            "values",
            "phone is mapped to the column phone of type integer",
        ),
        ("phone bytea", "'x'", {"phone": "phone"}, "values", "of type bytea"),
        ("emails text[]", "array['a@example.com']", {"email": "emails"}, "values", "of type text[], an array"),
        ("status text", "'active'", {"deleted_at": "status"}, "values", "neither a time nor yes or no"),
        ("is_active boolean", "true", {"deleted_at": "is_active"}, "deleted_at", "says the opposite"),
        ("gone boolean", "true", {"deleted_at": "gone"}, "deleted_at", "no user remains"),
        ("meta text", "'no json'", {"metadata": "meta"}, "values", "metadata is no JSON"),
        ("seen text", "'yesterday'", {"updated_at": "seen"}, "values", "updated_at is no time"),
        ("verified text", "'pending'", {"email_verified": "verified"}, "values", "neither yes nor no"),
    ],
)
def test_columns_that_make_all_rows_unusable_fail(
    app: AppDatabase, columns: str, rows: str, mapped: dict[str, str], what: str, said: str
) -> None:
    app.make(
        f"clerk_user_id text primary key, {columns}",
        f"insert into customers select 'user_' || n, {rows} from generate_series(1, 5) n",
    )
    app.columns(clerk_user_id="clerk_user_id", **mapped)
    check = app.the_odd(what, "failed")
    assert said in check["message"]
    assert "all 5 rows" in check["message"]
    assert check["hint"]
    assert app.doctor().code == 1


def test_a_plan_holds_such_rows_and_names_the_real_cause(app: AppDatabase) -> None:
    app.run("create type person as (first text, last text)")
    app.make(
        "clerk_user_id text, email text, name person",
        "insert into customers values ('user_1', 'a@example.com', row('Ada', 'Byron')), ('user_2', 'b@example.com', null), "
        "('user_2', 'c@example.com', null)",
    )
    app.columns(clerk_user_id="clerk_user_id", email="email", first_name="name")
    (store,) = app.cli("plan", "--store", "acme-us", "--output", "json").json["stores"]
    messages = {hold["clerk_user_id"]: hold["message"] for hold in store["holds"]}
    assert "mapped to the column name of type person, a composite type" in messages["user_1"]
    assert messages["user_2"].endswith("2 rows have this key: only one may")
    assert "deleted_at" not in messages["user_2"]
    changes = [change for action in store["actions"] for change in action["changes"]]
    assert "Ada" not in str(changes)


@pytest.mark.parametrize("key", ["text[]", "bytea", "jsonb", "timestamptz", "boolean"])
def test_a_key_of_a_type_that_names_no_user_is_refused(app: AppDatabase, key: str) -> None:
    app.make(f"id {key} primary key, email text", "")
    app.columns(clerk_user_id="id", email="email")
    check = app.the_odd("table", "failed")
    assert "can't be a user id" in check["message"]
    assert "Clerk's id" in check["hint"]


def test_a_few_bad_rows_are_a_warning_with_an_example(app: AppDatabase) -> None:
    app.make("clerk_user_id text primary key, email text, meta text", FILLED.replace("from", ", '{}' from", 1))
    app.columns(clerk_user_id="clerk_user_id", email="email", metadata="meta")
    app.run("update customers set meta = 'x' where clerk_user_id = 'user_7'")
    check = app.the_odd("values")
    assert "1 of 30 rows" in check["message"]
    assert "user_7" in check["message"]
    assert app.doctor().code == 0


def test_limits_of_the_role_are_named_with_the_sql(app: AppDatabase) -> None:
    app.make("clerk_user_id text primary key, email text")
    app.run(f"alter role {READER} set statement_timeout = '900ms'; alter role {READER} set lock_timeout = '50ms'")
    hints = [check["hint"] for check in app.odd() if check["what"] == "limits"]
    assert len(hints) == 2
    for hint in hints:
        app.run(hint)
    assert app.odd() == []


def test_what_is_no_plain_table_is_named(app: AppDatabase) -> None:
    app.run("create table people (clerk_user_id text primary key, email text)")
    app.run("insert into people values ('user_1', 'a@example.com')")
    app.run(f"create materialized view customers as select * from people; grant select on customers to {READER}")
    assert "refresh materialized view" in app.the_odd("kind")["hint"]


def test_a_view_that_the_public_key_shows_is_named(app: AppDatabase) -> None:
    app.run(
        "create table people (clerk_user_id text primary key, email text); alter table people enable row level security"
    )
    app.run("insert into people values ('user_1', 'a@example.com')")
    app.run(f"create policy readers on people for select to {READER} using (true); grant select on people to {READER}")
    app.run(f"create view customers as select * from people; grant select on customers to {READER}")
    with role(app.owner, "anon"):
        app.run("grant usage on schema public to anon; grant select on customers to anon")
        check = app.the_odd("RLS")
        app.run(check["hint"].partition(";")[0])
        assert app.odd() == []


def test_an_updated_at_that_does_not_move_is_named_until_a_trigger_moves_it(app: AppDatabase) -> None:
    app.make(
        "clerk_user_id text primary key, email text, created_at timestamptz default now(), "
        "updated_at timestamptz default now()",
        FILLED.replace("customers", "customers (clerk_user_id, email)"),
    )
    app.columns(clerk_user_id="clerk_user_id", email="email", updated_at="updated_at")
    check = app.the_odd("updated_at")
    assert "do not update it" in check["message"]
    assert "create trigger" in check["hint"]
    app.run(TOUCH.format(name="touch"))
    app.run(BEFORE_UPDATE.format(name="touched", function="touch()"))
    assert app.odd() == []


def test_times_in_the_future_are_named(app: AppDatabase) -> None:
    app.make(
        "clerk_user_id text primary key, updated_at timestamp", "insert into customers values ('user_1', now() + '5 h')"
    )
    app.columns(clerk_user_id="clerk_user_id", updated_at="updated_at")
    assert "timestamptz" in app.the_odd("updated_at")["hint"]


def test_columns_that_differ_in_each_read_are_named(app: AppDatabase) -> None:
    app.columns(clerk_user_id="clerk_user_id", email="email", note="visits", updated_at="now")
    app.run("create table people (clerk_user_id text primary key, email text)")
    app.run(FILLED.replace("customers", "people"))
    app.run(
        "create view customers as select *, clock_timestamp()::text as visits, clock_timestamp() as now from people"
    )
    app.run(f"grant select on customers to {READER}")
    (message,) = [check["message"] for check in app.odd() if check["what"] == "values"]
    assert message.startswith("visits, now differ in each read")


def test_an_index_by_another_version_of_the_collation_is_named(app: AppDatabase) -> None:
    app.make("clerk_user_id text primary key, email text")
    app.run("update pg_database set datcollversion = '2.31' where datname = current_database()")
    found = app.the_odd("index")
    assert "was built by version 2.31 of its collation" in found["message"]
    assert found["hint"].startswith("reindex table public.customers")
    app.run("drop table customers")
    app.make("clerk_user_id text, email text")
    app.run('create unique index on customers (clerk_user_id collate "C")')
    assert not [check for check in app.odd() if check["what"] == "index"]


def test_times_of_deletion_in_the_future_are_named(app: AppDatabase) -> None:
    app.columns(clerk_user_id="clerk_user_id", email="email", deleted_at="deleted_at")
    app.make("clerk_user_id text primary key, email text")
    app.run("alter table customers add column deleted_at timestamptz; grant select on customers to profile_reader")
    app.run("update customers set deleted_at = now() + interval '30 days' where clerk_user_id = 'user_7'")
    assert app.the_odd("deleted_at")["message"].startswith("deleted_at is in the future: 1 of 30 rows")


def test_a_key_that_holds_no_ids_of_clerk_is_named(app: AppDatabase) -> None:
    app.make("id uuid primary key, email text", "insert into customers values (gen_random_uuid(), 'a@example.com')")
    app.columns(clerk_user_id="id", email="email")
    assert "begins with user_" in app.the_odd("key")["message"]


def test_no_address_at_all_or_none_verified_is_named(app: AppDatabase) -> None:
    app.make(
        "clerk_user_id text primary key, email text, verified boolean",
        "insert into customers values ('user_1', 'a@example.com', false)",
    )
    app.columns(clerk_user_id="clerk_user_id", email="email", email_verified="verified")
    app.cli.settings["profiles"]["trust_email"] = "verified"
    assert "trust_email" in app.the_odd("email")["hint"]
    app.run("update customers set email = null")
    assert "no row has an email" in app.the_odd("email")["message"]


class TestUpserts:
    """What `clerk.upsert_profiles` needs: without it `run` refuses to start, or refuses each row."""

    @pytest.fixture(autouse=True)
    def upserts(self, app: AppDatabase) -> None:
        app.cli.settings["clerk"] = {"upsert_profiles": True}
        app.columns(clerk_user_id="clerk_user_id", email="email")

    def writes(self, app: AppDatabase) -> None:
        app.run(f"grant insert, update on customers to {READER}")

    @pytest.mark.slow
    def test_a_second_key_without_default(self, app: AppDatabase) -> None:
        app.make("id uuid primary key, clerk_user_id text unique, email text", "")
        self.writes(app)
        check = app.the_odd("writing", "failed")
        assert "needs id" in check["message"]
        assert app.doctor().code == 1
        app.run("alter table customers alter column id set default gen_random_uuid()")
        assert [c["what"] for c in app.odd()] == ["rows"]

    def test_a_role_that_may_only_read(self, app: AppDatabase) -> None:
        app.make("clerk_user_id text primary key, email text")
        assert "grant" in app.the_odd("writing", "failed")["hint"]

    @pytest.mark.slow
    def test_row_level_security_without_a_policy_for_writing(self, app: AppDatabase) -> None:
        app.make("clerk_user_id text primary key, email text")
        self.writes(app)
        app.run("alter table customers enable row level security")
        app.run(f"create policy readers on customers for select to {READER} using (true)")
        check = app.the_odd("writing", "failed")
        assert "insert and update no row" in check["message"]
        app.run("create policy own on customers for all using (clerk_user_id = 'user_1')")
        assert "some rows" in app.the_odd("writing")["message"]
        app.run(check["hint"])
        assert app.odd() == []

    def test_a_trigger_that_sets_updated_at(self, app: AppDatabase) -> None:
        app.make(
            "clerk_user_id text primary key, email text, updated_at timestamptz",
            FILLED.replace("customers", "customers (clerk_user_id, email)"),
        )
        self.writes(app)
        app.columns(clerk_user_id="clerk_user_id", email="email", updated_at="updated_at")
        app.run(TOUCH.format(name="moddatetime"))
        app.run(BEFORE_UPDATE.format(name="handle_updated_at", function="moddatetime(updated_at)"))
        assert "handle_updated_at" in app.the_odd("updated_at")["message"]

    def test_a_role_that_may_not_write_at_all(self, app: AppDatabase) -> None:
        app.make("clerk_user_id text primary key, email text")
        self.writes(app)
        app.run(f"alter role {READER} set default_transaction_read_only = on")
        assert "is read-only" in app.the_odd("writing", "failed")["message"]


@pytest.mark.parametrize(
    ("parameter", "hint"),
    [
        ("pgbouncer=true", "remove it"),
        ("schema=public", "profiles.table"),
        ("connection_limit=1", "remove it"),
        ("x=", "remove it"),
    ],
)
def test_parameters_of_other_clients_are_named(cli: CliHarness, parameter: str, hint: str) -> None:
    cli.settings["profiles"] |= {"url": f"postgresql://reader:s3cret@127.0.0.1:1/postgres?{parameter}"}
    said = cli("doctor")
    assert said.code == 1
    words = " ".join((said.out + said.err).split())
    assert f"parameter '{parameter.partition('=')[0]}'" in words
    assert hint in words
    assert "s3cret" not in words


def test_a_table_of_our_own_is_neither_taken_nor_suggested(ready: CliHarness) -> None:
    assert ready("db", "upgrade").code == 0
    ready.settings["profiles"] |= {"url": ready.settings["state"]["url"], "table": "mapping"}
    checks = ready("doctor", "--output", "json").json["checks"]
    (check,) = [c for c in checks if (c["area"], c["what"]) == ("profiles", "table")]
    assert "reconciler" not in check["message"] + check["hint"]
    ready.settings["profiles"]["table"] = "reconciler_mapping"
    checks = ready("doctor", "--output", "json").json["checks"]
    (check,) = [c for c in checks if (c["area"], c["what"]) == ("profiles", "table")]
    assert "our own state" in check["message"]


def test_sqlite_tables_are_checked_alike(ready: CliHarness) -> None:
    ready.sql("alter table customers rename to old")
    ready.sql("create table customers as select * from old")
    ready.sql("update customers set deleted_at = 'active'")
    said = ready("doctor", "--output", "json")
    assert said.code == 1
    odd = {c["what"]: c for c in said.json["checks"] if c["area"] == "profiles" and c["level"] != "ok"}
    assert "not unique" in odd["key"]["message"]
    assert "neither a time" in odd["values"]["message"]
    ready.sql(odd["key"]["hint"])
    assert "key" not in {c["what"] for c in ready("doctor", "--output", "json").json["checks"] if c["level"] != "ok"}
