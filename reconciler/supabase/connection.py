"""Opens the profiles' database for reading, and translates its errors into ours."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from reconciler.errors import SourceBusy, SourceError
from reconciler.outbound.databases.client import POSTGRES_CLIENT, keep_iso_dates
from reconciler.outbound.databases.limits import BEGIN, begin_limited, learn_server, server_of
from reconciler.outbound.databases.logins import DB_LOGINS, DbLogins
from reconciler.outbound.databases.pings import ping_idle
from reconciler.outbound.databases.pool import PatientPool
from reconciler.outbound.databases.refusals import db_refusal, telling_line
from reconciler.outbound.databases.sqlite_file import follow_file, opener
from reconciler.outbound.databases.url import rewritten, url_without_password
from reconciler.supabase.limits import BUSY_S, LIMITS_MS, SILENT

POOL_WAIT_S = 20.0
# Unless the digits are set, a time in seconds would be rounded to days.
READ_ONLY = f"{BEGIN} READ ONLY; SET LOCAL extra_float_digits = 3"
CONNECTIONS = 4  # kept open: to open one costs more than ten reads
CONNECTIONS_MAX = 8  # each read uses one for a short time, and never a second


def open_source(url: str, *, logins: DbLogins = DB_LOGINS, wait_s: float = POOL_WAIT_S) -> Engine:
    """An engine that can't write, not connected yet. ConfigError for an invalid URL.

    `wait_s`: how long a read waits for a free connection at most.

    On Postgres `begin_reading` begins each transaction as READ COMMITTED, READ ONLY, with its limits. That is part of BEGIN,
    so it does not leak to the next client of a transaction pooler. Under READ COMMITTED a statement that waited for a lock
    sees what was committed under that lock; an older snapshot would show an empty table after TRUNCATE.
    `prepare_threshold=None` is also for the pooler (measured with PgBouncer 1.18).
    """
    address = rewritten(url)
    if address.startswith("sqlite"):
        return _sqlite(address)
    engine = create_engine(
        address,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": 10,
            **POSTGRES_CLIENT,
            **SILENT,
        },
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS_MAX - CONNECTIONS,
        pool_timeout=wait_s,
        poolclass=PatientPool,
        pool_recycle=300,
    )
    logins.watch(engine)
    keep_iso_dates(engine)
    ping_idle(engine)
    learn_server(engine, LIMITS_MS)
    return engine


def _sqlite(address: str) -> Engine:
    path = make_url(address).database or ":memory:"
    connect = opener(path, "ro", busy_s=BUSY_S)
    engine = create_engine("sqlite+pysqlite:///", creator=connect, pool_size=2, max_overflow=-1, poolclass=QueuePool)
    follow_file(engine, Path(path))

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # `begin_reading` begins transactions
        connection.text_factory = _text

    return engine


def begin_reading(connection: Connection) -> None:
    """Begin a transaction on a new connection of this engine, with its limits. On SQLite see `BUSY_S`.

    No listener of SQLAlchemy's `begin` does it: with one, each statement looks for listeners, and takes twice as long.
    """
    if connection.dialect.name == "sqlite":
        connection.connection.cursor().execute("BEGIN")  # SQLAlchemy takes ten times as long as SQLite
    else:
        begin_limited(connection, LIMITS_MS, begin=READ_ONLY)


def is_standby(connection: Connection) -> bool:
    """Whether the server of this connection may lag behind another.

    Postgres 14 and later reports it whenever it changes. PgBouncer passes on what the first server said that it ever
    connected to (measured with 1.18, 2026-11), so there the answer at the connect counts, for `pool_recycle` at most.
    """
    server = server_of(connection)
    if server is None or server.is_pooled:
        return server is not None and server.is_standby
    driver: Any = connection.connection.dbapi_connection
    reported = driver.info.parameter_status("in_hot_standby")
    return server.is_standby if reported is None else bool(reported == "on")


def _text(raw: bytes) -> str | bytes:
    """The text, or the bytes if they are not UTF-8: a problem of that row, instead of an error that ends the scan."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


_WAYS_OUT = (
    (
        "readonly database",
        (
            "in WAL mode SQLite writes files beside the database even for a read: give this program write access to its "
            "folder, or have the app run PRAGMA journal_mode=DELETE"
        ),
    ),
    (
        "unable to open database",
        (
            "give the program's user read access to the file and its folder, and write access to the folder if the "
            "file is in WAL mode"
        ),
    ),
    ("no file", "check profiles.url; SQLite paths are relative to the working directory"),
    ("permission denied", "grant the role USAGE on the schema and SELECT on the table, and to the owner of a view"),
    ("SSL", "see sslmode in profiles.url"),
)


BUSY = {  # SQLSTATE: what happened, and what to do
    "55P03": (
        "another transaction has locked the table",
        "the read is repeated later; pg_stat_activity and pg_blocking_pids() show who holds the lock",
    ),
    "57014": (
        "the statement took longer than its statement_timeout",
        "the read is repeated later; index the key column and updated_at, and check statement_timeout of the role",
    ),
    "40001": (
        "the standby cancelled the read, which conflicted with changes that it replays",
        "the read is repeated later; set hot_standby_feedback or max_standby_streaming_delay there, or name the primary",
    ),
    "25P03": (
        "the server ended our transaction because it was idle",
        "the read is repeated later; this process gets too little CPU, or was stopped",
    ),
    "25P04": ("the transaction took longer than the server's transaction_timeout", "the read is repeated later"),
    "53300": (
        "the server has no connection left",
        "the read is repeated later; other clients hold all connections of the server or its pooler",
    ),
}
_COMPUTED = (
    "profiles.table is a view, or has a generated column, with an expression that fails for one row: "
    "make it null there, as with `case when … then …::timestamptz end`"
)
_NO_CHARACTER = "22P05"
_ENCODING = (
    "the database's encoding lacks characters that are compared: use a database that was created with ENCODING 'UTF8'"
)
_QUOTED = re.compile('".*(?:"|$)')
_LOCKED_FILE = (
    "another process has locked the file",
    "the read is repeated later; the app should keep its write transactions short, or use PRAGMA journal_mode=WAL",
)


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Translate the database's errors into SourceError, without statements and values."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise in_our_words(error, url) from error


def in_our_words(error: BaseException, url: str) -> SourceError:
    """The error as SourceBusy if a retry may succeed, otherwise as SourceError."""
    if (busy := _busy(error)) is not None:
        return SourceBusy(f"the profiles in {url_without_password(url)} can't be read now: {busy[0]}", hint=busy[1])
    said = said_by(error)
    refusal = db_refusal(str(getattr(error, "orig", None) or error), setting="profiles.url", host=host_of(url))
    if refusal is not None:
        message = f"the profiles in {url_without_password(url)} can't be read: {said}"
        if refusal.kind in {"blocked", "crowded"}:
            return SourceBusy(message, hint=refusal.hint, retry_after_s=refusal.pause_s)
        return SourceError(message, hint=refusal.hint)
    original = getattr(error, "orig", None) or error
    if getattr(original, "sqlstate", None) == _NO_CHARACTER:
        return SourceError(f"the profiles in {url_without_password(url)} can't be read: {said}", hint=_ENCODING)
    if _is_about_a_value(original):
        return SourceError(f"the profiles in {url_without_password(url)} can't be read: {said}", hint=_COMPUTED)
    hint = next((way for words, way in _WAYS_OUT if words in said), "check profiles.url, the server and the role")
    return SourceError(f"the profiles in {url_without_password(url)} can't be read: {said}", hint=hint)


def is_lost(error: BaseException | None) -> bool:
    """Whether the connection was lost during a transaction, by the server, a pooler or the network."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _busy(error: BaseException) -> tuple[str, str] | None:
    original = getattr(error, "orig", None) or error
    if isinstance(original, sqlite3.Error):
        is_locked = getattr(original, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
        return _LOCKED_FILE if is_locked else None
    if isinstance(original, PoolTimeoutError):
        return "all connections to it are in use", "the read is repeated later; check for slow statements"
    return BUSY.get(getattr(original, "sqlstate", None) or "")


def said_by(error: BaseException) -> str:
    """The first line of the server's message. Further lines may contain values; a quoted value is removed."""
    original = getattr(error, "orig", None) or error
    said = telling_line(str(original))
    return _QUOTED.sub("…", said) if _is_about_a_value(original) else said


def _is_about_a_value(error: BaseException) -> bool:
    return str(getattr(error, "sqlstate", None) or "").startswith("22")


def host_of(url: str) -> str:
    """The host of a database's URL; empty if there is none."""
    return make_url(rewritten(url)).host or ""
