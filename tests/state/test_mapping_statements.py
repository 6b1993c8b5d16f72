"""The statements of a write of mappings, and who waits for what it frees, as SQLite executes them."""

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
        lambda state: state.waiting_for(
            SHOP, ["ada@example.com", "+16135550101"], [CustomerId("gid://shopify/Customer/1")]
        ),
    ],
    ids=["put", "put_many", "put_unchanged", "settle_lines", "waiting_for"],
)
def test_neither_a_write_of_mappings_nor_what_follows_it_reads_all_rows_of_a_shop(
    tmp_path: Path, write: Callable[[StateStore], Any]
) -> None:
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
            steps = [str(row[-1]) for row in plan if not row[-1].startswith(("SCAN CONSTANT ROW", "SCAN anon_"))]
            assert not [step for step in steps if "(shopify_shop=?)" in step or step.startswith("SCAN")], statement
    engine.dispose()
