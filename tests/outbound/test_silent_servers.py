"""A pooler or a proxy that holds our connection and never answers: calls end, and the next ones go by new connections."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import psycopg
import pytest
import sqlalchemy as sa

from reconciler.errors import StateError
from reconciler.outbound.databases.patience import SILENCE_S, BoundedConnection, SilentServer, bounded
from reconciler.state.database.engine import begin_writing, long_transactions, open_engine, reading, writing
from reconciler.state.database.queries import read_rows
from tests import servers
from tests.manager.harness import until
from tests.outbound.swallowing import SwallowingProxy

SHORT_S = 0.3
NOTHING, SOME, LAST = 0, 1, 2  # what has arrived in an interval of the driver


@pytest.fixture
def proxy(postgres: servers.Server) -> Iterator[SwallowingProxy]:
    found = SwallowingProxy(postgres.port)
    yield found
    found.close()


@pytest.fixture
def engine(postgres: servers.Server, proxy: SwallowingProxy) -> Iterator[sa.Engine]:
    """Of an open connection, which has been used."""
    found = open_engine(postgres.url("postgres", port=proxy.port))
    assert asked(found) == 1
    yield found
    found.dispose()


@contextmanager
def impatient(engine: sa.Engine) -> Iterator[None]:
    """Each connection waits for a short time, which a loaded machine may need for an answer."""

    def hurry(connection: BoundedConnection, *_: object) -> None:
        connection.silence_s = SHORT_S

    sa.event.listen(engine, "checkout", hurry)
    yield
    sa.event.remove(engine, "checkout", hurry)


def driver_of(connection: sa.Connection) -> BoundedConnection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, BoundedConnection)
    return driver


def asked(engine: sa.Engine, text: str = "SELECT 1") -> object:
    with reading(engine) as connection:
        return connection.execute(sa.text(text)).scalar()


def test_a_call_on_a_connection_that_swallows_it_ends_and_the_next_one_is_served(
    engine: sa.Engine, proxy: SwallowingProxy
) -> None:
    proxy.swallow()
    with impatient(engine), pytest.raises(StateError, match=r"silent for 0\.3 s") as caught:
        asked(engine)
    assert "pooler" in caught.value.hint
    assert asked(engine) == 1


def test_a_transaction_that_is_swallowed_ends_too(engine: sa.Engine, proxy: SwallowingProxy) -> None:
    def write() -> None:
        with writing(engine) as connection:
            driver_of(connection).silence_s = SHORT_S
            proxy.swallow()
            connection.execute(sa.text("SELECT 2"))

    with pytest.raises(StateError, match="silent"):
        write()
    assert asked(engine) == 1


def test_an_answer_that_comes_bit_by_bit_may_take_longer() -> None:
    now_s = 0.0

    def answer() -> Generator[str, int, str]:
        while (yield "read") != LAST:
            pass
        return "whole"

    def told(ready: int, after_s: float) -> None:
        nonlocal now_s
        now_s += after_s
        waiting.send(ready)

    waiting = bounded(answer(), SHORT_S, clock=lambda: now_s)
    assert next(waiting) == "read"
    for _ in range(6):
        told(NOTHING, SHORT_S / 3)
        told(NOTHING, SHORT_S / 3)
        told(SOME, SHORT_S / 3)
    with pytest.raises(StopIteration) as whole:
        told(LAST, SHORT_S * 3)
    assert whole.value.value == "whole"
    waiting = bounded(answer(), SHORT_S, clock=lambda: now_s)
    assert next(waiting) == "read"
    told(NOTHING, SHORT_S * 3)
    with pytest.raises(SilentServer):
        told(NOTHING, SHORT_S * 2)


def test_a_read_that_is_slow_is_answered_when_it_is_asked_again(engine: sa.Engine) -> None:
    with reading(engine) as connection:
        first = driver_of(connection).info.backend_pid
    lost_s, slow_s = 20 * SHORT_S, 2 * SHORT_S
    text = f"SELECT pg_backend_pid(), pg_sleep(CASE pg_backend_pid() WHEN {first} THEN {lost_s} ELSE {slow_s} END)"
    with impatient(engine):
        ((process, _),) = read_rows(engine, sa.text(text))
    assert process != first


def test_a_migration_may_keep_the_server_silent(engine: sa.Engine) -> None:
    patient = long_transactions(engine)
    with impatient(engine), patient.begin() as connection:
        begin_writing(connection)
        driver = driver_of(connection)
        assert driver.silence_s == math.inf
        connection.execute(sa.text(f"SELECT pg_sleep({2 * SHORT_S})"))
    assert driver.silence_s == SILENCE_S


@pytest.mark.parametrize("pooled", [False, True])
def test_a_statement_that_is_given_up_ends_at_the_server_too(
    postgres: servers.Server, pooler: int, *, pooled: bool
) -> None:
    """It ran on, and each attempt added another one."""
    mark = f"given up, {pooled}"
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s"
    url = postgres.url("postgres", port=pooler if pooled else None)
    with (
        BoundedConnection.connect(url, autocommit=True, prepare_threshold=None) as ours,
        psycopg.connect(postgres.url("postgres"), autocommit=True) as other,
    ):
        ours.silence_s = SHORT_S
        with pytest.raises(psycopg.OperationalError, match="silent"):
            ours.execute(f"SELECT pg_sleep(60) /* {mark} */")
        until(lambda: other.execute(running, [f"%pg_sleep%{mark}%"]).fetchone() == (0,), "it has ended", within_s=30)
