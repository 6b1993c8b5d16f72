"""Closes connections to an SQLite file that was replaced or removed.

An export is often written to a new file and renamed, and a backup is restored in the same way. A connection to the old
file would read old data, and its writes would be lost.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

FILE: Final = "reconciler_file"  # in a connection's info: the identity of its file


def follow_file(engine: Engine, path: Path) -> None:
    """Replace pooled connections of this engine to a former file at this path. Connects must not create the file."""

    @event.listens_for(engine, "connect")
    def note_file(_connection: Any, record: Any) -> None:
        record.info[FILE] = _identity(path)

    @event.listens_for(engine, "checkout")
    def check(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(FILE) != _identity(path):
            raise InvalidatePoolError


def opener(path: str, mode: Literal["ro", "rw"], *, busy_s: float) -> Callable[[], sqlite3.Connection]:
    """Opens connections to this file, and fails where there is none. `busy_s`: how long they wait for a writer."""

    def connect() -> sqlite3.Connection:
        if not Path(path).is_file():
            raise sqlite3.OperationalError(f"there is no file {path}")
        return sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True, timeout=busy_s, check_same_thread=False)

    return connect


def keep_from_making(engine: Engine, path: Path) -> None:
    """Fail connects of this engine if the file was removed, instead of creating an empty one."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _arguments: Any, _options: Any) -> None:
        if not path.exists():
            raise sqlite3.OperationalError(f"the file {path} was removed while it was in use")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  the same as path.stat(), in half the time, for each statement
    except OSError:
        return None
    return found.st_dev, found.st_ino
