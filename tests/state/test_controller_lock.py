"""One controller on an SQLite file, and any number on a Postgres."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from reconciler.errors import StateError
from reconciler.state.database.controller_lock import lock_controller
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from tests import servers


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path}/state.db")
    ensure_schema(engine)
    yield engine
    engine.dispose()


def test_the_second_on_a_file_is_refused_by_the_name_of_the_first_until_that_one_ends(engine: Engine) -> None:
    first = lock_controller(engine)
    assert first is not None
    with pytest.raises(StateError, match=rf"process {os.getpid()}\) has .*state\.db$") as refused:
        lock_controller(engine)
    assert "Postgres" in refused.value.hint
    first.release()
    second = lock_controller(engine)
    assert second is not None
    second.release()
    second.release()


@pytest.mark.parametrize("other", ["link.db", "sub/../state.db", "linked/state.db"])
def test_a_file_by_another_name_is_the_same_file(tmp_path: Path, engine: Engine, other: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.db").symlink_to("state.db")
    (tmp_path / "linked").symlink_to(".", target_is_directory=True)
    first = lock_controller(engine)
    assert first is not None
    same = open_engine(f"sqlite:///{tmp_path}/{other}")
    with pytest.raises(StateError, match="another `reconciler run`"):
        lock_controller(same)
    first.release()
    same.dispose()


def test_another_file_is_another_state(tmp_path: Path, engine: Engine) -> None:
    other = open_engine(f"sqlite:///{tmp_path}/other.db")
    found = [lock_controller(engine), lock_controller(other)]
    for each in found:
        assert each is not None
        each.release()
    other.dispose()


def test_a_lock_that_can_not_be_made_is_reported(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "state.db.run").mkdir()
    with pytest.raises(StateError, match=r"state\.db\.run.*can't be opened") as refused:
        lock_controller(engine)
    assert refused.value.hint


def test_on_postgres_no_one_need_be_alone(postgres: servers.Server) -> None:
    engine = open_engine(postgres.url("template1"))
    assert (lock_controller(engine), lock_controller(engine)) == (None, None)
    engine.dispose()
