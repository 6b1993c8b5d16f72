"""The rows of `status`: as many statements for thirty stores as for three, and each store has its own numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from reconciler.core.model.act import Acceptance, Act, Actor
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.request import Request
from reconciler.core.report.status import StatusRow
from reconciler.manager.http.status_rows import status_rows_of
from reconciler.ports import StoreFacts
from reconciler.settings import Loaded, StoreSettings
from reconciler.settings.models import Settings, StateSettings
from reconciler.wiring import Components, open_components
from tests.conftest import Database
from tests.contracts.test_bulk_book import file, line
from tests.contracts.test_state import AT, mapping, user

STORES = [
    StoreSettings.model_validate(
        {"name": f"shop-{n:02}", "shop": f"shop-{n:02}.myshopify.com", "auth": {"access_token": "t"}}
        | {"accept": [{"user": "user_a", "fields": ["tags"], "until": "2099-01-01T00:00:00Z", "why": "test"}]}
    )
    for n in range(30)
]


class AtOneMoment:
    """A clock that stays at one moment."""

    def now(self) -> datetime:
        return AT + timedelta(hours=2)


@pytest.fixture
def components(state_database: Database) -> Iterator[Components]:
    settings = Settings(version=1, state=StateSettings(url=state_database.url))
    loaded = Loaded(settings=settings, stores=tuple(STORES))
    with open_components(loaded, warn=lambda _: None, clock=AtOneMoment()) as opened:
        yield opened


def rows_of(components: Components, stores: list[StoreSettings]) -> tuple[tuple[StatusRow, ...], int]:
    """The rows, and how many statements they took."""
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    event.listen(components.connections.engine, "before_cursor_execute", note)
    try:
        return status_rows_of(components, stores), len(asked)
    finally:
        event.remove(components.connections.engine, "before_cursor_execute", note)


def fill(components: Components, name: StoreName, shop: ShopDomain) -> None:
    """What every statement finds rows of: mappings, a request, a scan, a mirror, bulk writes, accepted drift, facts."""
    state, queue = components.state, components.queue

    def row(short: str, number: int | None = None, **more: Any) -> Mapping:
        return mapping(short, number, shop=shop, store=name, **more)

    before, after = AT - timedelta(days=1), AT + timedelta(hours=1)
    state.mappings.put_facts(StoreFacts(name, shop, profiles=7, last_sweep_at=AT))
    left = row("left", 4, status="released", first_seen_at=before, left_at=after)
    state.mappings.put_many([row("a", 1), row("b", 2), row("held", 3, status="held", reason="NoEmail"), left])
    queue.add([Request(name, user("b")), Request(name, user("new"))], AT, reason="clerk")
    for kind, found in (("full", "a"), ("changes", "b")):
        state.scans.begin(shop, kind, now=AT, total=9)
        state.scans.note(shop, kind, cursor=user("c"), looked_at=3, wanted=3, findings={user(found): "update"})
    state.mappings.begin_mirror(shop, "gid://shopify/BulkOperation/1", now=AT, expected=5)
    state.bulk.enqueue_lines(shop, [line("c"), line("d")])
    state.bulk.begin_file(file(f"file of {name}", shop), {user("c"): 0})
    acceptance = Acceptance(("tags",), AT + timedelta(days=36_500), Actor("ada", "console"), AT)
    for short in ("a", "b"):  # `a` is accepted in the file as well, and counts once
        state.acts.accept(shop, acceptance, Act(AT, acceptance.actor, "accept", name, user(short)))


def test_the_number_of_statements_does_not_grow_with_the_stores(components: Components) -> None:
    for store in (*STORES[:3], STORES[-1]):
        fill(components, store.name, store.shop)
    few, for_few = rows_of(components, STORES[:3])
    many, for_many = rows_of(components, STORES)
    assert for_few == for_many <= 13
    assert few == many[:3]
    assert (many[-1].profiles, many[-1].in_sync, many[-2].profiles) == (few[0].profiles, few[0].in_sync, 0)


def test_each_store_has_its_own_numbers(components: Components) -> None:
    one, other = STORES[:2]
    fill(components, one.name, one.shop)
    (row, empty), _ = rows_of(components, [one, other])
    assert (row.profiles, row.mapped, row.in_sync, row.pending, row.held) == (6, 3, 0, 5, {"NoEmail": 1})
    assert (row.accepted, empty.accepted) == (2, 1)
    assert row.bulk is not None
    assert (row.bulk.files, row.bulk.lines, row.bulk.left, row.bulk.waiting) == (1, 3, 1, 1)
    assert row.bulk.abandoned
    assert row.mirror is not None
    assert row.sweep is not None
    assert (row.oldest_request_s, empty.oldest_request_s) == (7200, 0)
    assert (empty.profiles, empty.mapped, empty.held) == (0, 0, {})
    assert (empty.bulk, empty.mirror) == (None, None)
