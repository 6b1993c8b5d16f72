"""One clock for all replicas that share a state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from reconciler.errors import StateError
from reconciler.state.database.engine import open_engine
from reconciler.state.processes.clock import DatabaseClock
from reconciler.wiring.clock import CheckedClock
from tests import servers
from tests.clock import WallClock

YEAR_S = 365 * 86_400.0


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


def test_a_server_that_the_shops_contradict_is_not_believed(engine: Engine) -> None:
    """To the server, which is right, our confirmed clock is as far away as its own would be if it were wrong."""
    clock = DatabaseClock(engine, Skewed(YEAR_S), is_confirmed=lambda: True)
    assert clock.now() - WallClock().now() > timedelta(days=364)
    near = DatabaseClock(engine, Skewed(200), is_confirmed=lambda: True)
    apart = near.now() - WallClock().now()
    assert (apart > timedelta(seconds=190)) == (engine.dialect.name == "sqlite")


class Steady:
    """A clock that counts seconds, by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def checked(wrong_s: float) -> tuple[CheckedClock, Skewed, Steady, list[str]]:
    wall, steady = Skewed(wrong_s), Steady()
    warned: list[str] = []
    return CheckedClock(wall, warn=warned.append, steady_s=steady), wall, steady, warned


@pytest.mark.parametrize("wrong_s", [-YEAR_S, -86_400.0, -3600.0, 3600.0, 86_400.0, YEAR_S])
def test_the_shops_time_counts_where_the_machines_is_wrong(wrong_s: float) -> None:
    clock, _, steady, warned = checked(wrong_s)
    assert not clock.is_confirmed
    for _ in range(2):
        clock.note(WallClock().now())
    steady.now_s += 60
    assert timedelta(seconds=50) < clock.now() - WallClock().now() < timedelta(seconds=70)
    assert clock.is_confirmed
    (said,) = warned
    assert f"{abs(wrong_s):.0f} s" in said


def test_a_machine_that_is_a_minute_off_keeps_its_time() -> None:
    clock, *_, warned = checked(60)
    clock.note(WallClock().now())
    assert timedelta(seconds=50) < clock.now() - WallClock().now() < timedelta(seconds=70)
    assert (clock.is_confirmed, warned) == (True, [])


def test_a_confirmed_clock_does_not_follow_a_jump() -> None:
    clock, wall, _, warned = checked(0)
    clock.note(WallClock().now())
    for wrong_s in (YEAR_S, -YEAR_S):
        wall.wrong = timedelta(seconds=wrong_s)
        assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
        clock.note(WallClock().now())
        assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
    assert warned == []


def test_a_shop_with_a_wrong_clock_changes_nothing_while_others_confirm_the_time() -> None:
    clock, *_, warned = checked(0)
    odd = timedelta(days=300)
    for _ in range(3):
        clock.note(WallClock().now() + odd)
        clock.note(WallClock().now())
        assert abs(clock.now() - WallClock().now()) < timedelta(seconds=60)
    assert len(warned) == 1, "the odd shop was the first to answer"


def test_a_time_that_no_shop_can_mean_is_passed_over() -> None:
    clock, *_, warned = checked(0)
    for year in (1, 1970, 9999):
        clock.note(datetime(year, 1, 1, tzinfo=UTC))
    assert (clock.is_confirmed, warned) == (False, [])
