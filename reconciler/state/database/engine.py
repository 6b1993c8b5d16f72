"""Open the state's database: SQLite with WAL, or Postgres, possibly behind a transaction pooler."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy import Engine as Engine  # noqa: PLC0414  named by those who open it
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from reconciler.core.model.frozen import frozen
from reconciler.errors import ConfigError, StateError
from reconciler.outbound.databases.away import wait_for
from reconciler.outbound.databases.client import POSTGRES_CLIENT, keep_iso_dates
from reconciler.outbound.databases.limits import is_read_committed, learn_server
from reconciler.outbound.databases.logins import DB_LOGINS, DbLogins
from reconciler.outbound.databases.pings import ping_idle
from reconciler.outbound.databases.pool import PatientPool
from reconciler.outbound.databases.refusals import db_refusal, telling_line
from reconciler.outbound.databases.sqlite_file import follow_file, keep_from_making
from reconciler.outbound.databases.standby import leave_standby
from reconciler.outbound.databases.url import rewritten, url_without_password
from reconciler.outbound.outage import Outage
from reconciler.state.database.bounds import BOUNDS_MS, PATIENT, REPEATABLE, SINGLE, begin_bounded

SCHEMA = "reconciler"
SILENT = {  # a call over a dead network ends after so long, not after the system's 15 minutes
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
SYNC, SYNC_NOW = "reconciler_sync", "reconciler_sync_now"  # in a connection's info: its levels of `synchronous`
NORMAL = 1  # of these levels: a commit does not wait for the disk; FULL, which is 2, does
TURN = "reconciler_turn"  # execution option: the `Turn` of an SQLite file; None: its threads take no turns
OUTAGE = "reconciler_outage"  # execution option: the `Outage` of a Postgres that commands wait for
BEGIN = "reconciler_begin"  # execution option: what begins a transaction on a connection of this engine
PRIMARY = 0xFF  # mask for SQLite's error codes: higher bits refine the same error
CONNECTIONS = 8  # to Postgres; all are kept: a burst of nudges would open and close those beyond a smaller pool
WAIT_S = 30.0  # limit for another process that writes the same SQLite file
PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",  # overwrite erased data, whatever options this SQLite was built with
)


@dataclass(slots=True)
class FileLock:
    """Of the threads of this process that write to one file. `has_begun`: the one that holds it can write."""

    lock: Lock = field(default_factory=Lock)
    has_begun: bool = False


@frozen
class Turn:
    """The threads of this process that write to an SQLite file take turns.

    Without turns they would wait in SQLite, which asks again after pauses of up to 100 ms: of several threads that write
    all the time, some waited for a second.
    """

    file: FileLock
    wait_s: float

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and keep it until the block ends. OperationalError after `wait_s`."""
        if not self.file.lock.acquire(timeout=self.wait_s):
            said = f"other threads of this process have been writing for {self.wait_s:g} s"
            if not self.file.has_begun:  # it waits for another process, as this thread would
                said = "database is locked"
            raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError(said))
        try:
            yield
        finally:
            self.file.has_begun = False
            self.file.lock.release()


@cache
def _file_lock(_path: str) -> FileLock:
    """The lock of all engines on this file."""
    return FileLock()


def open_engine(url: str, *, wait_s: float = WAIT_S, logins: DbLogins = DB_LOGINS, outage_s: float = 0.0) -> Engine:
    """Return an engine for this URL without connecting. Raises ConfigError for a URL that cannot be used.

    `wait_s`: how long a call waits for a connection, and on SQLite for a lock, before it raises StateError. `outage_s`: how
    long calls wait for a Postgres that is away.
    `prepare_threshold=None` works with a transaction pooler (measured with PgBouncer 1.18, 2026-11).
    """
    address = rewritten(url)
    if address.startswith("sqlite"):
        return _sqlite(address, wait_s)
    engine = create_engine(
        address,
        isolation_level="AUTOCOMMIT",  # `begin_writing` begins transactions, with their limits
        execution_options={BEGIN: begin_bounded},
        connect_args={
            "connect_timeout": 10,
            **POSTGRES_CLIENT,
            **SILENT,
        },
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=wait_s,
        pool_recycle=300,
        poolclass=PatientPool,
    )
    logins.watch(engine)
    keep_iso_dates(engine)
    ping_idle(engine)
    leave_standby(engine)
    learn_server(engine, BOUNDS_MS)
    return engine.execution_options(**{OUTAGE: Outage(outage_s)}) if outage_s else engine


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
            f"the folder of {url_without_password(address)} can't be made: {error.strerror}",
            hint="name another file in state.url",
        ) from error
    _make_private(Path(path))
    options = {"check_same_thread": False, "timeout": wait_s}
    engine = create_engine(address, connect_args=options, pool_timeout=wait_s)
    follow_file(engine, Path(path))
    if Path(path).exists():
        keep_from_making(engine, Path(path))

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # `begin_writing` begins transactions, not the driver
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={wait_s * 1000:.0f}")
        _switch_to_wal(cursor, until=time.monotonic() + wait_s)
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    turn = Turn(_file_lock(os.path.realpath(path)), wait_s)
    name_tables_by_main(engine)
    return engine.execution_options(**{TURN: turn, BEGIN: _begin_immediate})


def name_tables_by_main(engine: Engine) -> None:
    """Name the tables by SQLite's schema `main` instead of ours, when a statement is compiled.

    `schema_translate_map` does the same, but searches the text of a statement for the schema at each call.
    """
    engine.dialect.identifier_preparer.schema_for_object = lambda table: table.schema and "main"


def _begin_immediate(connection: Connection) -> None:
    """Begin, by the driver itself: SQLAlchemy takes ten times as long as SQLite.

    SQLite fails immediately, whatever the busy timeout, if a transaction reads first and writes after another has written.
    So a transaction that may write takes the write lock when it begins.
    """
    cursor, info = connection.connection.cursor(), connection.info
    waits_for_disk = not connection.get_execution_options().get(REPEATABLE)
    try:
        if SYNC not in info:
            info[SYNC] = info[SYNC_NOW] = cursor.execute("PRAGMA synchronous").fetchone()[0]
        level = info[SYNC] if waits_for_disk else min(info[SYNC], NORMAL)
        if info[SYNC_NOW] != level:
            cursor.execute(f"PRAGMA synchronous={level}")
            info[SYNC_NOW] = level
        cursor.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise OperationalError("BEGIN IMMEDIATE", None, error) from error
    except sqlite3.DatabaseError as error:
        raise DatabaseError("BEGIN IMMEDIATE", None, error) from error
    finally:
        cursor.close()


def _make_private(path: Path) -> None:
    """Create a missing file with mode 0600: it holds personal data, and SQLite would follow the umask.

    SQLite gives its log and shared memory the same mode. An existing file keeps its mode: it may be the application's own
    file, which also holds the profiles.
    """
    with suppress(OSError):  # if this fails, connecting reports the reason
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    if path.is_symlink() and not path.exists():
        raise StateError(f"{path} is a link to a file that is not there", hint="name the file itself in state.url")


def _switch_to_wal(cursor: Any, *, until: float) -> None:
    """Switch to WAL and retry while another process switches a new file: SQLite fails immediately instead of waiting."""
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
    """Return whether this database serves one process (SQLite)."""
    return engine.dialect.name == "sqlite"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection for reading, each statement by itself. Raises StateError for database errors."""
    with translate_errors(), _begun(engine, engine.connect, _begin_reading) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in one transaction, durable when the block ends. Raises StateError for database errors."""
    turn: Turn | None = engine.get_execution_options().get(TURN)
    taken = turn.taken() if turn is not None else nullcontext()
    with translate_errors(), taken, _begun(engine, engine.begin, begin_writing) as connection:
        if turn is not None:
            turn.file.has_begun = True
        yield connection


@contextmanager
def _begun(
    engine: Engine, connect: Callable[[], AbstractContextManager[Connection]], begin: Callable[[Connection], None]
) -> Iterator[Connection]:
    """Yield a connection on which `begin` was done: again, where the database is away and the engine waits for it."""
    outage: Outage | None = engine.get_execution_options().get(OUTAGE)
    if outage is None:
        with connect() as connection:
            begin(connection)
            yield connection
        return
    while True:
        try:
            with ExitStack() as stack:
                connection = stack.enter_context(connect())
                begin(connection)
                opened = stack.pop_all()
        except DBAPIError as error:
            if not wait_for(outage, error):
                raise
        else:
            break
    outage.note_answer()
    with opened:
        yield connection


def _begin_reading(connection: Connection) -> None:
    """Begin a transaction where the server would otherwise run each statement in a stricter one than ours."""
    if not is_read_committed(connection):
        begin_writing(connection)


def begin_writing(connection: Connection) -> None:
    """Begin a transaction at the database, which neither SQLAlchemy nor the driver does.

    No listener of SQLAlchemy's `begin` does it: with one, each statement looks for listeners, and takes twice as long.
    """
    options = connection.get_execution_options()
    if not options.get(SINGLE) or not is_read_committed(connection):
        begin: Callable[[Connection], None] = options[BEGIN]
        begin(connection)


def autocommitting(engine: Engine) -> Engine:
    """Return this engine for independent statements: on Postgres each is its own transaction, in one round trip.

    Not where calls wait for a Postgres that is away: if a statement is lost that commits by itself, it may have done so.
    """
    single = not is_sqlite(engine) and OUTAGE not in engine.get_execution_options()
    return engine.execution_options(**{SINGLE: True}) if single else engine


def repeatable(engine: Engine) -> Engine:
    """Return this engine for transactions that may as well happen twice: on SQLite they don't wait for the disk.

    They are lost if the machine loses its power, and not if the process ends. The next transaction that waits for the disk
    keeps all before it as well.
    """
    return engine.execution_options(**{REPEATABLE: True}) if is_sqlite(engine) else engine


def long_transactions(engine: Engine) -> Engine:
    """Return this engine for transactions that may take as long as a migration."""
    return engine.execution_options(**{PATIENT: True})


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise StateError for errors of the database, without its statements and values."""
    try:
        yield
    except IntegrityError as error:
        line = _first_line(error)
        hint = "reconciler db check" if '_pkey"' in line else "reconciler mappings list shows who has it"
        raise StateError(f"the state refuses the row: {line}", hint=hint) from error
    except OperationalError as error:
        raise StateError(f"the state's database can't be used: {_first_line(error)}", hint=_hint(error)) from error
    except SQLAlchemyError as error:
        raise StateError(f"the state's database failed: {_first_line(error)}", hint=_hint(error)) from error


def _first_line(error: SQLAlchemyError) -> str:
    """Return the first line of the server's message: the lines after it may hold values."""
    return telling_line(str(getattr(error, "orig", None) or error))


_WAYS_OUT = (
    ("readonly database", "give the program's user the right to write the file and its folder, or name another file"),
    ("was removed while", "put the file back from a backup, or restart: the state is then rebuilt from the stores"),
    ("unable to open database", "give the program's user the right to write the file and its folder, or name another"),
    ("disk is full", "free some space on the disk of the state"),
    ("No space left", "free some space on the disk of the state"),
    ("disk I/O error", "check the disk, its quota and the limit on the size of files of the state"),
    ("read-only transaction", "the server takes no writes now: a full disk or a standby; see the server's dashboard"),
    ("other threads", "look for what keeps them: a slow disk, or a process that holds the file, such as a backup"),
    ("is locked", "another process holds the file: stop it, or use Postgres for several processes"),
    ("is malformed", "restore a backup, or move the file away: reconciler docs restore-a-state"),
    ("not a database", "the file in state.url is something else: name another"),
    ("has no equivalent in encoding", "the state needs a database that was created with ENCODING 'UTF8'"),
    ("row-level security", "connect as the owner of the schema reconciler, or: alter role … bypassrls;"),
    ("permission denied", "connect as the owner of the schema reconciler, or grant the role what is missing"),
    ('"reconciler.', "reconciler db upgrade"),
    ("no such table", "reconciler db upgrade"),
)


def _hint(error: SQLAlchemyError) -> str:
    general = "check state.url and the server"
    if not isinstance(error, DBAPIError):
        return general
    refusal = db_refusal(str(error.orig), setting="state.url")
    if refusal is not None:
        return refusal.hint
    return next((way for words, way in _WAYS_OUT if words in _first_line(error)), general)
