"""Webhooks of Clerk write the table of the app: beside it, after restarts, while it is locked, and against its rules."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from reconciler.cli import main
from reconciler.controller.profile_rows.writer import RowWriter
from reconciler.core.decide.profile_rows.write import ClerkChange, RowWrite, WriteClaim
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import TemporaryError
from reconciler.manager.startup import open_databases
from reconciler.settings import load
from reconciler.state.database.engine import open_engine
from reconciler.state.profile_writes import ProfileWriteTable
from reconciler.supabase.writing.engine import open_writer
from reconciler.supabase.writing.upsert import ProfileUpserts
from reconciler.wiring import open_components
from tests import servers
from tests.clerk import sender
from tests.clock import WallClock
from tests.manager.harness import RunHarness, Running, deleted_event, run_harness, until, user_event

COLUMNS = ("clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "metadata", "updated_at")
TABLE = """create table public.customers (clerk_user_id text primary key, email text unique, email_verified boolean
    default false, first_name text, last_name text, phone text, metadata jsonb, updated_at timestamptz default now())"""
BUDGET_S = 2.0
SLACK_S = 3.0  # of a machine that is busy: the limits under test are whole seconds, and a lock would last for ever
TOGETHER = 60


@dataclass
class AppTable:
    """The app's database: its table, and writes to it that are not the product's."""

    url: str
    harness: RunHarness
    capsys: pytest.CaptureFixture[str]

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row) as connection:
            found = connection.execute(statement.encode(), values)
            return found.fetchall() if found.description else []

    def row(self, user: str) -> dict[str, Any]:
        (found,) = self.sql("select * from customers where clerk_user_id = %s", user)
        return found

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["clerk_user_id"]: row for row in self.sql("select * from customers")}

    def said(self, *words: str) -> str:
        """What a command prints."""
        config, stores = self.harness.paths
        self.capsys.readouterr()
        main.run(["--config", str(config), "--stores", str(stores), *words])
        return self.capsys.readouterr().out


@pytest.fixture
def app(
    tmp_path: Path,
    postgres: servers.Server,
    postgres_database: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> Iterator[AppTable]:
    url = postgres.url(postgres_database(migrated=True))
    with run_harness(tmp_path, state_url=url) as harness:
        harness.settings["profiles"] = {"url": url, "table": "public.customers", "columns": {c: c for c in COLUMNS}}
        harness.settings["clerk"]["upsert_profiles"] = True
        made = AppTable(url, harness, capsys)
        made.sql(TABLE)
        yield made


def someone(user: str, *, email: str | None = "", ahead_s: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Clerk's user object: with an address of the user's own, another one, or None."""
    address = f"{user}@example.com" if email == "" else email
    entry = {"id": "idn_1", "email_address": address, "verification": {"status": "verified"}}
    about = {
        "email_addresses": [entry] if address else [],
        "primary_email_address_id": "idn_1" if address else None,
        "phone_numbers": [],
        "primary_phone_number_id": None,
    }
    return user_event(user, updated_at=WallClock().now() + timedelta(seconds=ahead_s), **{**about, **changes})


def check_written(app: AppTable, user: str, **values: Any) -> None:
    def there() -> bool:
        row = app.rows().get(user)
        return row is not None and all(row[name] == value for name, value in values.items())

    until(there, f"the row of {user} holds {values}")


# --- beside the app --------------------------------------------------------------------------------------------------


def test_a_bare_row_that_the_app_has_just_inserted_is_filled(app: AppTable) -> None:
    with app.harness.replica() as run:
        run.scanned_all()
        app.sql("insert into customers (clerk_user_id) values ('user_a')")
        run.accepted("user.created", someone("user_a", ahead_s=-5))
        check_written(app, "user_a", email="user_a@example.com", email_verified=True, first_name="Tove")
        until(lambda: run.status("user_a") == "in_sync", "the customer is there")


def test_what_the_app_has_put_into_the_row_by_then_stays(app: AppTable) -> None:
    with app.harness.replica() as run:
        run.scanned_all()
        app.sql("insert into customers (clerk_user_id, first_name) values ('user_a', 'App')")
        run.accepted("user.created", someone("user_a"))
        check_written(app, "user_a", email="user_a@example.com", first_name="App")
        run.accepted("user.updated", someone("user_a", last_name="Byron", ahead_s=1))
        check_written(app, "user_a", last_name="Byron", first_name="App")
        run.accepted("user.updated", someone("user_a", first_name="Clerk", last_name="Byron", ahead_s=2))
        check_written(app, "user_a", first_name="Clerk")


def test_a_trigger_that_sets_the_time_of_each_write_loses_no_change(app: AppTable) -> None:
    app.sql(
        "create function touch() returns trigger language plpgsql as "
        "$$ begin new.updated_at = now() + interval '1 hour'; return new; end $$"
    )
    app.sql("create trigger touched before insert or update on customers for each row execute function touch()")
    with app.harness.replica() as run:
        run.scanned_all()
        for n in range(4):
            run.accepted("user.updated", someone("user_a", first_name=f"Tove {n}", ahead_s=n / 10))
        check_written(app, "user_a", first_name="Tove 3")
        until(lambda: run.status("user_a") == "in_sync", "the customer is there")


def test_the_newest_wins_in_whatever_order_and_at_whichever_replica_events_come(app: AppTable) -> None:
    late = someone("user_a", first_name="Late", ahead_s=2.5)
    with ExitStack() as stack:
        replicas = [stack.enter_context(app.harness.replica()) for _ in range(2)]
        events = [someone("user_a", first_name=f"Tove {n}", ahead_s=n) for n in range(4)]
        for number, n in enumerate((3, 1, 2, 0)):
            replicas[number % 2].accepted("user.updated", events[n])
        check_written(app, "user_a", first_name="Tove 3")
    with app.harness.replica() as run:  # what was newest is remembered
        run.accepted("user.updated", late)
        run.settled()
    assert app.row("user_a")["first_name"] == "Tove 3"


@pytest.mark.slow
def test_metadata_is_merged_where_it_is_an_object_and_left_alone_and_held_elsewhere(app: AppTable) -> None:
    app.sql("insert into customers (clerk_user_id, metadata) values ('user_a', %s)", '"{\\"theme\\": \\"dark\\"}"')
    app.sql("insert into customers (clerk_user_id, metadata) values ('user_b', %s)", '["the app has a list"]')
    with app.harness.replica() as run:
        run.scanned_all()
        for user in ("user_a", "user_b"):
            run.accepted("user.updated", someone(user))
        check_written(app, "user_a", metadata={"theme": "dark", "brand": "acme"})
        check_written(app, "user_b", metadata=["the app has a list"], email="user_b@example.com")
        until(lambda: "ProfileRefused" in app.said("mappings", "list"), "the hold is listed")
        assert "metadata is a list" in " ".join(app.said("explain", "user_b").split())
        app.sql("update customers set metadata = '{}' where clerk_user_id = 'user_b'")
        run.nudge("user_b")
        check_written(app, "user_b", metadata={"brand": "acme"})
        until(lambda: "ProfileRefused" not in app.said("mappings", "list"), "the hold has ended")


# --- late and deleted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.slow
def test_a_late_update_of_a_deleted_user_changes_nothing_after_a_restart(
    app: AppTable,
    marked: bool,  # noqa: FBT001  a parameter
) -> None:
    if marked:
        app.sql("alter table customers add column deleted_at timestamptz")
        app.harness.settings["profiles"]["columns"]["deleted_at"] = "deleted_at"
    late = someone("user_a", first_name="Late", email="late@example.com", ahead_s=60)
    with app.harness.replica() as run:
        run.accepted("user.created", someone("user_a"))
        check_written(app, "user_a", first_name="Tove")
        run.accepted("user.deleted", deleted_event("user_a"))
        run.accepted("user.deleted", deleted_event("user_never"))
        if marked:
            until(lambda: app.row("user_a")["deleted_at"] is not None, "the row is marked")
        run.settled()
    app.sql("update customers set email = null, first_name = null where clerk_user_id = 'user_a'")
    before = app.rows()
    with app.harness.replica() as run:
        run.accepted("user.updated", late)
        run.accepted("user.created", someone("user_never", ahead_s=60))
        run.settled()
    assert app.rows() == before


# --- while the table is locked ---------------------------------------------------------------------------------------


def answers(run: Running, events: list[tuple[str, Any]]) -> list[tuple[int, float]]:
    """The status and the seconds of each webhook, all sent in one moment."""
    found: list[tuple[int, float]] = []
    gate = threading.Barrier(len(events))

    def send(kind: str, data: Any) -> None:
        body = sender.event(kind, data)
        with httpx.Client(base_url=run.manager.url, timeout=60) as client:
            gate.wait(60)
            signed = sender.headers(body, message_id=run.harness.new_id(), at=WallClock().now())
            began = time.monotonic()
            answer = client.post("/webhooks/clerk", content=body, headers=signed)
            found.append((answer.status_code, time.monotonic() - began))

    threads = [threading.Thread(target=send, args=event) for event in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


@pytest.mark.slow
def test_while_a_migration_locks_the_table_webhooks_and_probes_answer_and_all_rows_are_written_after(
    app: AppTable,
) -> None:
    app.sql("insert into customers (clerk_user_id, first_name) values ('user_00', 'Old')")
    users = [f"user_{n:02}" for n in range(TOGETHER)]
    with app.harness.replica() as run, psycopg.connect(app.url) as migration:
        run.scanned_all()
        migration.execute("alter table customers add column plan text")
        sent = threading.Event()

        def probed() -> list[tuple[str, int, float]]:
            found: list[tuple[str, int, float]] = []
            with httpx.Client(base_url=run.manager.url, timeout=60) as client:
                ended = False
                while not ended:
                    for path in ("/healthz", "/readyz"):
                        began = time.monotonic()
                        found.append((path, client.get(path).status_code, time.monotonic() - began))
                    ended = sent.wait(0.05)
            return found

        seen: list[tuple[str, int, float]] = []
        prober = threading.Thread(target=lambda: seen.extend(probed()))
        prober.start()
        taken = answers(run, [("user.updated", someone(user)) for user in users])
        sent.set()
        prober.join(120)
        assert [status for status, _ in taken] == [202] * TOGETHER
        assert max(seconds for _, seconds in taken) < BUDGET_S + SLACK_S
        assert {status for path, status, _ in seen if path == "/healthz"} == {200}
        assert max(seconds for _, _, seconds in seen) < BUDGET_S + SLACK_S
        migration.commit()
        until(lambda: len([r for r in app.rows().values() if r["first_name"] == "Tove"]) == TOGETHER, "all are written")
        until(lambda: run.status(users[-1]) == "in_sync", "and have their customers")


@pytest.mark.slow
def test_what_could_not_be_written_is_written_by_the_process_that_starts_next(app: AppTable) -> None:
    with psycopg.connect(app.url) as migration:
        with app.harness.replica() as run:
            run.scanned_all()
            migration.execute("alter table customers add column plan text")
            run.accepted("user.created", someone("user_a"))
        assert migration.execute("select count(*) from customers").fetchone() == (0,)
        migration.commit()
    with app.harness.replica() as run:
        check_written(app, "user_a", email="user_a@example.com")
        until(lambda: run.status("user_a") == "in_sync", "the customer is there")


# --- against the table's rules ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_user_that_the_table_refuses_is_held_by_name_until_the_row_can_be_written(app: AppTable) -> None:
    app.sql("alter table customers alter column email set not null")
    app.sql("alter table customers add constraint short check (length(first_name) < 10)")
    refused = {
        "user_phone": ("email must not be empty", someone("user_phone", email=None)),
        "user_second": ("customers_email_key", someone("user_second", email="user_first@example.com")),
        "user_long": ("short", someone("user_long", first_name="Much too long a name")),
    }
    with app.harness.replica() as run:
        run.scanned_all()
        run.accepted("user.created", someone("user_first"))
        until(lambda: run.status("user_first") == "in_sync", "the first is there")
        for _, event in refused.values():
            run.accepted("user.created", event)
        for user, (named, _) in refused.items():
            until(lambda u=user: u in app.said("mappings", "list"), f"{user} is listed")  # type: ignore[misc]
            explained = " ".join(app.said("explain", user).split())
            assert "ProfileRefused" in explained
            assert named in explained
            assert "operator" in explained
            page = run.client.get(f"/people/{user}").text
            assert named in page
            assert "ProfileRefused" in page
        assert "ProfileRefused 3" in app.said("status")
        assert "user_second" in run.client.get("/people", params={"reason": "ProfileRefused"}).text
        assert "user_first" not in run.client.get("/people", params={"reason": "ProfileRefused"}).text
        assert run.metric("reconciler_held", reason="ProfileRefused") == 3
        # the operator, the app and Clerk each put one right
        app.sql("alter table customers alter column email drop not null")
        run.nudge("user_phone")
        app.sql("insert into customers (clerk_user_id, email) values ('user_second', 'app@example.com')")
        run.nudge("user_second")
        run.accepted("user.updated", someone("user_long", first_name="Short", ahead_s=5))
        until(lambda: "ProfileRefused" not in app.said("status"), "no hold is left")
        assert app.row("user_phone")["email"] is None
        assert app.row("user_second")["email"] == "app@example.com"
        assert app.row("user_second")["first_name"] == "Tove"
        assert app.row("user_long")["first_name"] == "Short"


@pytest.mark.slow
def test_a_refused_change_of_a_user_in_sync_is_shown_as_held(app: AppTable) -> None:
    with app.harness.replica() as run:
        run.scanned_all()
        for user in ("user_a", "user_b"):
            run.accepted("user.created", someone(user))
            until(lambda u=user: run.status(u) == "in_sync", f"{user} is there")  # type: ignore[misc]
        run.accepted("user.updated", someone("user_b", email="user_a@example.com", ahead_s=5))
        until(lambda: "customers_email_key" in app.said("explain", "user_b"), "the hold is explained")
        assert "ProfileRefused 1" in app.said("status")
        run.accepted("user.updated", someone("user_b", email="new@example.com", ahead_s=6))
        check_written(app, "user_b", email="new@example.com")
        until(lambda: "ProfileRefused" not in app.said("status"), "the hold has ended")


# --- writers that freeze or are killed -------------------------------------------------------------------------------


@pytest.mark.slow
def test_emails_that_pass_from_user_to_user_reach_a_table_with_one_row_an_email(app: AppTable) -> None:
    """A swap, a circle of three, and a chain: Clerk's events of the steps between were late, or never came."""
    names = ("a", "b", "c", "d", "e", "f", "g")
    users = {name: f"user_{name}" for name in names}
    taken = {"a": "b", "b": "a", "c": "d", "d": "e", "e": "c", "f": "g"}
    with app.harness.replica() as run:
        run.scanned_all()
        for user in users.values():
            run.accepted("user.created", someone(user))
        until(lambda: run.statuses(users.values()) == {"in_sync"}, "all have customers")
        for name, other in taken.items():
            run.accepted("user.updated", someone(users[name], email=f"user_{other}@example.com", ahead_s=1))
        run.accepted("user.updated", someone(users["g"], email="free@example.com", ahead_s=1))
        for name, other in taken.items():
            check_written(app, users[name], email=f"user_{other}@example.com")
        check_written(app, users["g"], email="free@example.com")
        until(lambda: run.statuses(users.values()) == {"in_sync"}, "the customers follow")
    assert len(app.harness.emails()) == len(names)


def test_rows_of_a_circle_that_the_table_refuses_all_the_same_wait_for_their_turns(
    app: AppTable, engine_of: Callable[..., Any]
) -> None:
    """Each of the two tries the other's row, too, which is no reason to try that one immediately."""
    app.sql("alter table customers alter email set not null")
    book = ProfileWriteTable(engine_of(app.url, open_engine))
    rows = ProfileUpserts(engine_of(app.url), "public.customers", {c: c for c in COLUMNS})
    writer = RowWriter(lambda: rows, book, WallClock(), ask=None, nudge=lambda _done: None)
    users, now = [ClerkUserId("user_a"), ClerkUserId("user_b")], WallClock().now()

    def accept(emails: Sequence[str]) -> None:
        for user, email in zip(users, emails, strict=True):
            profile = Profile(clerk_user_id=user, mapped=frozenset({"email"}), email=email, updated_at=now)
            book.accept([ClerkChange(user, at=now, profile=profile)], now=now)

    def results() -> list[str]:
        claims, until_s = writer.claim(9)
        return [writer.write(claim, until_s).result for claim in claims]

    emails = ["a@example.com", "b@example.com"]
    accept(emails)
    assert results() == ["written", "written"]
    accept(emails[::-1])
    assert results() == ["refused", "refused"]
    assert results() == []


def test_a_user_who_signs_up_again_gets_a_row_once_the_old_one_is_marked_as_deleted(app: AppTable) -> None:
    app.sql("alter table customers add column deleted_at timestamptz, drop constraint customers_email_key")
    app.sql("create unique index on customers (email) where deleted_at is null")
    app.harness.settings["profiles"]["columns"]["deleted_at"] = "deleted_at"
    with app.harness.replica() as run:
        run.scanned_all()
        run.accepted("user.created", someone("user_old", email="ada@example.com"))
        until(lambda: run.status("user_old") == "in_sync", "the customer is there")
        (customer,) = app.harness.customers().values()
        run.accepted("user.created", someone("user_new", email="ada@example.com", ahead_s=1))
        until(lambda: "another row has the same value" in app.said("explain", "user_new"), "the row is refused")
        run.accepted("user.deleted", deleted_event("user_old"))
        until(lambda: run.status("user_new") == "in_sync", "the new user has the customer")
    assert [found["id"] for found in app.harness.customers().values()] == [customer["id"]]


def test_a_writer_that_was_frozen_writes_nothing_over_a_newer_row(app: AppTable, engine_of: Callable[..., Any]) -> None:
    book = ProfileWriteTable(engine_of(app.url, open_engine))
    rows = ProfileUpserts(engine_of(app.url), "public.customers", {c: c for c in COLUMNS})
    steady = [0.0]
    frozen, other = (
        RowWriter(lambda: rows, book, WallClock(), ask=None, nudge=lambda _done: None, monotonic=lambda: steady[0])
        for _ in range(2)
    )
    user, now = ClerkUserId("user_a"), WallClock().now()
    old = Profile(clerk_user_id=user, mapped=frozenset({"first_name"}), first_name="Old", updated_at=now)
    new = Profile(clerk_user_id=user, mapped=frozenset({"first_name"}), first_name="New", updated_at=now)
    book.accept([ClerkChange(user, at=now, profile=old)], now=now)
    (claim,), until_s = frozen.claim(1)
    steady[0] += 31  # its lease ends while it is frozen
    later = now + timedelta(seconds=31)
    book.accept([ClerkChange(user, at=later, profile=new)], now=later)
    (taken,) = book.claim(now=later, limit=1)
    assert other.write(taken, steady[0] + 20).result == "written"
    assert frozen.write(claim, until_s).result == "lost"
    assert app.row("user_a")["first_name"] == "New"


def test_a_change_without_a_recorded_write_is_written_back_by_the_next(
    app: AppTable, engine_of: Callable[..., Any]
) -> None:
    """The writer is killed between the row and the state: what the row then holds is Clerk's, not the app's."""
    book = ProfileWriteTable(engine_of(app.url, open_engine))
    rows = ProfileUpserts(engine_of(app.url), "public.customers", {c: c for c in COLUMNS})
    writer = RowWriter(lambda: rows, book, WallClock(), ask=None, nudge=lambda _done: None)
    user, start = ClerkUserId("user_a"), WallClock().now()
    mapped = frozenset({"first_name", "phone", "metadata"})

    def accept(at: datetime, first_name: str, phone: str | None, metadata: dict[str, Any]) -> WriteClaim:
        person = {"first_name": first_name, "phone": phone, "metadata": metadata, "updated_at": at}
        profile = Profile(clerk_user_id=user, mapped=mapped, **person)
        book.accept([ClerkChange(user, at=at, profile=profile)], now=at)
        (claim,) = book.claim(now=at, limit=1)
        return claim

    first = accept(start, "Ada", None, {"eu": True, "plan": {"name": "pro"}})
    assert writer.write(first, time.monotonic() + 20).result == "written"
    lost = accept(start + timedelta(seconds=1), "Eve", "+15550100", {"eu": False, "plan": {"name": "free"}, "new": 1})
    assert lost.profile is not None
    assert rows.write_together([RowWrite(lost.profile, lost.last)])[0].outcome == "written"
    back = accept(start + timedelta(seconds=60), "Ada", None, {"eu": True, "plan": {"name": "pro"}})
    assert writer.write(back, time.monotonic() + 20).result == "written"
    row = app.row("user_a")
    found = row["first_name"], row["phone"], row["metadata"]
    assert found == ("Ada", None, {"eu": True, "plan": {"name": "pro"}})


def test_a_frozen_process_holds_a_row_of_the_apps_for_a_moment_only(
    app: AppTable, engine_of: Callable[..., Any]
) -> None:
    app.sql("insert into customers (clerk_user_id) values ('user_a')")
    rows = ProfileUpserts(engine_of(app.url), "public.customers", {c: c for c in COLUMNS})
    frozen, go_on = threading.Event(), threading.Event()

    def freeze() -> None:
        frozen.set()
        go_on.wait(60)

    profile = Profile(clerk_user_id=ClerkUserId("user_a"), mapped=frozenset({"first_name"}), first_name="Late")
    failed: list[BaseException] = []

    def write() -> None:
        try:
            rows.write_together([RowWrite(profile)], still_ours=freeze)
        except TemporaryError as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert frozen.wait(60)
    app.sql("update customers set first_name = 'App' where clerk_user_id = 'user_a'")  # waits for the server to end it
    go_on.set()
    writer.join(60)
    assert len(failed) == 1
    assert app.row("user_a")["first_name"] == "App"


def test_run_that_starts_while_the_table_is_locked_waits_for_it(app: AppTable) -> None:
    waits: list[str] = []
    with psycopg.connect(app.url) as migration, ExitStack() as stack:
        app.harness.write()
        migration.execute("alter table customers add column plan text")
        components = stack.enter_context(open_components(load(*app.harness.paths, {}), warn=waits.append))

        def wait(_seconds: float) -> bool:
            migration.commit()
            return False

        assert open_databases(components, tell=waits.append, wait=wait)


@pytest.fixture
def engine_of() -> Iterator[Callable[..., Any]]:
    """Opens engines that are closed after the test."""
    made: list[Any] = []

    def open_it(url: str, opener: Callable[[str], Any] = open_writer) -> Any:
        made.append(opener(url))
        return made[-1]

    yield open_it
    for engine in made:
        engine.dispose()


def test_a_locked_sqlite_table_of_the_apps_is_written_later_too(harness: RunHarness) -> None:
    harness.settings["clerk"]["upsert_profiles"] = True
    with (
        harness.replica() as run,
        closing(sqlite3.connect(harness.folder / "profiles.db", isolation_level=None)) as other,
    ):
        run.scanned_all()
        other.execute("begin immediate")
        taken = answers(run, [("user.created", someone(f"user_{n}")) for n in range(4)])
        other.execute("rollback")
        assert [status for status, _ in taken] == [202] * 4
        assert max(seconds for _, seconds in taken) < BUDGET_S + SLACK_S
        for n in range(4):
            until(lambda u=f"user_{n}": run.status(u) == "in_sync", f"user_{n} is there")  # type: ignore[misc]
