"""A server that has no connection left for a role: a call waits for one, and says so if none becomes free."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy import text

from reconciler.errors import ReconcilerError
from reconciler.manager.http.state_probe import StateProbe
from reconciler.outbound.databases.logins import DbLogins
from reconciler.outbound.databases.pool import refusal_of_waiting_calls
from reconciler.state.database.engine import open_engine, reading
from reconciler.supabase.reading.profiles import TableProfiles
from tests import servers
from tests.manager.harness import until

TABLE = """
CREATE TABLE customers (clerk_user_id text PRIMARY KEY, email text);
INSERT INTO customers VALUES ('user_1', 'one@example.com'), ('user_2', 'two@example.com');
GRANT SELECT ON customers TO crowded;
"""


class Role:
    """A role that may have few connections, and calls of it: reads of the profiles, or of the state's database."""

    def __init__(self, server: servers.Server, name: str, calls: str, *, wait_s: float, closing: ExitStack) -> None:
        url = server.url(name, user="crowded")
        logins = DbLogins(lambda: time.monotonic() * 20)  # so that its pauses are shorter
        if calls == "profiles":
            reader = TableProfiles(
                url,
                "public.customers",
                {"clerk_user_id": "clerk_user_id", "email": "email"},
                logins=logins,
                wait_s=wait_s,
            )
            closing.callback(reader.close)
            self.call: Callable[[], int] = lambda: sum(len(rows) for rows in reader.scan(chunk=1))
            return
        engine = open_engine(url, logins=logins, wait_s=wait_s)
        closing.callback(engine.dispose)

        def count() -> int:
            with reading(engine) as connection:
                return int(
                    connection.execute(text("SELECT count(*) FROM public.customers, pg_sleep(0.02)")).scalar_one()
                )

        self.call = count
        self.refusal: Callable[[], str] = lambda: refusal_of_waiting_calls(engine)


def refusals(postgres: servers.Server) -> int:
    """How many logins the server has refused for the limit of a role."""
    return (postgres.folder / "postgres.log").read_text().count("FATAL:  too many connections for role")


@pytest.fixture
def roles(postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[Callable[..., Role]]:
    name = postgres_database()
    closing = ExitStack()
    with closing, postgres.connect(name) as owner:
        owner.execute("CREATE ROLE crowded LOGIN")
        owner.execute(TABLE)

        def with_limit(calls: str, connections: int, *, wait_s: float = 20.0) -> Role:
            owner.execute(f"ALTER ROLE crowded CONNECTION LIMIT {connections}".encode())
            return Role(postgres, name, calls, wait_s=wait_s, closing=closing)

        yield with_limit
        closing.close()
        owner.execute("DROP OWNED BY crowded; DROP ROLE crowded")


@pytest.fixture
def other(roles: Callable[..., Role], postgres: servers.Server) -> Iterator[psycopg.Connection]:
    """Another client, which has the only connection of the role."""
    roles("state", 1)
    with postgres.connect(user="crowded") as connection:
        yield connection


@pytest.mark.parametrize("calls", ["profiles", "state"])
def test_a_call_waits_until_another_client_closes_its_connection(
    roles: Callable[..., Role], other: psycopg.Connection, postgres: servers.Server, calls: str
) -> None:
    role = roles(calls, 1)
    with ThreadPoolExecutor(1) as pool, postgres.connect() as owner:
        before = refusals(postgres)
        found = pool.submit(role.call)
        until(lambda: refusals(postgres) > before, "the call was refused")
        owner.execute("SELECT pg_terminate_backend(%s)", [other.info.backend_pid])
        assert found.result() == 2


@pytest.mark.parametrize("calls", ["profiles", "state"])
def test_a_role_with_two_connections_serves_any_number_of_threads(roles: Callable[..., Role], calls: str) -> None:
    role = roles(calls, 2)
    with ThreadPoolExecutor(8) as pool:
        assert [call.result() for call in [pool.submit(role.call) for _ in range(24)]] == [2] * 24


@pytest.mark.parametrize("calls", ["profiles", "state"])
def test_a_call_that_gets_no_connection_in_time_says_so(
    roles: Callable[..., Role], other: psycopg.Connection, calls: str
) -> None:
    assert not other.closed
    with pytest.raises(ReconcilerError, match="too many connections for role") as refused:
        roles(calls, 1, wait_s=0.2).call()
    assert "connection limit" in refused.value.hint


def test_what_a_readiness_probe_waits_for_is_known_before_it_gives_up(
    roles: Callable[..., Role], other: psycopg.Connection, postgres: servers.Server
) -> None:
    role = roles("state", 1)
    probe = StateProbe(lambda: [] if role.call() == 2 else ["rows are missing"], why=role.refusal, wait_s=0.2)
    until(lambda: any("has not answered" in r and "too many connections" in r for r in probe.reasons()), "it is known")
    with postgres.connect() as owner:
        owner.execute("SELECT pg_terminate_backend(%s)", [other.info.backend_pid])
    until(lambda: probe.reasons() == [], "it is ready")
    assert role.refusal() == ""
    probe.close()
