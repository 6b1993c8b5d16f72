"""Rows of `status` for the console, the metrics and the command line: one a store, from the state alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as MappingOf
from datetime import datetime

from reconciler.controller.scan.standing import CHANGES, FULL, bulk_lease, is_fresh, suspects
from reconciler.core.decide.profile_rows.write import COVERED, REFUSED, RefusedWrite
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
from reconciler.ports import MirrorMark
from reconciler.settings import StoreSettings
from reconciler.state.repositories import Repositories
from reconciler.wiring import Components

ROWS_A_READ = 500

Mappings = MappingOf[tuple[ShopDomain, ClerkUserId], Mapping]


def status_rows_of(components: Components, stores: Iterable[StoreSettings]) -> tuple[StatusRow, ...]:
    """Return what the state knows of these stores. The number of statements does not grow with that of the stores."""
    stores, now, state = tuple(stores), components.clock.now(), components.state
    shops = [store.shop for store in stores]
    facts, tallies = state.mappings.facts_by_shop(shops), state.mappings.tallies(shops)
    marks, mirrors = state.scans.marks(shops), state.mappings.mirror_marks(shops)
    doubts = state.doubts.doubts({store.shop: store.name for store in stores})
    ages_s = components.queue.oldest_ages_s(now, [store.name for store in stores])
    bulk = _bulk(state, shops, now)
    refused = components.profile_writes.refusals()
    standing = state.mappings.standing_across(shops, refused.keys())
    mappings = state.mappings.get_across(shops, {accepted.user for store in stores for accepted in store.accept})
    accepted = state.acts.count_accepted(shops, now=now)
    found = []
    for store in stores:
        known, tally = facts.get(store.shop), tallies[store.shop]
        full, changes = marks.get((store.shop, FULL)), marks.get((store.shop, CHANGES))
        running = full if full is not None and full.finished_at is None else None
        row = status_row(
            store.name,
            store.domain,
            _with_refused(tally.rows, store, refused, standing),
            profiles=known.profiles if known else None,
            mapped=tally.mapped,
            doubts=doubts[store.shop],
            last_sweep_at=known.last_sweep_at if known else None,
            suspended=known.suspended_reason if known else None,
            failing=known.failing_reason if known else None,
            failing_since=known.failing_since if known else None,
            paused=store.pause_words or None,
            pause=store.pause,
            oldest_request_s=round(ages_s[store.name], 3),
            scan=scan_progress(running.started_at, running.looked_at, running.total, now=now) if running else None,
            mirror=_mirror(mirrors.get(store.shop, MirrorMark()), now),
            bulk=bulk.get(store.shop),
            accepted=accepted[store.shop] + _accepted_in_file(store, mappings, now),
            updated_at_unmoved=suspects(changes, full),
        )
        found.append(row)
    return tuple(found)


def known_rows(components: Components, rows: Iterable[Mapping], stores: Iterable[StoreSettings]) -> Iterator[Mapping]:
    """Yield mappings as lists show them (`core.report.status.known_row`), a few hundred at a time."""
    by_shop = {store.shop: store for store in stores}
    for part in batches(rows, ROWS_A_READ):
        waiting: dict[ShopDomain, Collection[ClerkUserId]] = {}
        suspended: dict[ShopDomain, str | None] = {}
        facts_by_shop = components.state.mappings.facts_by_shop({row.shop for row in part})
        for shop in {row.shop for row in part}:
            store, facts = by_shop.get(shop), facts_by_shop.get(shop)
            users = [row.clerk_user_id for row in part if row.shop == shop and row.status == "in_sync"]
            waiting[shop] = (
                components.state.mappings.waiting(store.name, shop, users) if store is not None and users else ()
            )
            suspended[shop] = facts.suspended_reason if facts is not None else None
        for row in part:
            yield known_row(row, suspended=suspended[row.shop], waits=row.clerk_user_id in waiting[row.shop])


def with_present_names(rows: Iterable[Mapping], stores: Iterable[StoreSettings]) -> Iterator[Mapping]:
    """Yield mappings with the present names of their shops instead of the keys in the state."""
    renamed = {store.shop: store.domain for store in stores if store.shop != store.domain}
    for row in rows:
        yield row.with_shop(renamed[row.shop]) if row.shop in renamed else row


def _with_refused(
    rows: MappingOf[tuple[str, str | None], int],
    store: StoreSettings,
    refused: MappingOf[ClerkUserId, RefusedWrite],
    standing: MappingOf[tuple[ShopDomain, ClerkUserId], tuple[str, str | None]],
) -> MappingOf[tuple[str, str | None], int]:
    """Return how many mappings have each status and reason; users with a refused profile row count as held."""
    tally = Counter(rows)
    for user, one in refused.items():
        if one.concerns(store):
            here = standing.get((store.shop, user))
            if here is not None and here[0] not in COVERED:
                continue
            if here is not None:
                tally[here] -= 1
            tally["held", REFUSED] += 1
    return {key: count for key, count in tally.items() if count > 0}


def _accepted_in_file(store: StoreSettings, mappings: Mappings, now: datetime) -> int:
    """Return how many users have drift that stores.yaml accepts and no operator has accepted too."""
    users = {accepted.user for accepted in store.accept if accepted.holds_at(now)}
    rows = [mappings.get((store.shop, user)) for user in users]
    return len(users) - sum(row is not None and row.accepted is not None and now < row.accepted.until for row in rows)


def _mirror(mark: MirrorMark, now: datetime) -> MirrorProgress | None:
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


def _bulk(state: Repositories, shops: Collection[ShopDomain], now: datetime) -> dict[ShopDomain, BulkProgress]:
    """Return the progress of the bulk writes of those shops that have any; abandoned ones have no process left."""
    counts = {shop: each for shop, each in state.bulk.bulk_counts(shops).items() if each.files or each.waiting}
    holders = state.leases.holders([bulk_lease(shop) for shop in counts], now=now)
    return {
        shop: bulk_progress(
            each.began_at,
            each.lines,
            each.left,
            each.waiting,
            files=each.files,
            operations=each.operations,
            now=now,
            abandoned=bulk_lease(shop) not in holders,
        )
        for shop, each in counts.items()
    }
