"""One clock for all replicas that share a state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from reconciler.errors import StateError
from reconciler.state.database.clock import DatabaseClock
from reconciler.state.database.engine import open_engine
from tests import servers
from tests.clock import WallClock


class Skewed:
    """A local clock that goes wrong by so much."""

    def __init__(self, seconds: float) -> None:
        self.wrong = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return WallClock().now() + self.wrong


def test_replicas_whose_clocks_differ_agree_on_the_databases_time(engine: Engine) -> None:
    fast, slow = DatabaseClock(engine, Skewed(3600)), DatabaseClock(engine, Skewed(-3600))
    apart = abs(fast.now() - slow.now())
    assert fast.now().tzinfo is UTC
    if engine.dialect.name == "sqlite":  # one process, one clock: its own
        assert apart > timedelta(seconds=7000)
        assert fast.ahead_s() == 0
    else:
        assert apart < timedelta(seconds=60)
        assert -3660 < fast.ahead_s() < -3540


def test_a_clock_that_jumps_is_put_right_at_the_next_asking(engine: Engine) -> None:
    local = Skewed(0)
    clock = DatabaseClock(engine, local, every_s=60)
    clock.now()
    local.wrong = timedelta(seconds=-86_400)
    if engine.dialect.name != "sqlite":
        assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)


def test_a_database_that_is_away_is_an_error_and_no_guess() -> None:
    engine = open_engine("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(StateError, match="can't be used"):
        DatabaseClock(engine, WallClock()).now()


def test_an_outage_after_that_is_bridged(postgres: servers.Server, postgres_database: Callable[..., str]) -> None:
    engine = open_engine(postgres.url(postgres_database()))
    clock = DatabaseClock(engine, Skewed(3600), every_s=0.0)
    assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
    with postgres.away():
        assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
    assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
    engine.dispose()
