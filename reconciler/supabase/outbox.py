"""The outbox: a table that triggers on the profiles table fill with the ids of users with changed rows. Optional.

`reconciler db outbox` prints the SQL that creates it (sql/outbox.sql); this module never creates or alters it. `run` drains
it into the queue. A lost row only delays the next reconcile, so the trigger loses a row rather than fail a sign-up, and
this module delivers each row at least once. The database belongs to the app: rows are read, handed over, and then
deleted by a second short transaction, so that no transaction is open while the queue is written.

The table is polled. If the connection receives NOTIFY, it is polled less often, and immediately after a notification.
Behind a transaction pooler LISTEN succeeds without ever receiving anything (PgBouncer 1.18 and Supabase's port 6543, tried
2026-11), so a test notification is sent first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Final, Literal
from uuid import uuid4

import psycopg
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from reconciler.core.model.ids import USER_ID_MAX, ClerkUserId
from reconciler.errors import ConfigError, SourceBusy, SourceError
from reconciler.outbound.databases.client import POSTGRES_CLIENT
from reconciler.outbound.databases.limits import begin_limited
from reconciler.outbound.databases.logins import DB_LOGINS
from reconciler.outbound.databases.patience import BoundedConnection
from reconciler.outbound.databases.url import rewritten
from reconciler.supabase.connection import BUSY, said_by
from reconciler.supabase.limits import LIMITS_MS

TABLE: Final = "reconciler_outbox.outbox"
CHANNEL: Final = "reconciler_outbox"
BATCH: Final = 1000
QUIET_S: Final = 15.0  # between reads without a notification: the connection may have stopped receiving them
PAUSE_S: Final = 60.0  # after a failure, or if there is no outbox
PROOF_S: Final = 2.0
_ABSENT: Final = frozenset({"42P01", "3F000"})
_DENIED: Final = "42501"
_OLDEST: Final = sa.text(f"SELECT id, clerk_user_id FROM {TABLE} ORDER BY id LIMIT :limit")  # noqa: S608  a constant
_DELETE: Final = sa.text(f"DELETE FROM {TABLE} WHERE id = ANY(CAST(:ids AS bigint[]))")  # noqa: S608  a constant

HandOver = Callable[[Sequence[ClerkUserId]], object]


class NoOutbox(Exception):
    """The outbox table does not exist."""


# --- the SQL that creates it ------------------------------------------------------------------------------------------


def outbox_sql(table: str, key: str, role: str, *, remove: bool = False) -> str:
    """The statements that create or remove the outbox of this table ("schema.table"), which `role` drains."""
    schema, _, name = table.rpartition(".")
    values = {
        "@TABLE@": f"{_quoted(schema or 'public')}.{_quoted(name)}",
        "@KEY@": _quoted(key),
        "@ROLE@": _quoted(role),
    }
    text = (files("reconciler.supabase") / "sql" / ("outbox_remove.sql" if remove else "outbox.sql")).read_text("utf-8")
    return re.sub("@(?:TABLE|KEY|ROLE)@", lambda found: values[found[0]], text)


def _quoted(name: str) -> str:
    """The quoted identifier. ConfigError for a name with control characters, which could end a comment or a line."""
    if not name or not name.isprintable():
        raise ConfigError(f"{name!r} is not a name of a table, a column or a role", hint="check profiles.table")
    return '"{}"'.format(name.replace('"', '""'))


# --- draining ---------------------------------------------------------------------------------------------------------


class Outbox:
    """The outbox table. Thread-safe; two processes that drain it at the same time may return the same users."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def drain(self, rows_max: int = BATCH, hand_over: HandOver | None = None) -> list[ClerkUserId]:
        """Remove the oldest rows and return their users, each once. Raises NoOutbox and SourceError.

        `hand_over` is called before they are deleted: if it raises, or the process dies, the rows remain. No transaction is
        open while it runs.
        """
        rows = self._oldest(rows_max)
        users = list(dict.fromkeys(ClerkUserId(name) for _, name in rows if _is_a_name(name)))
        if users and hand_over is not None:
            hand_over(users)
        if rows:
            self._delete([row_id for row_id, _ in rows])
        return users

    def _oldest(self, rows_max: int) -> list[tuple[int, str]]:
        with self._transaction() as connection:
            return [(row_id, name) for row_id, name in connection.execute(_OLDEST, {"limit": rows_max})]

    def _delete(self, ids: Sequence[int]) -> None:
        """Delete these rows. Rows that were written since the read remain, even of the same users."""
        with self._transaction() as connection:
            connection.execute(_DELETE, {"ids": ids})

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                begin_limited(connection, LIMITS_MS)
                yield connection
        except SQLAlchemyError as error:
            raise _in_our_words(error) from error


def _is_a_name(text: str) -> bool:
    """Whether it can be a Clerk user id: the key of the profiles table may contain anything."""
    return text.isprintable() and 0 < len(text) <= USER_ID_MAX


def _in_our_words(error: SQLAlchemyError) -> Exception:
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    if state in _ABSENT:
        return NoOutbox()
    if state == _DENIED:
        hint = "reconciler db outbox prints the missing grants; or drop the schema reconciler_outbox"
        return SourceError(f"the role of profiles.url may not drain {TABLE}", hint=hint)
    if state in BUSY:
        happened, hint = BUSY[state]
        return SourceBusy(f"{TABLE} can't be read now: {happened}", hint=hint)
    return SourceError(f"{TABLE} can't be read: {said_by(error)}", hint="check profiles.url, the server and the role")


# --- listening --------------------------------------------------------------------------------------------------------


class Listener:
    """One connection that listens, after a test notification has reached it."""

    def __init__(self, url: str) -> None:
        self._url = rewritten(url).replace("postgresql+psycopg://", "postgresql://", 1)
        self._connection: psycopg.Connection | None = None

    def open(self) -> bool:
        """Listen, and send a test notification from another connection. Returns whether it was received.

        psycopg.Error if the database can't be reached.
        """
        self.close()
        connection = self._connect()
        try:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            nonce = uuid4().hex
            with self._connect() as other:
                other.execute("SELECT pg_notify(%s, %s)", (CHANNEL, nonce))
            hears = any(note.payload == nonce for note in connection.notifies(timeout=PROOF_S))
        except psycopg.Error:
            connection.close()
            raise
        if hears:
            self._connection = connection
        else:
            connection.close()
        return hears

    def heard(self) -> bool:
        """Whether there was a notification since the last call; does not wait. psycopg.Error if the connection is lost."""
        if self._connection is None:
            return False
        said = list(self._connection.notifies(timeout=0))
        if self._connection.closed:
            raise psycopg.OperationalError("the listening connection is lost")
        return bool(said)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection:
        def connect() -> psycopg.Connection:
            return BoundedConnection.connect(
                self._url,
                autocommit=True,
                connect_timeout=10,
                **POSTGRES_CLIENT,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )

        return DB_LOGINS.connect(self._url, connect)


Hearing = Literal["untried", "hears", "deaf", "lost"]


class NudgeFeed:
    """Polls the outbox for `run`, about once a second, and reads the table only when needed. For one thread at a time."""

    def __init__(
        self,
        outbox: Outbox,
        listener: Listener | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._listener, self._monotonic = outbox, listener, monotonic
        self.hearing: Hearing = "untried" if listener is not None else "deaf"
        self._not_before = self._listen_at = float("-inf")
        self._drained_at = float("-inf")

    def poll(self, hand_over: HandOver | None = None) -> tuple[ClerkUserId, ...]:
        """The users with changed rows; none if there is no outbox. `hand_over`: see Outbox.drain.

        SourceError, at most once a minute, if the table can't be read.
        """
        now = self._monotonic()
        if now < self._not_before or (not self._has_news() and now - self._drained_at < QUIET_S):
            return ()
        try:
            users = self._outbox.drain(hand_over=hand_over)
        except NoOutbox:
            self._not_before = now + PAUSE_S
            return ()
        except SourceError:
            self._not_before = now + PAUSE_S
            raise
        self._drained_at = float("-inf") if users else now  # there may be more
        self._listen(now)
        return tuple(users)

    def close(self) -> None:
        """Close the listening connection."""
        if self._listener is not None:
            self._listener.close()

    def _has_news(self) -> bool:
        """Whether there was a notification; always True if notifications are not received."""
        if self._listener is None or self.hearing != "hears":
            return True
        try:
            return self._listener.heard()
        except psycopg.Error:
            self._listener.close()
            self.hearing = "lost"
            return True

    def _listen(self, now: float) -> None:
        """Start to listen, if that was not tried or the connection was lost; the table is read again after it."""
        if self._listener is None or self.hearing not in {"untried", "lost"} or now < self._listen_at:
            return
        self._listen_at = now + PAUSE_S
        try:
            self.hearing = "hears" if self._listener.open() else "deaf"
        except psycopg.Error:
            self.hearing = "lost"
        self._drained_at = float("-inf")  # read again: rows may have come between the read and LISTEN
