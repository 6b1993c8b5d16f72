"""The search for what was written: each page follows the one before, and an index serves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy import event as listening

from reconciler.core.model.act import Actor
from reconciler.core.model.action import Change
from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import NewRun
from reconciler.core.report.changes import ChangesAsked, ChangesFound
from reconciler.state.console.changes import ChangesTable
from reconciler.state.database.engine import writing
from tests.contracts.test_state import AT, OTHER, SHOP, event, mapping, user
from tests.state_store import StateStore

SHOPS = [SHOP, OTHER]


def edit(field: str, value: str = "x") -> Change:
    return Change(field=field, before=None, after=value, why="drift")


@pytest.fixture
def changes(engine: Engine) -> ChangesTable:
    """Nine events of three times: the fifth of another shop, the sixth a merge, the seventh by a run of Ada."""
    state = StateStore(engine)
    run = state.begin_run(NewRun("apply", (StoreName("acme"),), Actor("ada", "command"), "o"), at=AT)
    events = [
        event(f"u{n % 3}", AT + timedelta(hours=n // 3), changes=(edit("note", '"field": "tags"'),)) for n in range(9)
    ]
    events[4] = replace(events[4], shop=OTHER, store=StoreName("other"))
    events[5] = replace(events[5], kind="merge")
    events[6] = replace(events[6], run_id=run)
    events[7] = replace(events[7], changes=(edit("email"), edit("tags")))
    for n, each in enumerate(events):
        state.put(mapping(each.clerk_user_id, shop=each.shop), replace(each, message=str(n)))
    return ChangesTable(engine, read_max=3)


def pages(changes: ChangesTable, asked: ChangesAsked, *, limit: int = 2) -> Iterator[ChangesFound]:
    shops = [SHOP] if asked.store == "acme" else SHOPS
    while True:
        found = changes.find_changes(asked, shops=shops, limit=limit)
        yield found
        if found.before is None:
            return
        asked = replace(asked, before=found.before)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (ChangesAsked(), "876543210"),
        (ChangesAsked(store=StoreName("acme")), "87653210"),
        (ChangesAsked(users=(user("u0"),)), "630"),
        (ChangesAsked(users=()), ""),
        (ChangesAsked(users=(user("u0"), user("u2"))), "865320"),
        (ChangesAsked(kind="merge"), "5"),
        (ChangesAsked(field="tags"), "7"),
        (ChangesAsked(field="note"), "86543210"),
        (ChangesAsked(actor="ada"), "6"),
        (ChangesAsked(actor="run"), "87543210"),
        (ChangesAsked(since=AT + timedelta(hours=1)), "876543"),
        (ChangesAsked(since=AT + timedelta(hours=1), until=AT + timedelta(hours=2)), "543"),
        (ChangesAsked(users=(user("u2"),), kind="merge", store=StoreName("acme")), "5"),
    ],
    ids=str,
)
def test_the_pages_together_have_each_event_once_the_newest_first(
    changes: ChangesTable, asked: ChangesAsked, found: str
) -> None:
    for limit in (1, 2, 50):
        read = list(pages(changes, asked, limit=limit))
        assert "".join(each.message for page in read for each in page.events) == found
        assert all(page.searched_to is None for page in read) or asked.is_filtered


def test_a_page_reads_no_more_than_it_may(changes: ChangesTable) -> None:
    first, second, third, *rest = pages(changes, ChangesAsked(kind="merge"))
    assert (first.events, first.searched_to) == ((), AT + timedelta(hours=2))
    assert [each.message for each in second.events] == ["5"]
    assert (third.events, rest[-1].before, rest[-1].searched_to) == ((), None, None)


@contextmanager
def plans_of(engine: Engine) -> Iterator[list[str]]:
    """The plans of the queries of events; Postgres may not choose to read a small table whole."""
    sqlite = engine.dialect.name == "sqlite"
    asked: list[tuple[str, Any]] = []

    def note(_conn: Connection, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        if "FROM" in statement and "reconciler_event" in statement:
            asked.append((statement, values))

    found: list[str] = []
    listening.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        listening.remove(engine, "before_cursor_execute", note)
    with writing(engine) as connection:
        if not sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        for statement, values in asked:
            prefix = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            found.append("\n".join(str(row[-1]) for row in connection.exec_driver_sql(prefix + statement, values)))


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (ChangesAsked(), "reconciler_event_at"),
        (ChangesAsked(field="tags"), "reconciler_event_at"),
        (ChangesAsked(actor="ada"), "reconciler_event_at"),
        (ChangesAsked(store=StoreName("acme")), "reconciler_event_shop"),
        (ChangesAsked(users=(user("u0"),)), "reconciler_event_user"),
    ],
    ids=str,
)
def test_an_index_serves_every_page(changes: ChangesTable, engine: Engine, asked: ChangesAsked, index: str) -> None:
    with plans_of(engine) as plans:
        list(pages(changes, asked))
    assert plans
    for plan in plans:
        assert index in plan, plan
        assert "Seq Scan on reconciler_event" not in plan, plan
        assert "reconciler_event_run" not in plan, plan
