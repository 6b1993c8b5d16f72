"""How both databases go about a claim, however many keys wait: by the index of the lanes, never through the table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, bindparam, text

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Priority, Request
from reconciler.state.database.engine import begin_writing, writing
from reconciler.state.requests.queue import RequestTable
from reconciler.state.requests.statements import Statements
from reconciler.state.tables.mappings import UtcDateTime
from tests.contracts.queues import queue_database

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
ACME, GLOBEX = StoreName("acme"), StoreName("globex")
WAITING = 12_500  # with fewer rows Postgres is right to read a small table whole


@pytest.fixture(scope="module", params=["sqlite", "postgres", "postgres, never analysed"])
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Statistics from a nearly empty table or none, then thousands of keys: ready, in backoff, and of another store."""
    backend, _, unknown = request.param.partition(", ")
    with queue_database(request, backend, tmp_path_factory.mktemp("plans")) as engine:
        queue = RequestTable(engine)
        queue.add([Request(ACME, ClerkUserId("first"))], NOW, reason="webhook")
        if not unknown:
            with writing(engine) as connection:
                connection.execute(text("ANALYZE"))
        users = [ClerkUserId(f"user_{n}") for n in range(WAITING)]
        later = NOW + timedelta(seconds=600)
        for store in (ACME, GLOBEX):
            queue.add_all(store, users, NOW, interval_s=900)
            in_backoff = [Request(store, ClerkUserId(f"failed_{n}")) for n in range(WAITING)]
            queue.add(in_backoff, NOW, priority=Priority.RETRY, reason="Throttled", due_at=later)
        yield engine


def explained(engine: Engine, statement: str, **others: str) -> str:
    sqlite = engine.dialect.name == "sqlite"
    prefix = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) "
    values = {
        "owner": "one", "now": NOW, "until": NOW, "limit": 8, "ask": 16, "stores": json.dumps([[ACME, 8]]),
        "nudge_horizon": NOW, "retry_horizon": NOW + timedelta(seconds=5), "resync_horizon": NOW + timedelta(days=9),
        "claims": json.dumps([[ACME, f"user_{n}", 1, 1] for n in range(100)]),
        "lease_max": NOW + timedelta(hours=1),
    }  # fmt: skip
    used = {name: value for name, value in (values | others).items() if f":{name}" in statement}
    times = [bindparam(name, type_=UtcDateTime()) for name, value in used.items() if isinstance(value, datetime)]
    with engine.connect() as connection:
        begin_writing(connection)
        rows = connection.execute(text(prefix + statement).bindparams(*times), used).all()
        connection.rollback()
    return "\n".join(" ".join(str(part) for part in row) for row in rows)


def test_a_claim_goes_by_the_index_of_the_lanes(crowded: Engine) -> None:
    sqlite = crowded.dialect.name == "sqlite"
    statements = Statements(sqlite=sqlite)
    plan = explained(crowded, str(statements.picked if sqlite else statements.take))
    assert "reconciler_request_rank" in plan
    assert not re.search(r"SCAN (r|b|reconciler_request)\b|Seq Scan on reconciler_request", plan), plan


@pytest.mark.parametrize("name", ["gone", "again", "renew", "hand_back"])
def test_what_is_held_is_found_by_its_key(crowded: Engine, name: str) -> None:
    plan = explained(crowded, str(getattr(Statements(sqlite=crowded.dialect.name == "sqlite"), name)))
    assert plan.count("reconciler_request_pkey") == 2 or "autoindex_reconciler_request_1" in plan, plan
    assert not re.search(r"SCAN (r|b|reconciler_request)\b|Seq Scan on reconciler_request", plan), plan
    assert "reconciler_request_owner" not in plan


def test_a_table_that_postgres_knows_nothing_of_is_not_read_once_for_each_claim(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with queue_database(request, "postgres", tmp_path) as engine:
        queue = RequestTable(engine)
        queue.add([Request(ACME, ClerkUserId(f"user_{n}")) for n in range(10_000)], NOW, reason="webhook")
        claims = queue.claim("one", NOW, limit=100, lease_s=30, stores={ACME: 100})
        held = [[c.store, c.clerk_user_id, c.fencing, c.generation] for c in claims]
        for name in ("gone", "again", "renew", "hand_back"):
            plan = explained(engine, str(getattr(Statements(sqlite=False), name)), claims=json.dumps(held))
            assert "rows=100" in plan
            assert not re.search(r"Rows Removed by (Join )?Filter: \d{5}", plan), plan
