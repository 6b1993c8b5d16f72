"""Rows of `status`, for the console, the metrics and the command line: one a store, from the state alone."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.controller.resync import FULL
from reconciler.core.status import StatusRow, status_row, sweep_progress
from reconciler.settings import StoreSettings
from reconciler.wiring import House


def status_rows_of(house: House, stores: Iterable[StoreSettings]) -> tuple[StatusRow, ...]:
    """What the state knows of these stores."""
    now = house.clock.now()
    found = []
    for store in stores:
        facts = house.state.facts(store.shop)
        mark = house.state.mark(store.shop, FULL)
        running = mark if mark is not None and mark.finished_at is None else None
        row = status_row(
            store.name,
            store.shop,
            house.state.tally(store.shop),
            profiles=facts.profiles if facts else None,
            mapped=house.state.count(store.shop),
            doubts=house.state.doubts(store.name, store.shop, counted_at=facts.last_sweep_at if facts else None),
            last_sweep_at=facts.last_sweep_at if facts else None,
            suspended=facts.suspended_reason if facts else None,
            oldest_request_s=round(house.queue.oldest_age_s(now, [store.name]), 3),
            sweep=sweep_progress(running.started_at, running.looked_at, running.total, now=now) if running else None,
        )
        found.append(row)
    return tuple(found)
