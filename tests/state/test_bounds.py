"""Bounds on our transactions on Postgres, directly and through a transaction pooler."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, text

from reconciler.errors import StateError
from reconciler.state.database.bounds import BOUNDS_MS, begin_statement
from reconciler.state.database.engine import long_transactions, open_engine, reading, writing
from tests import servers

IDLE, LOCK, STATEMENT = BOUNDS_MS


@pytest.fixture(params=["direct", "pooler"])
def url(request: pytest.FixtureRequest, postgres: servers.Server, postgres_database: Callable[..., str]) -> str:
    port = request.getfixturevalue("pooler") if request.param == "pooler" else None
    return postgres.url(postgres_database(), port=port)


def shown(connection: Connection) -> dict[str, int]:
    query = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
    return {name: int(setting) for name, setting in connection.execute(query, {"names": list(BOUNDS_MS)})}


def test_a_transaction_has_its_bounds_and_leaves_none_behind(url: str) -> None:
    engine = open_engine(url)
    with writing(engine) as connection:
        assert shown(connection) == BOUNDS_MS
    with reading(engine) as connection:
        assert shown(connection) == dict.fromkeys(BOUNDS_MS, 0)
    with writing(long_transactions(engine)) as connection:
        assert shown(connection)[STATEMENT] == 0
    engine.dispose()


def test_what_the_role_sets_tighter_stays(url: str, postgres: servers.Server) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE tight LOGIN")
        connection.execute(f"ALTER ROLE tight SET {STATEMENT} = '2s'".encode())
        connection.execute(f"ALTER ROLE tight SET {LOCK} = '1h'".encode())
    try:
        engine = open_engine(postgres.url(url.rpartition("/")[2], user="tight"))
        with writing(engine) as connection_2:
            assert shown(connection_2) == {**BOUNDS_MS, STATEMENT: 2_000}
        engine.dispose()
    finally:
        with postgres.connect() as connection:
            connection.execute("DROP ROLE tight")


def test_after_a_failover_the_connections_to_the_standby_are_left(
    postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    """A session that takes no writes, as each one has it that was opened before the primary became a standby."""
    name = postgres_database()
    with postgres.connect() as server:
        server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        engine = open_engine(postgres.url(name))
        with reading(engine) as one, reading(engine) as other:
            assert {c.execute(text("SELECT 1")).scalar_one() for c in (one, other)} == {1}
        server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    with pytest.raises(StateError, match="read-only"), writing(engine) as connection:
        connection.execute(text("CREATE TABLE one (n int)"))
    for n in range(3):
        with writing(engine) as connection:
            connection.execute(text(f"CREATE TABLE made_{n} (n int)"))
    engine.dispose()


def test_a_transaction_that_failed_ends_and_the_next_one_begins(url: str) -> None:
    engine: Engine = open_engine(url)
    for _ in range(2):
        with pytest.raises(StateError, match="division by zero"), writing(engine) as connection:
            connection.execute(text("SELECT 1 / 0"))
        with writing(engine) as connection:
            assert connection.execute(text("SELECT now() = statement_timestamp()")).scalar_one() is False
    engine.dispose()


def test_a_server_that_does_not_know_a_bound_is_not_asked_for_it() -> None:
    assert begin_statement({"a": 5, "b": 5}, {"a": 0}) == "BEGIN; SET LOCAL a = 5"
    assert begin_statement({"a": 5, "b": 5}, {"a": 3, "b": 9}) == "BEGIN; SET LOCAL b = 5"
