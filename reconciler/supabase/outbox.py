"""The outbox: a table that triggers on the profiles fill with the names of whose row has changed. Optional, only faster.

`reconciler db outbox` prints the SQL that makes it (sql/outbox.sql); nothing here makes or alters anything. `run` drains
it into the queue. A hint that is lost changes nothing but the time of the next look, so the trigger may lose one rather
than hurt a sign-up, and here each is handed over at least once. The database belongs to the app: rows are read, handed
over, and deleted afterwards by a second short transaction, so that none is open while the queue is waited for.

The ground is asking the table again and again. Where the connection can hear NOTIFY, that is asked less often and at
once when something is there. Behind a transaction pooler LISTEN is accepted and silently deaf (PgBouncer 1.18 and Supabase's
port 6543, tried 2026-11), so hearing is proven before it is relied on.
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

from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import ConfigError, SourceBusy, SourceError
from reconciler.outbound.databases.logins import DB_LOGINS
from reconciler.outbound.databases.url import rewritten
from reconciler.supabase.connection import BUSY, said_by
from reconciler.supabase.limits import limit

TABLE: Final = "reconciler_outbox.outbox"
CHANNEL: Final = "reconciler_outbox"
BATCH: Final = 1000
QUIET_S: Final = 15.0  # between looks while the ears hear nothing: a connection may have gone deaf unseen
PAUSE_S: Final = 60.0  # after a failure, and where there is no outbox
PROOF_S: Final = 2.0
USER_ID_MAX: Final = 255
_ABSENT: Final = frozenset({"42P01", "3F000"})
_DENIED: Final = "42501"
_OLDEST: Final = sa.text(f"SELECT id, clerk_user_id FROM {TABLE} ORDER BY id LIMIT :limit")  # noqa: S608  a constant
_DELETE: Final = sa.text(f"DELETE FROM {TABLE} WHERE id = ANY(CAST(:ids AS bigint[]))")  # noqa: S608  a constant

HandOver = Callable[[Sequence[ClerkUserId]], object]


class NoOutbox(Exception):
    """There is no such table."""


# --- the SQL that makes it --------------------------------------------------------------------------------------------


def outbox_sql(table: str, key: str, role: str, *, remove: bool = False) -> str:
    """The statements that make the outbox of this table ("schema.table"), or take it away; drained by `role`."""
    schema, _, name = table.rpartition(".")
    values = {
        "@TABLE@": f"{_quoted(schema or 'public')}.{_quoted(name)}",
        "@KEY@": _quoted(key),
        "@ROLE@": _quoted(role),
    }
    text = (files("reconciler.supabase") / "sql" / ("outbox_remove.sql" if remove else "outbox.sql")).read_text("utf-8")
    return re.sub("@(?:TABLE|KEY|ROLE)@", lambda found: values[found[0]], text)


def _quoted(name: str) -> str:
    """An identifier; what would end the comment or the line that it stands in is no name of ours."""
    if not name or not name.isprintable():
        raise ConfigError(f"{name!r} is no name of a table, a column or a role", hint="check profiles.table")
    return '"{}"'.format(name.replace('"', '""'))


# --- taking from it ---------------------------------------------------------------------------------------------------


class Outbox:
    """The table, through an engine that may write. Thread-safe; two processes that drain at once may give the same users."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def drain(self, rows_max: int = BATCH, hand_over: HandOver | None = None) -> list[ClerkUserId]:
        """Take the oldest rows, and give the users that they name, each once. NoOutbox, SourceError.

        `hand_over` is called before they are deleted: if it raises, or this process dies in it, they stay for the next.
        No transaction is open while it runs, however long it takes.
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
        """Delete these very rows: one that was written since the read stays, whatever user it names."""
        with self._transaction() as connection:
            connection.execute(_DELETE, {"ids": ids})

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                limit(connection)
                yield connection
        except SQLAlchemyError as error:
            raise _in_our_words(error) from error


def _is_a_name(text: str) -> bool:
    """Whether it may be a Clerk user's id at all: anybody who writes the profiles' table can put anything in its key."""
    return text.isprintable() and 0 < len(text) <= USER_ID_MAX


def _in_our_words(error: SQLAlchemyError) -> Exception:
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    if state in _ABSENT:
        return NoOutbox()
    if state == _DENIED:
        hint = "reconciler db outbox prints the grants that are missing; or drop the schema reconciler_outbox"
        return SourceError(f"the role of profiles.url may not take from {TABLE}", hint=hint)
    if state in BUSY:
        happened, hint = BUSY[state]
        return SourceBusy(f"{TABLE} can't be read now: {happened}", hint=hint)
    return SourceError(f"{TABLE} can't be read: {said_by(error)}", hint="check profiles.url, the server and the role")


# --- hearing ----------------------------------------------------------------------------------------------------------


class Listener:
    """One connection that listens, once it has proven that it hears."""

    def __init__(self, url: str) -> None:
        self._url = rewritten(url).replace("postgresql+psycopg://", "postgresql://", 1)
        self._connection: psycopg.Connection | None = None

    def open(self) -> bool:
        """Listen, and whisper to oneself from another connection. False: this way to the database is deaf.

        psycopg.Error where it can't be reached.
        """
        self.close()
        connection = self._connected()
        try:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            nonce = uuid4().hex
            with self._connected() as other:
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
        """Whether anything was said since the last time; returns at once. psycopg.Error where the connection is gone."""
        if self._connection is None:
            return False
        said = list(self._connection.notifies(timeout=0))
        if self._connection.closed:
            raise psycopg.OperationalError("the connection that listens is gone")
        return bool(said)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        def connect() -> psycopg.Connection:
            return psycopg.connect(
                self._url,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=10,
                application_name="customer-parity",
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )

        return DB_LOGINS.connect(self._url, connect)


Hearing = Literal["untried", "hears", "deaf", "lost"]


class NudgeFeed:
    """What `run` asks every second or so: whose row has changed? Does no more than it must; one thread at a time."""

    def __init__(
        self,
        outbox: Outbox,
        listener: Listener | None = None,
        *,
        batch: int = BATCH,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._listener, self._batch, self._monotonic = outbox, listener, batch, monotonic
        self.hearing: Hearing = "untried" if listener is not None else "deaf"
        self._not_before = self._listen_at = float("-inf")
        self._looked_at = float("-inf")

    def poll(self, hand_over: HandOver | None = None) -> tuple[ClerkUserId, ...]:
        """Whose row has changed; nobody where there is no outbox. `hand_over`: as Outbox.drain has it.

        SourceError, said once a minute, where the table can't be read.
        """
        now = self._monotonic()
        if now < self._not_before or (not self._called() and now - self._looked_at < QUIET_S):
            return ()
        try:
            users = self._outbox.drain(self._batch, hand_over)
        except NoOutbox:
            self._not_before = now + PAUSE_S
            return ()
        except SourceError:
            self._not_before = now + PAUSE_S
            raise
        self._looked_at = float("-inf") if users else now  # there may be more
        self._listen(now)
        return tuple(users)

    def close(self) -> None:
        """Let go of the connection that listens."""
        if self._listener is not None:
            self._listener.close()

    def _called(self) -> bool:
        """Whether somebody called; always, where nobody could be heard."""
        if self._listener is None or self.hearing != "hears":
            return True
        try:
            return self._listener.heard()
        except psycopg.Error:
            self._listener.close()
            self.hearing = "lost"
            return True

    def _listen(self, now: float) -> None:
        """Begin to listen where that was not tried or has broken off; the table is looked at once more after it."""
        if self._listener is None or self.hearing not in {"untried", "lost"} or now < self._listen_at:
            return
        self._listen_at = now + PAUSE_S
        try:
            self.hearing = "hears" if self._listener.open() else "deaf"
        except psycopg.Error:
            self.hearing = "lost"
        self._looked_at = float("-inf")  # what was told between the look and the listening
