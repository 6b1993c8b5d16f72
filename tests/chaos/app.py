"""The app that owns the profiles table: its everyday writes, and what its owners do to the table.

Every write is repeated until it is confirmed, as an app with a retry does; all of them may be done twice.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.chaos import consent
from tests.chaos.people import EU, US, Population, User

TABLE = """
CREATE TABLE customers (
  clerk_user_id text PRIMARY KEY, email text, email_verified boolean, first_name text, last_name text, phone text,
  avatar_url text, metadata jsonb NOT NULL DEFAULT '{}', updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz)
"""
EXTRA = "extra"
GRANTS = "GRANT SELECT, INSERT, UPDATE ON customers TO reader"
AGAIN_S = 0.2
TIMEOUT = "-c statement_timeout=40000"
GIVES_UP_S = 300.0
UPSERT = """
INSERT INTO customers (clerk_user_id, email, email_verified, first_name, last_name, phone, avatar_url, metadata, updated_at)
VALUES (%(id)s, %(email)s, true, %(first)s, %(last)s, %(phone)s, %(avatar)s, %(metadata)s, %(at)s)
ON CONFLICT (clerk_user_id) DO UPDATE SET email = excluded.email, email_verified = true, first_name = excluded.first_name,
  last_name = excluded.last_name, phone = excluded.phone, avatar_url = excluded.avatar_url,
  metadata = customers.metadata || excluded.metadata, updated_at = excluded.updated_at, deleted_at = NULL
"""
WHOLE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.InvalidCatalogName)


def row_of(user: User, at: Any) -> dict[str, Any]:
    """The row of a user: the truth in columns."""
    return {
        "id": user.id, "email": user.email, "first": user.first, "last": user.last, "phone": user.phone,
        "avatar": user.avatar, "metadata": metadata_of(user), "at": at,
    }  # fmt: skip


def metadata_of(user: User) -> str:
    """Which shops want the user, as `where` in stores.yaml asks, and the answer to marketing."""
    return json.dumps({"us": US in user.shops, "eu": EU in user.shops, **consent.metadata_of(user)})


@dataclass(slots=True)
class App:
    """One program: what it does to the table as a whole keeps its other writes waiting (`lock`)."""

    url: str
    stop: threading.Event
    lock: threading.RLock = field(default_factory=threading.RLock)
    slowest_s: float = 0.0
    hints: str = ""
    """The SQL that makes the outbox, which the app's owner runs again where the table is a new one; empty: none."""
    held: bool = False
    """The app itself keeps its table locked now: a slow write is its own doing."""

    def confirmed(self, work: Callable[[psycopg.Connection], Any]) -> Any:
        """Do this in a transaction, again and again until it is confirmed; TimeoutError where that takes too long."""
        end = time.monotonic() + GIVES_UP_S
        while time.monotonic() < end and not self.stop.is_set():
            try:
                with psycopg.connect(
                    self.url, connect_timeout=5, application_name="app", options=TIMEOUT
                ) as connection:
                    return work(connection)
            except WHOLE:
                self.stop.wait(AGAIN_S)
        raise TimeoutError("the app gave up: its statement was not confirmed")

    def write(self, *statements: tuple[str, Any], pause_s: float = 0.0) -> None:
        """Statements in one transaction, which stays open for `pause_s` before it is committed."""

        def work(connection: psycopg.Connection) -> None:
            for statement, values in statements:
                connection.execute(statement.encode(), values)
            if pause_s:
                self.stop.wait(pause_s)

        with self.lock:
            before = time.monotonic()
            self.confirmed(work)
            self.slowest_s = max(self.slowest_s, time.monotonic() - before - pause_s)

    def pause(self, seconds: float) -> None:
        self.stop.wait(seconds)

    def make(self) -> None:
        self.write((TABLE, None), (GRANTS, None))

    def tell(self, hints: str) -> None:
        """Let triggers tell which row has changed."""
        self.hints = hints
        self._hint()

    def _hint(self) -> None:
        if self.hints:
            with self.alone():
                self.confirmed(lambda connection: connection.execute(self.hints.encode()))

    def upsert(self, *users: User, pause_s: float = 0.0) -> None:
        """The rows of these users as they should be, together."""
        at = self.confirmed(lambda c: c.execute("SELECT clock_timestamp()").fetchone())[0]
        self.write(*((UPSERT, row_of(user, at)) for user in users), pause_s=pause_s)

    def restore(self, user: User, row: dict[str, Any]) -> None:
        """A row that was deleted is there again, exactly as it was."""
        names = [name for name in row if name != EXTRA]  # a column that a migration has added for a while
        marks = ", ".join(f"%({name})s" for name in names)
        statement = f"INSERT INTO customers ({', '.join(names)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
        self.write((statement, row))

    def row(self, user_id: str) -> dict[str, Any] | None:
        def work(connection: psycopg.Connection) -> Any:
            cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
            return cursor.execute("SELECT * FROM customers WHERE clerk_user_id = %s", [user_id]).fetchone()

        with self.lock:
            found = self.confirmed(work)
        return {**found, "metadata": json.dumps(found["metadata"])} if found else None

    def rows(self) -> dict[str, dict[str, Any]]:
        """All rows by user."""

        def work(connection: psycopg.Connection) -> Any:
            cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
            return cursor.execute("SELECT * FROM customers").fetchall()

        with self.lock:
            return {row["clerk_user_id"]: row for row in self.confirmed(work)}

    def delete(self, user: User) -> None:
        self.write(("DELETE FROM customers WHERE clerk_user_id = %s", [user.id]))

    def mark(self, user: User) -> None:
        self.write(("UPDATE customers SET deleted_at = now(), updated_at = now() WHERE clerk_user_id = %s", [user.id]))

    def bare(self, user: User) -> None:
        """The app's sign-up makes a row with nothing but the key, before Clerk's webhook comes."""
        self.write(("INSERT INTO customers (clerk_user_id) VALUES (%s) ON CONFLICT DO NOTHING", [user.id]))

    def keeps(self, user: User, key: str, value: str) -> None:
        """Something of the app's own in the metadata of a row that Clerk's webhooks write."""
        statement = "UPDATE customers SET metadata = metadata || %s, updated_at = now() WHERE clerk_user_id = %s"
        self.write((statement, [json.dumps({key: value}), user.id]))

    # --- what owners do to the table as a whole -------------------------------------------------------------------

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other write of the app's meanwhile."""
        with self.lock:
            self.held = True
            try:
                yield
            finally:
                self.held = False

    def locked(self, seconds: float) -> None:
        """A migration keeps the table locked."""
        self._whole("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE", pause_s=seconds)

    def reloaded(self, seconds: float) -> None:
        """Truncated and loaded again in one transaction: the same rows before and after."""
        self._whole(
            "LOCK TABLE customers IN ACCESS EXCLUSIVE MODE",
            "CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE customers",
            "TRUNCATE customers",
            "INSERT INTO customers SELECT * FROM kept",
            pause_s=seconds,
        )

    def swapped(self, seconds: float) -> None:
        """A new table with the same rows takes the place of the old one."""
        self._whole(
            "LOCK TABLE customers IN ACCESS EXCLUSIVE MODE",
            "CREATE TABLE customers_new (LIKE customers INCLUDING ALL)",
            "INSERT INTO customers_new SELECT * FROM customers",
            "DROP TABLE customers",
            "ALTER TABLE customers_new RENAME TO customers",
            GRANTS,
            pause_s=seconds,
        )
        self._hint()

    def altered(self, seconds: float) -> None:
        """A column more, and one less, which rewrites the table."""
        self._whole(f"ALTER TABLE customers ADD COLUMN IF NOT EXISTS {EXTRA} text", pause_s=seconds)
        self._whole(f"ALTER TABLE customers DROP COLUMN IF EXISTS {EXTRA}")
        self._whole("ALTER TABLE customers ALTER COLUMN first_name TYPE varchar(80)")
        self._whole("ALTER TABLE customers ALTER COLUMN first_name TYPE text")

    def column_away(self, seconds: float) -> None:
        """A mapped column has another name for a while."""
        there = (
            "SELECT count(*) = 1 FROM information_schema.columns WHERE table_name = 'customers' AND column_name = %s"
        )
        self._once(there, "last_name", "ALTER TABLE customers RENAME COLUMN last_name TO surname")
        self.stop.wait(seconds)
        self._once(there, "surname", "ALTER TABLE customers RENAME COLUMN surname TO last_name")

    def away(self, seconds: float) -> None:
        """The table has another name for a while."""
        there = "SELECT to_regclass(%s) IS NOT NULL"
        self._once(there, "customers", "ALTER TABLE customers RENAME TO customers_away")
        self.stop.wait(seconds)
        self._once(there, "customers_away", "ALTER TABLE customers_away RENAME TO customers")

    def emptied(self, seconds: float, population: Population) -> None:
        """Truncated, committed, and loaded again some time later in three parts.

        What webhooks wrote meanwhile is newer and stays. The app knows which users Clerk has deleted meanwhile.
        """
        self._once(
            "SELECT to_regclass(%s) IS NULL",
            "kept",
            "LOCK TABLE customers IN ACCESS EXCLUSIVE MODE",  # what is written after the copy would be lost
            "CREATE TABLE kept AS TABLE customers",
            "TRUNCATE customers",
        )
        self.stop.wait(seconds)
        for part in range(3):
            some = f"SELECT * FROM kept WHERE abs(hashtext(clerk_user_id)) % 3 = {part}"
            self._whole(
                f"INSERT INTO customers {some} ON CONFLICT (clerk_user_id) DO UPDATE SET "
                "metadata = excluded.metadata || customers.metadata"
            )
            self.stop.wait(seconds / 4)
        gone = [user.id for user in population.users.values() if user.marked]
        self.write(
            ("UPDATE customers SET deleted_at = now() WHERE clerk_user_id = ANY(%s) AND deleted_at IS NULL", [gone]),
            ("DROP TABLE IF EXISTS kept", None),
        )

    def _whole(self, *statements: str, pause_s: float = 0.0) -> None:
        with self.alone():
            self.write(*((statement, None) for statement in statements), pause_s=pause_s)

    def _once(self, condition: str, name: str, *statements: str) -> None:
        """The statements, where the condition holds for this name: after an unconfirmed commit they are done already."""

        def work(connection: psycopg.Connection) -> None:
            found = connection.execute(condition.encode(), [name]).fetchone()
            if found and found[0]:
                for statement in statements:
                    connection.execute(statement.encode())

        with self.alone():
            self.confirmed(work)
