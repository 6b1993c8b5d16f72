"""Opens the state's database: SQLite with WAL, or Postgres that may sit behind a transaction pooler."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from reconciler.errors import ConfigError, StateError
from reconciler.outbound.databases.logins import DB_LOGINS, DbLogins
from reconciler.outbound.databases.refusals import db_refusal, telling_line
from reconciler.outbound.databases.sqlite_file import follow_file, keep_from_making
from reconciler.outbound.databases.standby import leave_standby
from reconciler.outbound.databases.url import rewritten, shown
from reconciler.state.database.bounds import PATIENT, READS, SINGLE, bound

SCHEMA = "reconciler"
SILENT = {  # a network that swallows everything ends a call after so long, not after the system's quarter of an hour
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
PRIMARY = 0xFF  # of SQLite's error codes: what is above it tells more of the same error
WAIT_S = 30.0  # for another process that writes the same SQLite file
PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",  # what is erased by law is overwritten, whatever this SQLite was built with
)


def open_engine(url: str, *, wait_s: float = WAIT_S, logins: DbLogins = DB_LOGINS) -> Engine:
    """An engine for this URL; nothing is connected yet. ConfigError for a URL that can't be used.

    `wait_s`: on SQLite, how long a write waits for whoever holds the file, and for a connection; then it is a StateError.
    `prepare_threshold=None` is what survives a transaction pooler (measured with PgBouncer 1.18, 2026-11).
    """
    address = rewritten(url)
    if address.startswith("sqlite"):
        return _sqlite(address, wait_s)
    engine = create_engine(
        address,
        isolation_level="AUTOCOMMIT",  # transactions begin in bounds.py, with their bounds
        connect_args={
            "prepare_threshold": None,
            "connect_timeout": 10,
            "application_name": "customer-parity",
            **SILENT,
        },
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=True,
        pool_recycle=300,
    )
    logins.watch(engine)
    leave_standby(engine)
    bound(engine)
    return engine


def _sqlite(address: str, wait_s: float) -> Engine:
    path = make_url(address).database
    if not path or path == ":memory:" or path.startswith("file:"):
        raise ConfigError(
            "the state must outlive the process, in a plain file", hint="use one: sqlite:///var/reconciler.db"
        )
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"the folder of {shown(address)} can't be made: {error.strerror}", hint="name another file in state.url"
        ) from error
    _make_private(Path(path))
    options = {"check_same_thread": False, "timeout": wait_s}
    engine = create_engine(address, connect_args=options, pool_timeout=wait_s)
    follow_file(engine, Path(path))
    if Path(path).exists():
        keep_from_making(engine, Path(path))

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver guesses
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={wait_s * 1000:.0f}")
        _keep_a_log(cursor, until=time.monotonic() + wait_s)
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once where another has written in between, whatever the
        # busy timeout says: so whoever may write says so from the start.
        reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine.execution_options(schema_translate_map={SCHEMA: None})


def _make_private(path: Path) -> None:
    """Make the file where there is none, readable by its owner only: it holds personal data, and SQLite would ask umask.

    The log and the shared memory that SQLite keeps beside it get the same mode. A file that exists stays as it is: it
    may be the app's own, with the profiles in it.
    """
    with suppress(OSError):  # where it can't be made, connecting says why
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    if path.is_symlink() and not path.exists():
        raise StateError(f"{path} is a link to a file that is not there", hint="name the file itself in state.url")


def _keep_a_log(cursor: Any, *, until: float) -> None:
    """Switch to WAL. Where another process is just doing the same to a new file, SQLite fails at once instead of waiting."""
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def is_sqlite(engine: Engine) -> bool:
    """Whether one process owns this database."""
    return engine.dialect.name == "sqlite"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads, each statement by itself; errors in our own words."""
    with translated(), engine.connect().execution_options(**{READS: True}) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, durable where this returns; errors in our own words."""
    with translated(), engine.begin() as connection:
        yield connection


def single(engine: Engine) -> Engine:
    """This engine for statements that stand alone: on Postgres each is its own transaction, in one round trip."""
    return engine if is_sqlite(engine) else engine.execution_options(**{SINGLE: True})


def patient(engine: Engine) -> Engine:
    """This engine for transactions that may take as long as a migration does."""
    return engine.execution_options(**{PATIENT: True})


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the database in our own words, without its statements and values."""
    try:
        yield
    except IntegrityError as error:
        raise StateError(
            f"the state refuses the row: {_said(error)}", hint="reconciler mappings list shows who has it"
        ) from error
    except OperationalError as error:
        raise StateError(f"the state's database can't be used: {_said(error)}", hint=_way_out(error)) from error
    except SQLAlchemyError as error:
        raise StateError(f"the state's database failed: {_said(error)}", hint=_way_out(error)) from error


def _said(error: SQLAlchemyError) -> str:
    """The server's own words in one line: those that follow may hold values."""
    return telling_line(str(getattr(error, "orig", None) or error))


_WAYS_OUT = (
    ("readonly database", "give the program's user the right to write the file and its folder, or name another file"),
    ("was removed while", "put the file back from a backup, or restart: the state is then rebuilt from the shops"),
    ("unable to open database", "give the program's user the right to write the file and its folder, or name another"),
    ("disk is full", "make room where the state lies"),
    ("No space left", "make room where the state lies"),
    ("disk I/O error", "check the disk, its quota and the limit on the size of files where the state lies"),
    ("read-only transaction", "the server takes no writes now: a full disk or a standby; see the server's dashboard"),
    ("is locked", "another process holds the file: stop it, or use Postgres for several processes"),
    ("not a database", "the file in state.url is something else: name another"),
    ("permission denied", "connect as the owner of the schema reconciler, or grant the role what is missing"),
    ('"reconciler.', "reconciler db upgrade"),
    ("no such table", "reconciler db upgrade"),
)


def _way_out(error: SQLAlchemyError) -> str:
    general = "check state.url and the server"
    if not isinstance(error, DBAPIError):
        return general
    refusal = db_refusal(str(error.orig), setting="state.url")
    if refusal is not None:
        return refusal.hint
    return next((way for words, way in _WAYS_OUT if words in _said(error)), general)
