"""Connections to an SQLite file that was replaced or removed are left: they would go on with a file that no path leads to.

An export is often written beside the file and renamed over it, and a backup is moved back in the same way. Who has the
old file open reads what it held, for ever, and writes what is lost with the last connection.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

FILE: Final = "reconciler_file"  # in a connection's info: which file it has open


def follow_file(engine: Engine, path: Path) -> None:
    """Let each connection of this engine be to the file that is at this path now. Its connects must not make the file."""

    @event.listens_for(engine, "connect")
    def opened(_connection: Any, record: Any) -> None:
        record.info[FILE] = _identity(path)

    @event.listens_for(engine, "checkout")
    def check(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(FILE) != _identity(path):
            raise InvalidatePoolError


def keep_from_making(engine: Engine, path: Path) -> None:
    """Let connects of this engine fail where the file is not there any more: an empty one in its place is no help."""

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
