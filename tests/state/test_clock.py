"""One clock for all replicas that share a state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from reconciler.errors import StateError
from reconciler.state.database.engine import open_engine
from reconciler.state.processes.clock import DatabaseClock
from tests import servers
from tests.clock import WallClock


class Skewed:
    """A local clock that goes wrong by so much."""

    def __init__(self, seconds: float) -> None:
        self.wrong = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return WallClock().now() + self.wrong


def test_replicas_with_different_clocks_agree_on_the_databases_time(engine: Engine) -> None:
    fast, slow = DatabaseClock(engine, Skewed(3600)), DatabaseClock(engine, Skewed(-3600))
    apart = abs(fast.now() - slow.now())
    assert fast.now().tzinfo is UTC
    if engine.dialect.name == "sqlite":  # one process, one clock: its own
        assert apart > timedelta(seconds=7000)
        assert fast.ahead_s() == 0
    else:
        assert apart < timedelta(seconds=60)
        assert -3660 < fast.ahead_s() < -3540


def test_a_wall_clock_that_jumps_changes_nothing_even_while_the_database_is_away(
    postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    engine = open_engine(postgres.url(postgres_database()))
    local = Skewed(0)
    clock = DatabaseClock(engine, local)
    clock.now()
    for seconds in (-86_400, 3600):
        local.wrong = timedelta(seconds=seconds)
        assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
    with postgres.away():
        assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
    engine.dispose()


def test_what_the_database_says_is_taken_over_again_and_again(
    postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    """The steady clock is frozen here: only the database's answers can move the time on."""
    engine = open_engine(postgres.url(postgres_database()))
    clock = DatabaseClock(engine, WallClock(), every_s=0.0, steady_s=lambda: 0.0)
    first = clock.now()
    assert clock.now() > first
    engine.dispose()


def test_a_database_that_is_away_is_an_error_and_no_guess() -> None:
    engine = open_engine("postgresql://no_one@127.0.0.1:1/none")
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
