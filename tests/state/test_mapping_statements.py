"""The statements of a write of mappings, as SQLite executes them: none reads all rows of a shop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy import event as listening

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.ports import BulkLine
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from tests.state_store import StateStore

SHOP = ShopDomain("acme.myshopify.com")


def mapping(number: int) -> Mapping:
    user, customer = ClerkUserId(f"user_{number}"), CustomerId(f"gid://shopify/Customer/{number}")
    return Mapping(clerk_user_id=user, store=StoreName("acme"), shop=SHOP, customer_id=customer)


def settle(state: StateStore) -> None:
    """As an answer of a bulk operation does, with the next write of the user."""
    row = mapping(1)
    line = BulkLine(row.clerk_user_id, rides_in="customers", decision="{}", plan_digest="")
    state.settle_lines(SHOP, [row], [], more=[line], before={row.clerk_user_id: row})


@pytest.mark.parametrize(
    "write",
    [
        lambda state: state.put(mapping(1)),
        lambda state: state.put_many([mapping(1), mapping(2)]),
        lambda state: state.put_unchanged([(mapping(1), mapping(1)), (None, mapping(2))]),
        settle,
    ],
    ids=["put", "put_many", "put_unchanged", "settle_lines"],
)
def test_a_write_of_mappings_reads_none_but_theirs(tmp_path: Path, write: Callable[[StateStore], Any]) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'state.db'}")
    ensure_schema(engine)
    state, asked = StateStore(engine), list[tuple[str, Any]]()
    state.put(mapping(1))

    def note(_conn: Connection, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            asked.append((statement, values))

    listening.listen(engine, "before_cursor_execute", note)
    write(state)
    listening.remove(engine, "before_cursor_execute", note)
    assert asked
    with engine.begin() as connection:
        for statement, values in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            steps = [str(row[-1]) for row in plan if row[-1] != "SCAN CONSTANT ROW"]
            assert not [step for step in steps if "(shopify_shop=?)" in step or step.startswith("SCAN")], statement
    engine.dispose()
