"""Bounds on our transactions on Postgres, directly and through a transaction pooler."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, text

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Request
from reconciler.core.report.status import Replica
from reconciler.errors import StateError
from reconciler.outbound.databases.limits import BEGIN, begin_statement
from reconciler.state.database.bounds import BOUNDS_MS
from reconciler.state.database.engine import long_transactions, open_engine, reading, writing
from reconciler.state.requests.queue import RequestTable
from reconciler.state.writable import check_writable
from tests import servers
from tests.state_store import StateStore

IDLE, LOCK, STATEMENT = BOUNDS_MS
AT = datetime(2026, 11, 30, 9, 0, 0, 123456, tzinfo=UTC)


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


def test_the_settings_of_a_database_change_nothing_that_is_kept(
    url: str, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    name = postgres_database(migrated=True)
    with postgres.connect() as connection:
        for setting in (
            "datestyle = 'SQL, DMY'",
            "timezone = 'Asia/Tokyo'",
            "default_transaction_isolation = serializable",
            "standard_conforming_strings = off",
            "search_path = ''",
            "bytea_output = escape",
            "quote_all_identifiers = on",
            "row_security = off",
            "client_min_messages = debug5",
        ):
            connection.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
    engine = open_engine(url.rpartition("/")[0] + f"/{name}")
    state, queue = StateStore(engine), RequestTable(engine)
    replica = Replica(owner="one", config_digest="d", since=AT, seen_at=AT, config_problem="a 'quoted' \\ path")
    state.put_replica(replica)
    assert state.replicas(now=AT) == (replica,)
    queue.add([Request(StoreName("acme"), ClerkUserId("user_\\a"))], AT, reason="it's a test")
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(claim_and_finish, queue, f"owner-{n}") for n in range(8)]
        assert sum(call.result() for call in calls) == 1
    check_writable(engine, now=AT)
    engine.dispose()


def claim_and_finish(queue: RequestTable, owner: str) -> int:
    claims = queue.claim(owner, AT, limit=4, lease_s=30, stores={StoreName("acme"): 4})
    queue.done(claims, AT)
    return len(claims)


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
    assert begin_statement({"a": 5, "b": 5}, {"a": 0}) == f"{BEGIN}; SET LOCAL a = 5"
    assert begin_statement({"a": 5, "b": 5}, {"a": 3, "b": 9}) == f"{BEGIN}; SET LOCAL b = 5"
