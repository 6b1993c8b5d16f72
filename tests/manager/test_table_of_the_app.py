"""The profiles' table belongs to the app: its writes and its migrations never wait for a shop."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import servers
from tests.manager.harness import COLUMNS, HELD_S, TABLE, RunHarness, run_harness, until

PEOPLE = 60
BUSY_S = 1.0


@pytest.fixture(params=["sqlite", "postgres"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunHarness]:
    """A shop that answers nothing but the first question, and a table that the app writes all the time."""
    with run_harness(tmp_path) as found:
        if request.param == "sqlite":
            found.sql("pragma journal_mode=delete")  # without WAL a reader keeps a writer out
        else:
            server: servers.Server = request.getfixturevalue("postgres")
            database: Callable[..., str] = request.getfixturevalue("postgres_database")
            found.settings["profiles"].update(url=server.url(database()), table="public.customers")
        rows = [
            (f"user_{n:03}", f"u{n}@example.com", 1, "Ada", None, None, "en-US", "2026-01-05T09:00:00Z", None)
            for n in range(PEOPLE)
        ]
        write = writer_of(found)
        if request.param == "postgres":
            write(TABLE)
        marks = ", ".join(["%s"] * len(COLUMNS))
        for row in rows:
            write(f"insert into customers values ({marks})", *row)
        found.settings["controller"]["resync_s"] = 0.2
        yield found


def writer_of(harness: RunHarness) -> Callable[..., None]:
    """The app's way to its table: it waits for no longer than a second."""
    url: str = harness.settings["profiles"]["url"]

    def write(statement: str, *values: Any) -> None:
        if url.startswith("sqlite"):
            path = url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection, connection:
                connection.execute(statement.replace("%s", "?"), values)
            return
        with psycopg.connect(url) as connection_pg:
            connection_pg.execute(f"SET lock_timeout = '{BUSY_S:g}s'".encode())
            connection_pg.execute(statement.encode(), values or None)

    return write


def test_the_app_writes_and_migrates_while_a_shop_hangs(harness: RunHarness) -> None:
    write = writer_of(harness)
    with harness.replica() as run:
        slow = harness.shop().faults.add("slow", seconds=HELD_S, times=None)
        write("update customers set first_name = 'Grace'")
        until(lambda: slow.hits > 0, "the shop hangs in a call")
        for number in range(10):
            write("update customers set last_name = %s where clerk_user_id = %s", f"L{number}", f"user_{number:03}")
            write(f"alter table customers add column extra_{number} text")
        harness.shop().faults.clear()
        until(lambda: run.status("user_059") == "in_sync", "everybody is there in the end")


@pytest.mark.slow
def test_readers_that_never_rest_keep_no_writer_out(harness: RunHarness) -> None:
    write = writer_of(harness)
    ended = threading.Event()
    with harness.replica() as run:
        run.scanned_all()
        profiles = run.components.profiles

        def read() -> None:
            while not ended.is_set():
                for _ in profiles.scan(chunk=20):
                    if ended.is_set():
                        break
                profiles.sharing_email(None)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            for number in range(8):
                write("update customers set last_name = %s", f"L{number}")
        finally:
            ended.set()
            for reader in readers:
                reader.join()
        assert {profile.last_name for part in profiles.scan() for profile in part} == {"L7"}
