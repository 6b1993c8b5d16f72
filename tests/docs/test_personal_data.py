"""The page on personal data names every table, and its SQL deletes all that the state holds of a shop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from tests.contracts.test_state import OTHER, SHOP, mapping, user
from tests.docs.test_docs import text_of
from tests.state_store import StateStore

PAGE = text_of("docs/tasks/personal-data.md")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'state.db'}")
    ensure_schema(engine)
    yield engine
    engine.dispose()


def tables_with(state: Engine, *columns: str) -> set[str]:
    found = inspect(state)
    names = found.get_table_names()
    return {name for name in names if {column["name"] for column in found.get_columns(name)} & set(columns)}


def test_every_table_with_a_user_or_a_customer_is_on_the_page(state: Engine) -> None:
    names = tables_with(state, "clerk_user_id", "shopify_customer_id", "actor")
    assert len(names) > 5
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_the_sql_for_a_shop_that_leaves_deletes_all_that_is_kept_of_it(state: Engine) -> None:
    StateStore(state).put(mapping("1", 3001))
    StateStore(state).put(mapping("1", 3002, shop=OTHER))
    statements = re.findall(r"^ +(delete from reconciler\.(\w+) where .*);$", PAGE, re.MULTILINE)
    assert {name for _, name in statements} == tables_with(state, "shopify_shop") | {"reconciler_request"}
    with state.begin() as connection:
        for text, _ in statements:
            connection.exec_driver_sql(text.replace("reconciler.", "", 1).replace("acme-us.myshopify.com", SHOP))
    assert StateStore(state).get(SHOP, [user("1")]) == {}
    assert StateStore(state).get(OTHER, [user("1")]) != {}
