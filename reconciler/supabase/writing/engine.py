"""Opens the profiles' database for writing rows. It never changes the schema, which belongs to the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.pool import QueuePool

from reconciler.outbound.databases.client import POSTGRES_CLIENT, keep_iso_dates
from reconciler.outbound.databases.logins import DB_LOGINS, DbLogins
from reconciler.outbound.databases.sqlite_file import follow_file, opener
from reconciler.outbound.databases.standby import leave_standby
from reconciler.outbound.databases.url import rewritten
from reconciler.supabase.limits import SILENT

CONNECTIONS: Final = 6
CONNECT_S: Final = 5
FREE_S: Final = 2.0  # wait for a free connection
BUSY_S: Final = 2.0  # SQLite: wait for another writer


def open_writer(url: str, *, logins: DbLogins = DB_LOGINS) -> Engine:
    """An engine that may write, not connected yet. ConfigError for an invalid URL."""
    address = rewritten(url)
    if address.startswith("sqlite"):
        return _sqlite(address)
    engine = create_engine(
        address,
        isolation_level="READ COMMITTED",  # in a stricter one, a row that waits for a write of the app is refused
        connect_args={
            "connect_timeout": CONNECT_S,
            **POSTGRES_CLIENT,
            **SILENT,
        },
        pool_size=1,
        max_overflow=CONNECTIONS - 1,
        pool_timeout=FREE_S,
        pool_pre_ping=True,
        pool_recycle=300,
    )
    logins.watch(engine)
    keep_iso_dates(engine)
    leave_standby(engine)
    return engine


def _sqlite(address: str) -> Engine:
    path = make_url(address).database or ":memory:"
    connect = opener(path, "rw", busy_s=BUSY_S)
    engine = create_engine("sqlite+pysqlite:///", creator=connect, pool_timeout=FREE_S, poolclass=QueuePool)
    follow_file(engine, Path(path))

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # otherwise another writer may change the row after it is read

    return engine
