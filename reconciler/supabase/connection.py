"""Opens the profiles' database for reading only, and says in our words what it says no with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from reconciler.core import normalise
from reconciler.core.dburl import rewritten, shown
from reconciler.errors import SourceError

SCANS_AT_ONCE = 8
CONNECTIONS_FOR_POINTS = 4  # beside the scans, so that a look at one user never waits for a sweep


def open_source(url: str) -> Engine:
    """An engine that can't write; nothing is connected yet. ConfigError for a URL that can't be used.

    On Postgres each transaction begins as REPEATABLE READ, READ ONLY: part of BEGIN itself, so that nothing leaks to the
    next client of a transaction pooler. `prepare_threshold=None` for the same pooler (measured with PgBouncer 1.18).
    """
    address = rewritten(url)
    if address.startswith("sqlite"):
        return _sqlite(address)
    engine = create_engine(
        address,
        connect_args={"prepare_threshold": None, "connect_timeout": 10, "application_name": "customer-parity"},
        pool_size=2,
        max_overflow=SCANS_AT_ONCE + CONNECTIONS_FOR_POINTS - 2,
        pool_timeout=60,
        pool_pre_ping=True,
        pool_recycle=300,
    )
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _sqlite(address: str) -> Engine:
    path = make_url(address).database or ":memory:"

    def connect() -> sqlite3.Connection:
        if not Path(path).is_file():
            raise sqlite3.OperationalError(f"there is no file {path}")
        return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=30, check_same_thread=False)

    engine = create_engine("sqlite+pysqlite:///", creator=connect, pool_size=2, max_overflow=-1, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.text_factory = _text
        connection.create_function("email_key", 1, _email_key, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _text(raw: bytes) -> str | bytes:
    """Text, or the bytes where they are none: that row's problem, where the driver would end the scan."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _email_key(raw: object) -> str | None:
    """email_key of a blob: of a text that is not in UTF-8 the driver would make an error of the whole query."""
    text = _text(raw) if isinstance(raw, bytes) else None
    return normalise.email_key(text) if isinstance(text, str) else None


_WAYS_OUT = (
    ("password authentication failed", "check user and password in profiles.url (a password must be percent-encoded)"),
    ("Tenant or user not found", "on Supabase's shared pooler the user is NAME.PROJECT"),
    ("Circuit breaker", "too many wrong passwords from this address: wait two minutes, then check profiles.url"),
    ("no file", "check profiles.url; SQLite paths are relative to the working directory"),
    ("permission denied", "grant the role USAGE on the schema and SELECT on the table, and to the owner of a view"),
    ("idle-in-transaction", "raise idle_in_transaction_session_timeout for this role"),
    ("SSL", "see sslmode in profiles.url"),
)
REFUSED_LOGIN = (
    "password authentication failed",
    "Tenant or user not found",
    "Circuit breaker",
    "no pg_hba.conf entry",
)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Errors of the database as SourceError, without statements and values."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        said = said_by(error)
        hint = next((way for words, way in _WAYS_OUT if words in said), "check profiles.url, the server and the role")
        raise SourceError(f"the profiles in {shown(url)} can't be read: {said}", hint=hint) from error


def said_by(error: BaseException) -> str:
    """The first line of the server's own words: those that follow may hold values."""
    words = str(getattr(error, "orig", None) or error).strip()
    return words.splitlines()[0] if words else "no answer"
