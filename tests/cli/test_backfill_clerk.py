"""`backfill clerk` through the command line: a Clerk and two shops over real HTTP, tables on SQLite and Postgres."""

from __future__ import annotations

import tracemalloc
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reconciler.controller.profile_rows.backfill import EXAMPLES, PROBLEMS_MAX, Page, Tally, kind_of, survey
from reconciler.core.decide.profile_rows.merge import StoredRow
from reconciler.core.decide.profile_rows.write import WriteKnown
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.queue import RequestTable
from reconciler.supabase.reading.profiles import TableProfiles
from tests import servers
from tests.clerk.backend import KEY, Backend, serving
from tests.clerk.sender import UPDATED_MS, user
from tests.cli.harness import COLUMNS, EU, CliHarness

UPDATED = datetime.fromtimestamp(UPDATED_MS / 1000, UTC)
NAMES = ("Tove", "Ærø", "tove@", "+4531415926")


def someone(user_id: str, **changes: Any) -> dict[str, Any]:
    """A user of Clerk's with an address of their own."""
    address = f"{user_id}@tove.example"
    listed = [{"id": "idn_main", "email_address": address, "verification": {"status": "verified"}}]
    phone: dict[str, Any] = {"primary_phone_number_id": None, "phone_numbers": []}
    return user(user_id, email_addresses=listed, **phone, **changes)


class Failing(Backend):
    """Refuses the key after so many lists."""

    lists = 1

    def listing(self, request: Request) -> Response:
        self.lists -= 1
        return super().listing(request) if self.lists >= 0 else JSONResponse({"errors": []}, 403)


@pytest.fixture
def backend() -> Backend:
    return Backend(users=[someone(f"user_{n:02}") for n in range(3)])


@pytest.fixture
def clerk_cli(cli: CliHarness, backend: Backend) -> Iterator[CliHarness]:
    """The shops with a Clerk, and a table that knows when a row was last changed."""
    columns = {c: c for c in (*COLUMNS, "updated_at")}
    cli.sql("drop table customers")
    cli.sql(
        "create table customers (clerk_user_id text primary key, " + ", ".join(columns)[len("clerk_user_id, ") :] + ")"
    )
    cli.settings["profiles"]["columns"] = columns
    with serving(backend) as url:
        cli.settings["clerk"] = {"secret_key": KEY, "api_url": url}
        yield cli


def rows(cli: CliHarness) -> dict[str, Profile]:
    """The profiles as the product reads them."""
    source = cli.settings["profiles"]
    with closing(TableProfiles(source["url"], source["table"], source["columns"])) as profiles:
        return {p.clerk_user_id: p for chunk in profiles.scan() for p in chunk}


def waiting(cli: CliHarness) -> int:
    """How many requests wait in the queue."""
    engine = open_engine(cli.settings["state"]["url"])
    try:
        return RequestTable(engine).depth()
    finally:
        engine.dispose()


def test_users_without_a_webhook_get_their_row_and_then_their_customer(clerk_cli: CliHarness) -> None:
    assert clerk_cli("bootstrap", "--yes").code == 0
    clerk_cli.stores[EU]["where"] = {"locale": "da-DK"}
    said = clerk_cli("backfill", "clerk", "--yes")
    assert (said.code, sorted(rows(clerk_cli))) == (0, ["user_00", "user_01", "user_02"])
    assert rows(clerk_cli)["user_01"].email == "user_01@tove.example"
    assert rows(clerk_cli)["user_01"].updated_at == UPDATED
    assert clerk_cli("apply", "--yes").code == 0
    assert "user_01@tove.example" in clerk_cli.customers(EU)


def test_a_second_run_finds_nothing(clerk_cli: CliHarness) -> None:
    first = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    before = rows(clerk_cli)
    again = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    assert (first["missing"], first["written"]) == (3, 3)
    assert (again["missing"], again["older"], again["current"], again["written"]) == (0, 0, 3, 0)
    assert rows(clerk_cli) == before
    asked = clerk_cli("backfill", "clerk")  # nothing to write: no question is needed
    assert (asked.code, "nothing to write" in asked.out) == (0, True)


def test_what_is_backfilled_late_is_reconciled_although_its_last_change_is_old(clerk_cli: CliHarness) -> None:
    assert clerk_cli("backfill", "clerk", "--yes").code == 0
    assert waiting(clerk_cli) == 3 * len(clerk_cli.stores)


def test_without_a_terminal_it_shows_and_refuses(clerk_cli: CliHarness) -> None:
    said = clerk_cli("backfill", "clerk")
    assert said.code == 1
    assert "3 have no row" in said.out
    assert "user_00, user_01, user_02" in said.out
    assert "3 rows to write" in said.err
    assert "hint: add --yes" in said.err
    assert rows(clerk_cli) == {}
    asked = clerk_cli("backfill", "clerk", "--output", "json")
    assert (asked.code, asked.out) == (1, "")
    assert "3 have no row" in asked.err


def test_it_names_users_only_by_their_clerk_ids(clerk_cli: CliHarness, backend: Backend) -> None:
    backend.users += [user("user_odd", first_name=7, last_name="x\x00"), user("user_main")]
    for words in (("backfill", "clerk"), ("backfill", "clerk", "--yes", "--output", "json"), ("backfill", "clerk")):
        said = clerk_cli(*words)
        assert "user_odd" in said.out + said.err
        assert not [name for name in NAMES if name in said.out + said.err]


def test_a_row_is_brought_up_to_date_whatever_its_own_time_and_a_deleted_one_stays_deleted(
    clerk_cli: CliHarness, backend: Backend
) -> None:
    old, new = (UPDATED - timedelta(days=1)).isoformat(), (UPDATED + timedelta(seconds=1)).isoformat()
    sql = "insert into customers (clerk_user_id, first_name, email, updated_at, deleted_at) values (?, ?, ?, ?, ?)"
    clerk_cli.sql(sql, "user_00", "Older", "a@x.example", old, None)
    clerk_cli.sql(sql, "user_01", None, None, new, None)
    clerk_cli.sql(sql, "user_02", "Gone", "c@x.example", old, old)
    found = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    assert (found["older"], found["current"], found["deleted"], found["written"]) == (2, 0, 1, 2)
    assert {u: p.first_name for u, p in rows(clerk_cli).items()} == {
        "user_00": "Tove",
        "user_01": "Tove",
        "user_02": "Gone",
    }
    assert rows(clerk_cli)["user_01"].updated_at == UPDATED + timedelta(seconds=1)
    assert rows(clerk_cli)["user_02"].deleted


def test_what_the_app_changes_after_a_backfill_is_not_written_over_and_what_it_empties_is_filled(
    clerk_cli: CliHarness, backend: Backend
) -> None:
    assert clerk_cli("backfill", "clerk", "--yes").code == 0
    clerk_cli.sql("update customers set first_name = 'App', updated_at = '2020-01-01' where clerk_user_id = 'user_00'")
    clerk_cli.sql("update customers set email = '', updated_at = '2030-01-01' where clerk_user_id = 'user_01'")
    found = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    assert (found["older"], found["current"], found["written"]) == (1, 2, 1)
    assert rows(clerk_cli)["user_00"].first_name == "App"
    assert rows(clerk_cli)["user_01"].email == "user_01@tove.example"
    backend.users[0] = someone("user_00", first_name="Clerk", updated_at=UPDATED_MS + 1)
    assert clerk_cli("backfill", "clerk", "--yes", "--output", "json").json["written"] == 1
    assert rows(clerk_cli)["user_00"].first_name == "Clerk"


def test_metadata_that_is_no_object_is_left_alone_and_the_user_is_held(clerk_cli: CliHarness, backend: Backend) -> None:
    clerk_cli.stores[EU]["where"] = {"locale": "da-DK"}
    clerk_cli.sql("alter table customers add column metadata")
    clerk_cli.settings["profiles"]["columns"] = {**clerk_cli.settings["profiles"]["columns"], "metadata": "metadata"}
    insert = "insert into customers (clerk_user_id, metadata) values (?, ?)"
    clerk_cli.sql(insert, "user_00", '["the app\'s"]')
    clerk_cli.sql(insert, "user_01", '"{\\"theme\\": \\"dark\\"}"')
    said = clerk_cli("backfill", "clerk", "--yes", "--output", "json")
    assert (said.code, said.json["written"], said.json["failed_count"]) == (1, 2, 1)
    assert said.json["failed"][0]["clerk_user_id"] == "user_00"
    assert rows(clerk_cli)["user_01"].metadata == {"theme": "dark", "brand": "acme"}
    held = [row for row in clerk_cli("mappings", "list", "--output", "json").json if row["status"] == "held"]
    assert {(row["clerk_user_id"], row["reason"]) for row in held} == {("user_00", "ProfileRefused")}
    clerk_cli.sql("update customers set metadata = '{}' where clerk_user_id = 'user_00'")
    assert clerk_cli("backfill", "clerk", "--yes").code == 0
    assert clerk_cli("mappings", "list", "--output", "json").json == []


def test_a_user_who_is_not_in_clerk_keeps_the_row(clerk_cli: CliHarness) -> None:
    clerk_cli.sql("insert into customers (clerk_user_id, email) values ('user_elsewhere', 'e@x.example')")
    assert clerk_cli("backfill", "clerk", "--yes").code == 0
    assert "user_elsewhere" in rows(clerk_cli)


def test_one_odd_user_fails_no_one_and_is_reported(clerk_cli: CliHarness, backend: Backend) -> None:
    backend.users[1] = {"object": "user"}
    backend.users.append(someone("user_half", first_name=7))
    found = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    assert found["written"] == 3
    assert found["problem_count"] == 2
    assert "user 1 of the page" in found["problems"][0]
    assert found["problems"][1].startswith("user_half: first_name")
    assert rows(clerk_cli)["user_half"].last_name == "Ærø"


def test_it_waits_when_clerk_says_so_and_continues(clerk_cli: CliHarness, backend: Backend) -> None:
    backend.troubles = [(429, {"retry-after": "0"}), (429, {"retry-after": "0"})]
    assert clerk_cli("backfill", "clerk", "--yes", "--output", "json").json["written"] == 3


def test_pages_follow_one_another_by_cursor(clerk_cli: CliHarness, backend: Backend) -> None:
    backend.users = [someone(f"user_{n:04}") for n in range(1001)]
    assert "1,001 have no row" in clerk_cli("backfill", "clerk").out
    assert [asked.get("starting_after") for _, asked in backend.asked] == [None, "user_0499", "user_0999"]


def test_a_row_that_the_table_refuses_hurts_no_other(clerk_cli: CliHarness, backend: Backend) -> None:
    clerk_cli.sql("create unique index one_address on customers (email)")
    clerk_cli.sql("insert into customers (clerk_user_id, email) values ('user_old', 'user_01@tove.example')")
    said = clerk_cli("backfill", "clerk", "--yes")
    assert said.code == 1
    assert "wrote 2 rows" in said.out
    assert "user_01: " in said.out
    assert "another row has the same value" in " ".join(said.out.split())
    assert rows(clerk_cli).keys() == {"user_00", "user_02", "user_old"}


@pytest.mark.slow
def test_what_was_written_before_an_error_stays_and_the_next_run_continues(
    clerk_cli: CliHarness, backend: Backend
) -> None:
    users = [someone(f"user_{n:04}") for n in range(600)]
    with serving(Failing(users=users)) as url:
        clerk_cli.settings["clerk"]["api_url"] = url
        said = clerk_cli("backfill", "clerk", "--yes")
    assert said.code == 1
    assert "500 rows written before the error" in said.err
    assert "refuses the key" in said.err
    assert waiting(clerk_cli) == 500 * len(clerk_cli.stores)
    with serving(Backend(users=users)) as url:
        clerk_cli.settings["clerk"]["api_url"] = url
        found = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    assert (found["current"], found["missing"], found["written"]) == (500, 100, 100)


def test_without_a_key_it_says_where_to_get_one(clerk_cli: CliHarness) -> None:
    del clerk_cli.settings["clerk"]["secret_key"]
    said = clerk_cli("backfill", "clerk", "--yes")
    assert said.code == 1
    assert "clerk.secret_key is not set" in said.err
    assert "hint: " in said.err


def test_a_table_without_a_unique_key_is_refused_before_clerk_is_asked(clerk_cli: CliHarness, backend: Backend) -> None:
    clerk_cli.sql("drop table customers")
    clerk_cli.sql("create table customers (" + ", ".join((*COLUMNS, "updated_at")) + ")")
    said = clerk_cli("backfill", "clerk", "--yes")
    assert said.code == 1
    assert "is not unique" in said.err
    assert "create unique index" in said.err
    assert backend.asked == []


def test_a_table_of_full_names_without_times_is_equal_after_one_run(clerk_cli: CliHarness, backend: Backend) -> None:
    backend.users[0]["first_name"] = "Tove Maria"
    clerk_cli.sql("drop table customers")
    clerk_cli.sql("create table customers (clerk_user_id text primary key, email, email_verified, name)")
    columns = {"clerk_user_id": "clerk_user_id", "email": "email", "email_verified": "email_verified"}
    clerk_cli.settings["profiles"]["columns"] = {**columns, "full_name": "name"}
    for store in clerk_cli.stores.values():
        store.pop("where")
    clerk_cli.sql("insert into customers values ('user_01', 'old@x.example', 0, 'Tove Ærø')")
    first = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    again = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    assert (first["missing"], first["older"], first["written"]) == (2, 1, 3)
    assert (again["current"], again["written"]) == (3, 0)


@pytest.mark.slow
def test_a_role_that_only_reads_gets_the_list_of_what_it_lacks(
    clerk_cli: CliHarness, postgres: servers.Server, postgres_database: Any
) -> None:
    name = postgres_database()
    with postgres.connect(name) as connection:
        connection.execute(
            "create table customers (clerk_user_id text primary key, email text, updated_at timestamptz)"
        )
        connection.execute("do $$ begin create role backfill_reader login; exception when duplicate_object then end $$")
        connection.execute("grant select on customers to backfill_reader")
    columns = {c: c for c in ("clerk_user_id", "email", "updated_at")}
    source = {"table": "public.customers", "columns": columns, "trust_email": "always"}
    for store in clerk_cli.stores.values():
        store.pop("where")
    clerk_cli.settings["profiles"] = {"url": postgres.url(name, user="backfill_reader"), **source}
    refused = clerk_cli("backfill", "clerk", "--yes")
    assert refused.code == 1
    assert "may not INSERT" in refused.err
    assert "hint: grant select, insert, update on public.customers" in refused.err
    clerk_cli.settings["profiles"] = {"url": postgres.url(name), **source}
    first = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    again = clerk_cli("backfill", "clerk", "--yes", "--output", "json").json
    assert (first["written"], again["current"], again["written"]) == (3, 3, 0)


class Nothing:
    """A table without rows, and a state that knows no user."""

    def read(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, StoredRow]:
        return {}

    def known(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, WriteKnown]:
        return {}


def _peak(pages: int) -> tuple[int, Tally]:
    tally = Tally()
    made = (
        Page([Profile(clerk_user_id=ClerkUserId(f"user_{p}_{n}")) for n in range(100)], ["odd"] * 9)
        for p in range(pages)
    )
    tracemalloc.start()
    try:
        for _ in survey(made, Nothing(), Nothing(), tally):  # type: ignore[arg-type]  # no more is asked of either
            pass
        return tracemalloc.get_traced_memory()[1], tally
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_users() -> None:
    few, _ = _peak(20)
    many, tally = _peak(200)
    assert (tally.users, tally.problem_count) == (20_000, 1800)
    assert (len(tally.examples["missing"]), len(tally.problems)) == (EXAMPLES, PROBLEMS_MAX)
    assert many < few * 1.5


TOLD = Profile(
    clerk_user_id=ClerkUserId("user_1"), mapped=frozenset({"first_name"}), first_name="Ada", updated_at=UPDATED
)
SAID = {"first_name": "Ada"}


@pytest.mark.parametrize(
    ("row", "known", "kind"),
    [
        (None, None, "missing"),
        ({"first_name": "Ada"}, None, "current"),
        ({"first_name": None}, None, "older"),
        ({"first_name": "App"}, None, "older"),
        ({"first_name": "App"}, WriteKnown(UPDATED, deleted=False, last=SAID), "current"),
        ({"first_name": " "}, WriteKnown(UPDATED, deleted=False, last=SAID), "older"),
        ({"first_name": "App"}, WriteKnown(UPDATED, deleted=False, last={"first_name": "Eve"}), "older"),
        (None, WriteKnown(UPDATED, deleted=True, last=None), "deleted"),
        ({"first_name": None}, WriteKnown(UPDATED + timedelta(seconds=1), deleted=False, last=SAID), "current"),
    ],
)
def test_a_row_is_older_where_clerk_has_changed_since_or_a_column_is_empty(
    row: dict[str, Any] | None, known: WriteKnown | None, kind: str
) -> None:
    assert kind_of(TOLD, None if row is None else StoredRow(row), known) == kind
