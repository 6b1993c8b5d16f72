"""An empty state of SQLite to copy: making one takes longer than most tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema


@cache
def state_template() -> bytes:
    """A state's file at the newest schema, made once a process."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        engine = open_engine(f"sqlite:///{path}")
        ensure_schema(engine)
        engine.dispose()
        return path.read_bytes()
