"""Rows of `status` for the console, the metrics and the command line: one a store, from the state alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as MappingOf
from datetime import datetime

from reconciler.controller.scan.standing import FULL, is_abandoned, is_fresh, suspects
from reconciler.core.decide.profile_rows.write import RefusedWrite, shown_mapping
from reconciler.core.model.batches import batches
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.core.report.status import (
    BulkProgress,
    MirrorProgress,
    StatusRow,
    bulk_progress,
    known_row,
    mirror_progress,
    scan_progress,
    status_row,
)
from reconciler.ports import MappingReader, Mirror, MirrorMark
from reconciler.settings import StoreSettings
from reconciler.state.store import StateStore
from reconciler.wiring import Components

ROWS_A_READ = 500


def status_rows_of(components: Components, stores: Iterable[StoreSettings]) -> tuple[StatusRow, ...]:
    """Return what the state knows of these stores."""
    now = components.clock.now()
    refused = components.profile_writes.refusals()
    found = []
    for store in stores:
        facts = components.state.facts(store.shop)
        mark = components.state.mark(store.shop, FULL)
        running = mark if mark is not None and mark.finished_at is None else None
        row = status_row(
            store.name,
            store.domain,
            _tally(components.state, store, refused),
            profiles=facts.profiles if facts else None,
            mapped=components.state.count(store.shop),
            doubts=components.state.doubts(store.name, store.shop, counted_at=facts.last_sweep_at if facts else None),
            last_sweep_at=facts.last_sweep_at if facts else None,
            suspended=facts.suspended_reason if facts else None,
            failing=facts.failing_reason if facts else None,
            failing_since=facts.failing_since if facts else None,
            paused=store.pause_words or None,
            pause=store.pause,
            oldest_request_s=round(components.queue.oldest_age_s(now, [store.name]), 3),
            scan=scan_progress(running.started_at, running.looked_at, running.total, now=now) if running else None,
            mirror=_mirror(components.state, store.shop, now),
            bulk=_bulk(components.state, store.shop, now),
            accepted=_accepted(components, store, now),
            updated_at_unmoved=suspects(components.state, store.shop),
        )
        found.append(row)
    return tuple(found)


def known_rows(components: Components, rows: Iterable[Mapping], stores: Iterable[StoreSettings]) -> Iterator[Mapping]:
    """Yield mappings as lists show them (`core.report.status.known_row`), a few hundred at a time."""
    by_shop = {store.shop: store for store in stores}
    for part in batches(rows, ROWS_A_READ):
        waiting: dict[ShopDomain, Collection[ClerkUserId]] = {}
        suspended: dict[ShopDomain, str | None] = {}
        for shop in {row.shop for row in part}:
            store, facts = by_shop.get(shop), components.state.facts(shop)
            users = [row.clerk_user_id for row in part if row.shop == shop and row.status == "in_sync"]
            waiting[shop] = components.state.waiting(store.name, shop, users) if store is not None and users else ()
            suspended[shop] = facts.suspended_reason if facts is not None else None
        for row in part:
            yield known_row(row, suspended=suspended[row.shop], waits=row.clerk_user_id in waiting[row.shop])


def with_present_names(rows: Iterable[Mapping], stores: Iterable[StoreSettings]) -> Iterator[Mapping]:
    """Yield mappings with the present names of their shops instead of the keys in the state."""
    renamed = {store.shop: store.domain for store in stores if store.shop != store.domain}
    for row in rows:
        yield row.with_shop(renamed[row.shop]) if row.shop in renamed else row


def _tally(
    state: MappingReader, store: StoreSettings, refused: MappingOf[ClerkUserId, RefusedWrite]
) -> MappingOf[tuple[str, str | None], int]:
    """Return how many mappings have each status and reason; users with a refused profile row count as held."""
    tally = Counter(state.tally(store.shop))
    concerned = [user for user, one in refused.items() if one.concerns(store)]
    rows = state.get(store.shop, concerned)
    for user in concerned:
        row = rows.get(user)
        shown = shown_mapping(store, refused[user], row)
        if row is not None:
            tally[row.status, row.reason] -= 1
        tally[shown.status, shown.reason] += 1
    return {key: count for key, count in tally.items() if count > 0}


def _accepted(components: Components, store: StoreSettings, now: datetime) -> int:
    """Return how many users have accepted drift: by operators, or by stores.yaml."""
    in_file = {accepted.user for accepted in store.accept if accepted.holds_at(now)}
    both = components.state.get(store.shop, sorted(in_file))
    twice = sum(row.accepted is not None and now < row.accepted.until for row in both.values())
    return components.state.count_accepted(store.shop, now=now) + len(in_file) - twice


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


def _bulk(state: StateStore, shop: ShopDomain, now: datetime) -> BulkProgress | None:
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
        abandoned=is_abandoned(shop, state, state, now),
    )
