"""The state as found on disk or server, for `doctor`: read without creating, upgrading or switching anything."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from reconciler.core.model.frozen import frozen
from reconciler.outbound.databases.url import rewritten
from reconciler.state.database.engine import SCHEMA, is_sqlite, name_tables_by_main, open_engine, reading
from reconciler.state.database.version import VERSION_TABLE, head, known_versions

Standing = Literal["absent", "older", "newer", "current"]

_MAY_MAKE: Final = """
SELECT CASE WHEN pg_is_in_recovery() THEN 'the server is a standby and takes no writes'
            WHEN n.oid IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')
              THEN 'the role ' || quote_ident(current_user) || ' may make no schema in this database'
            WHEN NOT has_schema_privilege(n.oid, 'CREATE')
              THEN 'the role ' || quote_ident(current_user) || ' may make no table in the schema' END,
       CASE WHEN n.oid IS NULL
              THEN format('grant create on database %I to %I;', current_database(), current_user)
            ELSE format('alter schema %I owner to %I;', n.nspname, current_user) END
FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = :schema
"""


@frozen
class StateFound:
    """Where the state is, and how its schema compares to this program's. `trouble`: why it can't be created or written."""

    place: str
    standing: Standing
    version: str = ""
    trouble: str = ""
    hint: str = ""
    is_sqlite: bool = True

    @property
    def is_usable(self) -> bool:
        """Return whether this program can read it as it is."""
        return self.standing == "current"


def find_state(url: str, *, outage_s: float = 0.0) -> StateFound:
    """Describe the state at this URL without changing it. Raises StateError if it can't be read.

    `outage_s` is that of `open_engine`.
    """
    address = rewritten(url)
    if address.startswith("sqlite"):
        path = Path(make_url(address).database or "")
        place = f"SQLite in {path}, for one process"
        trouble = _unwritable(path)
        hint = "give the program's user the right to write the folder and the file, or name another file in state.url"
        if not path.is_file():
            return StateFound(place, "absent", trouble=trouble, hint=hint if trouble else "")
        with open_read_only(url) as engine:
            version = _version(engine)
        return StateFound(place, _standing(version), version or "", trouble, hint if trouble else "")
    with open_read_only(url, outage_s=outage_s) as engine:
        version = _version(engine)
        standing = _standing(version)
        trouble, hint = ("", "") if version else _hidden(engine) or _may_make(engine)
        return StateFound(
            f"Postgres at {engine.url.host or 'a local socket'}",
            standing,
            version or "",
            trouble,
            hint,
            is_sqlite=False,
        )


@contextmanager
def open_read_only(url: str, *, outage_s: float = 0.0) -> Iterator[Engine]:
    """Yield an engine that creates no file: for SQLite one that can't write. `outage_s` is that of `open_engine`."""
    address = rewritten(url)
    if not address.startswith("sqlite"):
        engine = open_engine(url, outage_s=outage_s)
    else:
        path = make_url(address).database or ""
        # A reader of a file in WAL mode creates the log and its index, unless the file is declared immutable. It is
        # declared so only while there is no log.
        mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(f"file:{quote(path)}?{mode}", uri=True, timeout=1.0, check_same_thread=False)

        engine = create_engine("sqlite+pysqlite:///", creator=connect, poolclass=NullPool)
        name_tables_by_main(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def _version(engine: Engine) -> str | None:
    """Return the schema's version; None without a schema."""
    if is_sqlite(engine):
        there, table = "SELECT 1 FROM sqlite_master WHERE name = :name", VERSION_TABLE
        asked = {"name": VERSION_TABLE}
    else:
        there, table = "SELECT to_regclass(:name)", f"{SCHEMA}.{VERSION_TABLE}"
        asked = {"name": table}
    with reading(engine) as connection:
        if connection.execute(text(there), asked).scalar() is None:
            return None
        versions = connection.execute(text(f"SELECT version_num FROM {table}")).scalars().all()  # noqa: S608  ours
    return ", ".join(versions) or None


def _standing(version: str | None) -> Standing:
    if version is None:
        return "absent"
    if version == head():
        return "current"
    return "older" if version in known_versions() else "newer"


def _hidden(engine: Engine) -> tuple[str, str] | None:
    """Return the trouble and its hint if row level security hides the tables: the role then reads them as empty."""
    asked = {"name": f"{SCHEMA}.{VERSION_TABLE}"}
    query = "SELECT quote_ident(current_user) FROM to_regclass(:name) AS t WHERE row_security_active(t::oid)"
    with reading(engine) as connection:
        role = connection.execute(text(query), asked).scalar_one_or_none()
    if role is None:
        return None
    hint = f"name their owner in state.url, or: alter role {role} bypassrls;"
    return f"row level security hides the state's tables from the role {role}", hint


def _may_make(engine: Engine) -> tuple[str, str]:
    with reading(engine) as connection:
        trouble, hint = connection.execute(text(_MAY_MAKE), {"schema": SCHEMA}).one()
    return (trouble, hint) if trouble else ("", "")


def _unwritable(path: Path) -> str:
    """Return what prevents us from writing this file and its log; empty if nothing does."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} can't be written"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return f"the file {path} can't be written"
    return ""
