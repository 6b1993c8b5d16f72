"""Opens the state's database: SQLite with WAL, or Postgres that may sit behind a transaction pooler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from reconciler.core.dburl import rewritten
from reconciler.errors import StateError

SCHEMA = "reconciler"


def open_engine(url: str) -> Engine:
    """An engine for this URL; nothing is connected yet. ConfigError for a URL that can't be used.

    `prepare_threshold=None` is what survives a transaction pooler (measured with PgBouncer 1.18, 2026-11).
    """
    address = rewritten(url)
    if address.startswith("sqlite"):
        return _sqlite(address)
    return create_engine(
        address,
        connect_args={"prepare_threshold": None, "connect_timeout": 10, "application_name": "customer-parity"},
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=True,
        pool_recycle=300,
    )


def _sqlite(address: str) -> Engine:
    path = address.removeprefix("sqlite:///")
    if path not in {"", ":memory:"}:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(address, connect_args={"check_same_thread": False, "timeout": 30})

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine.execution_options(schema_translate_map={SCHEMA: None})


def is_sqlite(engine: Engine) -> bool:
    """Whether one process owns this database."""
    return engine.dialect.name == "sqlite"


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the database in our own words, without its statements and values."""
    try:
        yield
    except IntegrityError as error:
        said = str(error.orig).splitlines()[0]
        raise StateError(
            f"the state refuses the row: {said}", hint="reconciler mappings list shows who has it"
        ) from error
    except OperationalError as error:
        said = str(error.orig).splitlines()[0] if error.orig else "no answer"
        raise StateError(
            f"the state's database can't be used: {said}", hint="check state.url and the server"
        ) from error
    except (DBAPIError, SQLAlchemyError) as error:
        said = str(getattr(error, "orig", error)).splitlines()[0]
        raise StateError(f"the state's database failed: {said}", hint="reconciler db check") from error
