"""A row that is missing for a moment releases no user: tables that are reloaded, renamed or empty while `run` reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests import servers
from tests.clock import WallClock
from tests.manager.harness import US, RunHarness, Running, deleted_event, run_harness, until, user_event

PEOPLE = [f"user_{n:02}" for n in range(12)]
COLUMNS = (
    "clerk_user_id text primary key, email text, email_verified boolean, first_name text, last_name text, locale text, "
    "updated_at timestamptz, deleted_at timestamptz, phone text"
)
ROW = (
    "insert into customers values ('{0}', '{0}@example.com', true, 'First', null, 'en-US', now() - interval '1 day', "
    "null, null)"
)
LONG_AGO = timedelta(days=1)


class Table:
    """The profiles in a Postgres, as the app that owns them writes them."""

    def __init__(self, server: servers.Server, database: str) -> None:
        self._server, self._database = server, database
        self.url = server.url(database)

    def connect(self) -> psycopg.Connection:
        return self._server.connect(self._database)

    def __call__(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def fill(self, *users: str) -> None:
        self(*(ROW.format(user) for user in users))

    def is_awaited(self) -> bool:
        """Whether some reader waits for a lock on the table."""
        with self.connect() as connection:
            found = connection.execute("select count(*) from pg_locks where not granted").fetchone()
        return found is not None and found[0] > 0


@pytest.fixture
def table(postgres: servers.Server, postgres_database: Callable[..., str]) -> Table:
    made = Table(postgres, postgres_database())
    made(f"create table customers ({COLUMNS})")
    made.fill(*PEOPLE)
    return made


@pytest.fixture
def harness(tmp_path: Path, table: Table) -> Iterator[RunHarness]:
    with run_harness(tmp_path) as found:
        found.settings["profiles"] |= {"url": table.url, "table": "public.customers"}
        found.settings["controller"]["absence_grace_s"] = 3600
        found.stores[US]["on_leave"] = "delete"
        yield found


@pytest.fixture
def shared(
    tmp_path: Path, table: Table, postgres: servers.Server, postgres_database: Callable[..., str]
) -> Iterator[RunHarness]:
    """The same with its state in Postgres, for several replicas."""
    with run_harness(tmp_path, state_url=postgres.url(postgres_database(migrated=True))) as found:
        found.settings["profiles"] |= {"url": table.url, "table": "public.customers"}
        found.stores[US]["on_leave"] = "delete"
        yield found


@contextmanager
def webhooks(run: Running) -> Iterator[None]:
    """Signed webhooks about every user, sent while the body runs; each tells of an old change, and asks for no newer row."""
    at = WallClock().now() - LONG_AGO

    def send() -> None:
        for user in PEOPLE:
            run.accepted("user.updated", user_event(user, updated_at=at))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()


def all_there(run: Running) -> bool:
    return run.idle() and run.statuses(PEOPLE) == {"in_sync"}


def reloaded(table: Table, run: Running) -> None:
    """One transaction, held until readers wait for it."""
    with table.connect() as connection, connection.transaction():
        connection.execute("create temp table kept as select * from customers")
        connection.execute("truncate customers")
        with webhooks(run):
            until(table.is_awaited, "a read waits for the table")
        connection.execute("insert into customers select * from kept")


def swapped(table: Table, run: Running) -> None:
    """A new table takes the place of the old one."""
    with table.connect() as connection, connection.transaction():
        connection.execute("create table fresh as select * from customers")
        connection.execute("alter table fresh add primary key (clerk_user_id)")
        connection.execute("drop table customers")
        with webhooks(run):
            until(table.is_awaited, "a read waits for the table")
        connection.execute("alter table fresh rename to customers")


def emptied(table: Table, run: Running) -> None:
    """Empty for a moment, for all to see."""
    table("create table kept as select * from customers", "delete from customers")
    before = run.metric("controller_runtime_reconcile_total")
    with webhooks(run):
        until(lambda: run.metric("controller_runtime_reconcile_total") >= before + 10, "the empty table was read")
    table("insert into customers select * from kept")


def loaded_in_parts(table: Table, run: Running) -> None:
    """Several transactions, with reads after each of them."""
    table("create table kept as select * from customers", "truncate customers")
    for n in range(4):
        table(f"insert into customers select * from kept where substr(clerk_user_id, 6)::int % 4 = {n}")
        before = run.metric("controller_runtime_reconcile_total")
        with webhooks(run):
            until(lambda s=before: run.metric("controller_runtime_reconcile_total") >= s + 10, "it was scanned")  # type: ignore[misc]


WAYS = [reloaded, swapped, emptied, loaded_in_parts]


@pytest.mark.parametrize("way", WAYS)
def test_a_table_that_is_reloaded_while_webhooks_arrive_deletes_no_customer(
    harness: RunHarness, table: Table, way: Callable[[Table, Running], None]
) -> None:
    harness.stores[US]["guards"] = {"release": {"max": 10_000}}
    with harness.replica() as run:
        until(lambda: all_there(run), "everybody has a customer")
        before = harness.mutations()
        way(table, run)
        run.settled()
        assert harness.mutations() == before
        assert len(harness.customers()) == len(PEOPLE)
        run.nudge(*PEOPLE)
        until(lambda: all_there(run), "no one is left behind")
        assert harness.mutations() == before


def test_a_view_over_a_table_that_is_reloaded_deletes_no_customer(harness: RunHarness, table: Table) -> None:
    table("create view people as select * from customers where first_name is not null")
    harness.settings["profiles"]["table"] = "public.people"
    harness.stores[US]["guards"] = {"release": {"max": 10_000}}
    with harness.replica() as run:
        until(lambda: all_there(run), "everybody has a customer")
        before = harness.mutations()
        reloaded(table, run)
        emptied(table, run)
        run.nudge(*PEOPLE)
        until(lambda: all_there(run), "no one is left behind")
        assert harness.mutations() == before


def test_rows_that_row_level_security_hides_are_no_missing_rows(harness: RunHarness, table: Table) -> None:
    table(
        "drop role if exists absence_reader", "create role absence_reader login",
        "grant select on customers to absence_reader",
    )  # fmt: skip
    harness.settings["profiles"]["url"] = table.url.replace("//postgres@", "//absence_reader@")
    harness.stores[US]["guards"] = {"release": {"max": 10_000}}
    harness.settings["controller"]["absence_grace_s"] = 0.0
    with harness.replica() as run:
        until(lambda: all_there(run), "everybody has a customer")
        before = harness.mutations()
        table("alter table customers enable row level security")
        errors = run.metric("controller_runtime_reconcile_total", result="error")
        with webhooks(run):
            until(lambda: run.metric("controller_runtime_reconcile_total", result="error") > errors, "it is refused")
        table("alter table customers disable row level security")
        until(lambda: all_there(run), "no one is left behind")
        assert harness.mutations() == before
    table("drop owned by absence_reader", "drop role absence_reader")


@pytest.mark.slow
def test_a_table_that_is_half_loaded_for_longer_than_the_grace_deletes_no_customer(
    harness: RunHarness, table: Table
) -> None:
    harness.settings["controller"] |= {"absence_grace_s": 0.05, "resync_s": 0.1}
    harness.stores[US]["guards"] = {"release": {"max": 25, "percent": 5}}
    with harness.replica() as run:
        until(lambda: all_there(run), "everybody has a customer")
        before = harness.mutations()
        table("create table kept as select * from customers", "delete from customers where clerk_user_id > 'user_05'")
        for _ in range(3):
            scans = run.metric("reconciler_sweeps_total", kind="changes")
            with webhooks(run):
                until(lambda s=scans: run.metric("reconciler_sweeps_total", kind="changes") > s + 2, "it was scanned")  # type: ignore[misc]
            run.settled()
        assert harness.mutations() == before
        row = run.mapping(PEOPLE[-1])
        assert row is not None
        assert (row.status, row.reason, row.absent_since) == ("pending", "RowMissing", None)
        table("insert into customers select * from kept on conflict do nothing")
        run.nudge(*PEOPLE)
        until(lambda: all_there(run), "no one is left behind")
        assert harness.mutations() == before


def test_a_user_who_left_is_released_after_the_grace_by_any_replica_and_immediately_by_a_signed_deletion(
    harness: RunHarness, table: Table
) -> None:
    harness.settings["controller"] |= {"absence_grace_s": 1.0, "resync_s": 0.1}
    with harness.replica() as run:
        until(lambda: all_there(run), "everybody has a customer")
        table("delete from customers where clerk_user_id in ('user_03', 'user_04')")
        until(lambda: run.status("user_03") == "pending", "the missing row was seen")
        assert len(harness.customers()) == len(PEOPLE)
        run.accepted("user.deleted", deleted_event("user_04"))
        until(lambda: run.status("user_04") == "released", "Clerk told of it")
        row = run.mapping("user_03")
        since = row.absent_since if row is not None else None
    with harness.replica() as run:
        until(lambda: run.status("user_03") == "released", "the first sighting is kept by the state")
        row = run.mapping("user_03")
        assert row is not None
        assert row.left_at is not None
        assert since is not None
        assert row.left_at - since >= timedelta(seconds=1)
    assert sorted(harness.emails()) == [f"{user}@example.com" for user in PEOPLE if user not in {"user_03", "user_04"}]


def test_a_column_of_where_that_is_filled_after_the_rows_deletes_no_customer(harness: RunHarness, table: Table) -> None:
    harness.stores[US] |= {"where": {"locale": "en-US"}, "guards": {"release": {"max": 10_000}}}
    with harness.replica() as run:
        until(lambda: all_there(run), "everybody has a customer")
        before = harness.mutations()
        table("update customers set locale = null, updated_at = now()")
        with webhooks(run):
            until(lambda: run.statuses(PEOPLE) == {"pending"}, "the empty column was read")
        row = run.mapping(PEOPLE[0])
        assert row is not None
        assert row.reason == "NoLongerWanted"
        table("update customers set locale = 'en-US', updated_at = now()")
        run.nudge(*PEOPLE)
        until(lambda: all_there(run), "no one is left behind")
        assert harness.mutations() == before


@pytest.mark.slow
def test_a_user_who_no_longer_matches_where_is_released_after_the_grace_unless_most_others_do_not_match(
    harness: RunHarness, table: Table
) -> None:
    harness.settings["controller"] |= {"absence_grace_s": 0.2, "resync_s": 0.1}
    harness.stores[US] |= {"where": {"locale": "en-US"}, "guards": {"release": {"max": 25, "percent": 20}}}
    with harness.replica() as run:
        until(lambda: all_there(run), "everybody has a customer")
        table("update customers set locale = null, updated_at = now() where clerk_user_id > 'user_03'")
        scans = run.metric("reconciler_sweeps_total", kind="changes")
        with webhooks(run):
            until(lambda: run.metric("reconciler_sweeps_total", kind="changes") > scans + 5, "it was scanned")
        run.settled()
        assert len(harness.customers()) == len(PEOPLE)
        table("update customers set locale = 'en-US', updated_at = now()")
        run.nudge(*PEOPLE)
        until(lambda: all_there(run), "no one is left behind")
        table("update customers set locale = 'da-DK', updated_at = now() where clerk_user_id = 'user_03'")
        run.nudge("user_03")
        until(lambda: run.status("user_03") == "released", "the row did not match for the grace")
    assert sorted(harness.emails()) == [f"{user}@example.com" for user in PEOPLE if user != "user_03"]


@pytest.mark.slow
def test_a_whole_clerk_instance_moves_while_run_works(harness: RunHarness, table: Table) -> None:
    """New ids for the same addresses, default guards, on_leave: delete: each keeps the customer, and none is deleted."""
    harness.settings["controller"] |= {"absence_grace_s": 0.5, "resync_s": 0.2}
    del harness.stores[US]["guards"]
    with harness.replica() as run:
        check_move(harness, table, run)


@pytest.mark.explore
def test_a_whole_clerk_instance_moves_while_two_replicas_work_and_webhooks_tell_of_deletions(
    shared: RunHarness, table: Table
) -> None:
    """A signed deletion is immediate proof; the rows of the successors are there before it."""
    shared.settings["controller"] |= {"absence_grace_s": 0.5, "resync_s": 0.2}
    with shared.replica() as run, shared.replica() as other:
        check_move(shared, table, run, deleted_at=other)


def check_move(harness: RunHarness, table: Table, run: Running, *, deleted_at: Running | None = None) -> None:
    until(lambda: all_there(run), "everybody has a customer")
    before = {email: customer["id"] for email, customer in harness.customers().items()}
    table("update customers set clerk_user_id = 'new_' || clerk_user_id, updated_at = now()")
    for user in PEOPLE[::2] if deleted_at is not None else ():
        assert deleted_at is not None
        deleted_at.accepted("user.deleted", deleted_event(user))
    until(lambda: run.statuses(f"new_{user}" for user in PEOPLE) == {"in_sync"}, "everybody has the old customer")
    until(lambda: run.statuses(PEOPLE) == {"released"}, "the old ids are released")
    assert {email: customer["id"] for email, customer in harness.customers().items()} == before
    run.settled()
    rows = [run.mapping(f"new_{user}") for user in PEOPLE]
    assert {row.customer_id for row in rows if row is not None} == set(before.values())
