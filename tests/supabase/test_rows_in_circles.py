"""Rows that take each other's emails and phones, in tables of the app that let only one row have each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from reconciler.controller.profile_rows.backfill import Tally, write_rows
from reconciler.controller.profile_rows.writer import RowWriter
from reconciler.core.decide.profile_rows.write import ClerkChange
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.state.database.engine import open_engine
from reconciler.state.profile_writes import ProfileWriteTable
from reconciler.supabase.writing.engine import open_writer
from reconciler.supabase.writing.upsert import ProfileUpserts
from tests import servers
from tests.clock import WallClock

COLUMNS = ("clerk_user_id", "email", "phone", "updated_at")
FIELDS = frozenset({"email", "phone"})
Addresses = Mapping[str, tuple[str | None, str | None]]
"""Email and phone by user."""

TABLE = "alter table customers add unique (email), add unique (phone)"
TABLES = (
    "alter table customers add unique (email) deferrable initially deferred, add unique (phone) deferrable",
    "create unique index on customers (lower(email)); create unique index on customers (phone)",
    """create unique index on customers (email) where deleted_at is null;
    create unique index on customers (phone) where deleted_at is null""",
    """create extension citext; alter table customers alter email type citext;
    alter table customers add unique (email), add unique (phone)""",
)
BEFORE: Addresses = {name: (f"{name}@x.example", f"+4531000{n}") for n, name in enumerate("abcd")}
(EMAIL_A, PHONE_A), (EMAIL_B, PHONE_B), (EMAIL_C, PHONE_C), (EMAIL_D, PHONE_D) = BEFORE.values()
PHONES: Addresses = {"a": (EMAIL_A, PHONE_B), "b": (EMAIL_B, PHONE_A)}
BOTH: Addresses = {"a": (EMAIL_B.upper() if EMAIL_B else None, PHONE_B), "b": (EMAIL_A, PHONE_A)}
CHANGES: tuple[Addresses, ...] = (
    BOTH,
    {"a": (EMAIL_A, PHONE_B), "b": (EMAIL_B, PHONE_C), "c": (EMAIL_C, PHONE_A)},
    {"a": (EMAIL_B, "+45990001"), "b": ("free@x.example", PHONE_A)},  # an email for a phone
    {"a": (EMAIL_B, PHONE_C), "b": (EMAIL_A, PHONE_B), "c": (EMAIL_C, PHONE_A)},  # two circles with one user in both
    {**PHONES, "c": (EMAIL_C, PHONE_D), "d": (EMAIL_D, None)},  # a circle, and a phone that is free
)


@dataclass
class App:
    """A table of the app, and the writer of its rows."""

    connection: psycopg.Connection[dict[str, Any]]
    writer: RowWriter
    book: ProfileWriteTable

    def tell(self, addresses: Addresses) -> None:
        """Clerk has these addresses of these users, and says so of all before a row is written."""
        for profile in profiles_of(addresses):
            change = ClerkChange(profile.clerk_user_id, at=profile.updated_at, profile=profile)
            self.book.accept([change], now=WallClock().now())

    def write(self) -> list[str]:
        """Write what is due, until nothing is; return what became of each claim."""
        results: list[str] = []
        while True:
            claims, until = self.writer.claim(9)
            if not claims:
                return results
            results += [self.writer.write(claim, until).result for claim in claims]

    def rows(self) -> Addresses:
        found = self.connection.execute("select * from customers order by clerk_user_id").fetchall()
        return {row["clerk_user_id"]: (row["email"], row["phone"]) for row in found}


def profiles_of(addresses: Addresses) -> list[Profile]:
    """What Clerk says of users with these addresses, from now on."""
    now = WallClock().now()
    return [
        Profile(clerk_user_id=ClerkUserId(user), mapped=FIELDS, email=email, phone=phone, updated_at=now)
        for user, (email, phone) in addresses.items()
    ]


@pytest.fixture
def app(postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[Callable[[str], Any]]:
    """Makes a table with what else it is to have."""
    url = postgres.url(postgres_database(migrated=True))
    state, profiles = open_engine(url), open_writer(url)
    book = ProfileWriteTable(state)

    @contextmanager
    def made(others: str) -> Iterator[App]:
        with closing(psycopg.connect(url, autocommit=True, row_factory=dict_row)) as connection:
            connection.execute("drop table if exists customers")
            connection.execute("drop extension if exists citext")
            connection.execute("delete from reconciler.reconciler_profile_write")
            connection.execute(
                "create table public.customers (clerk_user_id text primary key, email text, phone text, "
                "updated_at timestamptz, deleted_at timestamptz)"
            )
            connection.execute(others.encode())
            rows = ProfileUpserts(profiles, "public.customers", {c: c for c in COLUMNS})
            yield App(connection, RowWriter(lambda: rows, book, WallClock(), ask=None, nudge=lambda _done: None), book)

    yield made
    state.dispose()
    profiles.dispose()


def check_written(app: Callable[[str], Any], table: str, after: Addresses) -> None:
    """All of Clerk's addresses reach the table."""
    with app(table) as theirs:
        theirs.tell(BEFORE)
        assert set(theirs.write()) == {"written"}
        theirs.tell(after)
        theirs.write()
        assert theirs.rows() == {**BEFORE, **after}
        assert theirs.write() == []


def test_rows_that_take_each_others_addresses_are_written(app: Callable[[str], Any]) -> None:
    for after in CHANGES:
        check_written(app, TABLE, after)


def test_a_backfill_writes_rows_that_take_each_others_addresses(app: Callable[[str], Any]) -> None:
    with app(TABLE) as theirs:
        theirs.tell(BEFORE)
        theirs.write()
        tally = Tally()
        write_rows(profiles_of(BOTH), theirs.writer.write_now, tally)
        assert theirs.rows() == {**BEFORE, **BOTH}
        assert tally.failed == []
        assert theirs.write() == []


@pytest.mark.slow
def test_rows_that_take_each_others_addresses_are_written_however_the_table_keeps_them_apart(
    app: Callable[[str], Any],
) -> None:
    for table in TABLES:
        for after in (PHONES, BOTH):
            check_written(app, table, after)
    check_written(app, "alter table customers alter email set not null, add unique (phone), add unique (email)", PHONES)
