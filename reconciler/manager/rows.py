"""Rows of `status`, for the console, the metrics and the command line: one a store, from the state alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reconciler.controller.mirror import is_fresh
from reconciler.controller.resync import FULL
from reconciler.core.ids import ShopDomain
from reconciler.core.status import (
    BulkProgress,
    MirrorProgress,
    StatusRow,
    bulk_progress,
    mirror_progress,
    status_row,
    sweep_progress,
)
from reconciler.ports import BulkBook, Mirror, MirrorMark
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
            mirror=_mirror(house.state, store.shop, now),
            bulk=_bulk(house.state, store.shop, now),
        )
        found.append(row)
    return tuple(found)


def _mirror(state: Mirror, shop: ShopDomain, now: datetime) -> MirrorProgress | None:
    mark = state.mirror_mark(shop)
    if mark == MirrorMark():
        return None
    return mirror_progress(
        mark.operation,
        mark.began_at,
        mark.lines,
        mark.expected,
        complete_at=mark.complete_at,
        listed_at=mark.listed_at,
        fresh=is_fresh(mark, now),
        now=now,
    )


def _bulk(state: BulkBook, shop: ShopDomain, now: datetime) -> BulkProgress | None:
    files, waiting = state.bulk_files(shop), sum(state.bulk_waiting(shop).values())
    if not files and not waiting:
        return None
    began_at = files[0].begun_at if files else None
    return bulk_progress(
        began_at,
        sum(file.lines for file in files),
        state.bulk_left(shop),
        waiting,
        files=len(files),
        operations=sum(file.operation is not None for file in files),
        now=now,
    )
