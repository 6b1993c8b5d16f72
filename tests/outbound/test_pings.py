"""Pooled connections: checked after a pause, and taken as they are if they were used a moment ago."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from reconciler.outbound.databases.pings import ping_idle


def lost(folder: Path, *, idle_s: float) -> Engine:
    """An engine of which the one pooled connection was closed by the other side."""
    engine = create_engine(f"sqlite:///{folder / 'some.db'}", pool_size=1, max_overflow=0)
    ping_idle(engine, idle_s=idle_s)
    with engine.connect() as connection:
        closed = connection.connection.dbapi_connection
    assert closed is not None
    closed.close()
    return engine


def test_a_connection_that_was_idle_is_replaced_if_it_does_not_answer(tmp_path: Path) -> None:
    engine = lost(tmp_path, idle_s=0.0)
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar() == 1
    engine.dispose()


def test_a_connection_that_was_used_a_moment_ago_is_not_asked(tmp_path: Path) -> None:
    engine = lost(tmp_path, idle_s=60.0)
    with pytest.raises(ProgrammingError), engine.connect() as connection:
        connection.execute(text("select 1"))
    engine.dispose()
