"""Whether the schema is this program's own: what every command asks first, and answered without Alembic.

Alembic takes longer to import than most commands take to run. It has the last word wherever the answer is not yes.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from reconciler.state.database.engine import SCHEMA, is_sqlite, reading

VERSION_TABLE = "reconciler_version"
MIGRATIONS = Path(__file__).parents[1] / "migrations"


def is_current(engine: Engine) -> bool:
    """Whether the schema is there, can be seen, and is at this program's version."""
    if is_sqlite(engine):
        there, table = f"SELECT 1 FROM sqlite_master WHERE name = '{VERSION_TABLE}'", VERSION_TABLE  # noqa: S608  ours
    else:
        there = f"SELECT to_regclass('{SCHEMA}.{VERSION_TABLE}')"
        table = f"{SCHEMA}.{VERSION_TABLE}"
    with reading(engine) as connection:
        if connection.execute(text(there)).scalar() is None:
            return False
        return connection.execute(text(f"SELECT version_num FROM {table}")).scalars().all() == [head()]  # noqa: S608  ours


def head() -> str:
    """The newest migration's number, with which its file's name begins."""
    return max(known_versions())


def known_versions() -> frozenset[str]:
    """The numbers of all migrations of this program."""
    return frozenset(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
