"""Whether the schema has this program's version: every command asks this first.

The check needs no Alembic, which takes longer to import than most commands take to run. Alembic decides whenever this
check fails.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, text

from reconciler.state.database.engine import SCHEMA, is_sqlite, reading

VERSION_TABLE = "reconciler_version"
MIGRATIONS = Path(__file__).parents[1] / "migrations"


def is_current(engine: Engine) -> bool:
    """Return whether the schema exists, is visible, and has this program's version."""
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
    """Return the number of the newest migration, with which its file name begins."""
    return max(known_versions())


def known_versions() -> frozenset[str]:
    """Return the numbers of all migrations of this program."""
    return frozenset(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
