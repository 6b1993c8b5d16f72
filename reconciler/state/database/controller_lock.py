"""One controller on an SQLite file, held by a lock of the operating system, which the kernel frees when its holder ends.

Commands that write briefly (`apply`, `nudge`) need no such lock: SQLite makes them wait for each other. Postgres
serves any number of controllers and needs no lock.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from weakref import finalize

from sqlalchemy import Engine

from reconciler.errors import StateError
from reconciler.state.database.engine import is_sqlite, reading

# Beside the file, not on it: closing a second descriptor of a database drops the locks that SQLite holds on it.
SUFFIX = ".run"


class ControllerLock:
    """A lock on `path`. While it exists and is not released, no other process can create one for the same file."""

    def __init__(self, path: Path) -> None:
        descriptor = _open_file(path)
        self.release = finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            self.release()
            raise StateError(
                f"another `reconciler run`{f' (process {holder})' if holder else ''} has {path.with_suffix('')}",
                hint="stop it first; for several, use Postgres in state.url",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def lock_controller(engine: Engine) -> ControllerLock | None:
    """Lock this state for one controller, or raise StateError. None on Postgres, which serves several."""
    if not is_sqlite(engine):
        return None
    with reading(engine) as connection:  # SQLite's own path: absolute, with links resolved
        name = next(row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main")
    path = Path(name).resolve()
    return ControllerLock(path.with_name(path.name + SUFFIX))


def _open_file(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"{path}, which keeps a second controller out, can't be opened: {error.strerror}",
            hint="give the program's user the right to write the folder and this file",
        ) from error
