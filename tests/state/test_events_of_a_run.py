"""The first events of a run are found at once, however many were written before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import event, text

from reconciler.state.console.reader import ConsoleTable
from reconciler.state.database.engine import open_engine
from tests import servers

EVENTS = """
INSERT INTO reconciler.reconciler_event (at, store, shopify_shop, clerk_user_id, kind, changes, plan_digest, message, run_id)
SELECT now() + n * interval '1 second', 'acme', 'acme.myshopify.com', 'user_' || n, 'update', '[]', '', '', n / 2000
FROM generate_series(1, 20000) AS n
"""


def test_postgres_reads_no_event_of_another_run(
    postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    """It read all events by their number, as it expected those of the run among the first: three seconds of five million."""
    engine = open_engine(postgres.url(postgres_database(migrated=True)))
    asked: list[tuple[str, Mapping[str, Any]]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, values: Mapping[str, Any], *_: Any) -> None:
        asked.append((statement, values))

    with engine.connect() as connection:
        connection.execute(text(EVENTS))
        connection.execute(text("ANALYZE reconciler.reconciler_event"))
        found = ConsoleTable(engine).run_events(9, limit=50)
        assert [each.clerk_user_id for each in found] == [f"user_{n}" for n in range(18_000, 18_050)]
        statement, values = asked[-1]
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", dict(values)))
    engine.dispose()
    assert "Index Scan using reconciler_event_run" in plan, plan
    assert "Filter" not in plan
