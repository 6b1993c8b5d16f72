"""Scans for plans: a whole store, some of its users, or several stores in threads. Streams in chunks; changes nothing.

Users who were equal and have not moved since may be passed over (`Readers.pairs`). That is so where the mirror is as new as
the scan, or where what it does not know may wait for the next scan. Without `pairs`, all users are observed live.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import field, replace
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any, Final

from reconciler.controller.claims import AllClaims, ClaimReader, claims_on
from reconciler.controller.observe import ObserveOptions, decide_users, subjects_of
from reconciler.controller.parallel import side_by_side
from reconciler.controller.readers import Readers
from reconciler.controller.scan.live import find_moved_live
from reconciler.controller.scan.spool import Spool
from reconciler.controller.scan.stream import Moved, find_moved
from reconciler.core.decide.leaving.absence import is_missing
from reconciler.core.model.batches import batches
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.model.view import Subject
from reconciler.core.plan.gather import PlanBuilder, ScanResult
from reconciler.core.plan.plan import Plan, StorePlan, build_plan
from reconciler.core.plan.series import NewSeries
from reconciler.errors import AccessError, ReconcilerError, SourceError
from reconciler.ports import PairReader, RowReader

CHUNK = 200
NO_ROW: Final = (None, None)
Progress = Callable[[int], None]


@frozen
class PassedOver:
    """So many of a store's users count as in sync unread: by its mirror nothing of theirs had moved at this time.

    `decided`: so many more were decided on by what the mirror shows, or does not show, of them.
    """

    users: int
    as_of: datetime
    decided: int = 0


@frozen
class Planned:
    """A plan of several stores, and per store what was found on the way, and how many users were passed over.

    `narrowed`: it is of users that a person named.
    """

    plan: Plan
    scans: MappingOf[StoreName, ScanResult]
    passed_over: MappingOf[StoreName, PassedOver] = field(default_factory=dict)
    narrowed: bool = False


def plan_stores(
    stores: MappingOf[StoreName, tuple[Store, Readers]],
    ask: ObserveOptions,
    *,
    progress: Callable[[StoreName], Progress] | None = None,
    as_of: MappingOf[StoreName, datetime] | None = None,
) -> Planned:
    """Scan each store in a thread of its own; the plan is the same whatever order they end in.

    Stores that may pass over who has not moved share one pass over the profiles; `as_of` says how old their mirrors are.
    """
    moved = _moved(stores, ask)
    work = {
        name: partial(
            scan_store, store, readers, ask, progress=progress(name) if progress else None, moved=moved.get(name)
        )
        for name, (store, readers) in stores.items()
    }
    scan_result = side_by_side(work)
    passed_over = {
        name: PassedOver(moved[name].equal, at, scan_result[name].by_mirror)
        for name, at in (as_of or {}).items()
        if name in moved
    }
    return Planned(
        build_plan((s.plan for s in scan_result.values()), created_at=ask.now), scan_result, passed_over, ask.insists
    )


def plan_assigned(stores: MappingOf[StoreName, tuple[Store, Readers]], *, now: datetime) -> Planned:
    """The plan of those users only that `Readers.assigned` names customers for, store by store."""
    work = {
        name: partial(scan_store, store, readers, ObserveOptions(now=now, users=list(readers.assigned)))
        for name, (store, readers) in stores.items()
    }
    scan_result = side_by_side(work)
    return Planned(build_plan((s.plan for s in scan_result.values()), created_at=now), scan_result)


def _moved(stores: MappingOf[StoreName, tuple[Store, Readers]], ask: ObserveOptions) -> dict[StoreName, Moved]:
    both = {name: pair for name, (_, readers) in stores.items() if (pair := _halves(readers, ask)) is not None}
    found: dict[StoreName, Moved] = {}
    for rows in {id(rows): rows for rows, _ in both.values()}.values():
        names = [name for name, (theirs, _) in both.items() if theirs is rows]
        found |= zip(names, find_moved([(stores[name][0], both[name][1]) for name in names], rows), strict=True)
    return found


def scan_store(
    store: Store,
    readers: Readers,
    options: ObserveOptions,
    *,
    progress: Progress | None = None,
    moved: Moved | None = None,
    new_series: NewSeries = Spool,
) -> ScanResult:
    """The plan of one store; a store that can't be scanned comes back with its error in place.

    `moved`: what a pass over the profiles found, made for several stores at once; else it is made here where it may be.
    `new_series` makes the lists of the plan, which may be too long for memory.
    """
    gathered = PlanBuilder(
        store,
        now=options.now,
        guards=options.guards,
        keeps_withheld=options.keeps_withheld,
        keep_all=options.keep_all,
        new_series=new_series,
    )
    try:
        return _scan(store, readers, options, gathered, progress, moved)
    except SourceError:
        raise
    except ReconcilerError as error:
        reason = "StoreSuspended: " if isinstance(error, AccessError) else ""
        plan = StorePlan(store=store.name, shop=store.domain, error=reason + error.message, error_hint=error.hint)
        return ScanResult(plan=plan, whole=False)


def _halves(readers: Readers, options: ObserveOptions) -> tuple[RowReader, PairReader] | None:
    """What it takes to pass over users who have not moved; None where all must be observed, or each decision is wanted."""
    rows, pairs = readers.profiles, readers.pairs
    if not isinstance(rows, RowReader) or pairs is None or options.users is not None or options.keep_all:
        return None
    return rows, pairs


def _scan(
    store: Store,
    readers: Readers,
    options: ObserveOptions,
    gathered: PlanBuilder,
    progress: Progress | None,
    moved: Moved | None,
) -> ScanResult:
    mapped = readers.mappings.count(store.shop)
    if options.users is None:
        check_source(store, readers)
        if moved is None and (both := _halves(readers, options)) is not None:
            moved = find_moved([(store, both[1])], both[0])[0]
        if moved is not None and progress is not None:
            progress(moved.equal)
        # Where no customer is mapped, no user was found equal, and all are observed.
        if moved is None and mapped and isinstance(rows := readers.profiles, RowReader) and not options.keep_all:
            moved = find_moved_live(store, readers, rows, progress=progress)
    if moved is not None:
        gathered.count_in_sync(moved.equal)
    by_mirror = 0
    for subjects, claims in _chunks(store, readers, options.users, moved):
        for one in decide_users(subjects, store, readers, claims, options, by_mirror=readers.by_mirror):
            gathered.add(one.subject, one.decision, one.blocked)
            by_mirror += not one.live
        if progress is not None:
            progress(len(subjects))
    rate = readers.customers.restore_rate()
    found = gathered.result(mappings=mapped, restore_rate=rate, whole=options.users is None)
    return replace(found, by_mirror=by_mirror)


def _chunks(
    store: Store, readers: Readers, users: Collection[ClerkUserId] | None, moved: Moved | None
) -> Iterator[tuple[list[Subject], ClaimReader]]:
    if users is not None:
        subjects = subjects_of(users, store, readers)
        if any(s.profile is None and s.mapping is not None for s in subjects):
            check_source(store, readers)
        yield subjects, partial(claims_on, profiles=readers.profiles, store=store)
        return
    chunks: Iterator[list[Subject]]
    if moved is None:
        chunks = (_read_missing_again(chunk, store, readers) for chunk in batches(join_rows(store, readers), CHUNK))
    else:
        chunks = named_subjects(moved.chunks(CHUNK), moved.odd, store, readers)
    claims = AllClaims(readers.profiles, store)
    for chunk in chunks:
        yield chunk, claims


def _read_missing_again(chunk: list[Subject], store: Store, readers: Readers) -> list[Subject]:
    """The same users; rows that the scan did not show are read by name: the table may have been replaced meanwhile."""
    missing = [s.user for s in chunk if is_missing(s.profile, s.mapping)]
    if not missing:
        return chunk
    again = {s.user: s for s in subjects_of(missing, store, readers)}
    return [again.get(s.user, s) for s in chunk]


def named_subjects(
    named: Iterable[Sequence[ClerkUserId]], odd: Sequence[Profile], store: Store, readers: Readers
) -> Iterator[list[Subject]]:
    """The users that a pass names, chunk by chunk, as they are now; then rows that can't be asked for by name."""
    for users in named:
        yield subjects_of(users, store, readers)
    if odd:
        mappings = readers.mappings.get(store.shop, [p.clerk_user_id for p in odd])
        yield [Subject(p.clerk_user_id, p, mappings.get(p.clerk_user_id)) for p in odd]


def check_source(store: Store, readers: Readers) -> None:
    """Raise SourceError where mappings exist but no row does: nothing may be concluded from an empty source."""
    if readers.profiles.count(at_most=1) == 0 and (mapped := readers.mappings.count(store.shop)):
        raise SourceError(
            f"the profiles are empty, but {store.domain} has {mapped} mapped users: no user is released",
            hint="check the table, the role's rights and row level security with `reconciler doctor`",
        )


def join_rows(store: Store, readers: Readers) -> Iterator[Subject]:
    """Profiles and mappings side by side: both come in key order, so neither is ever held whole."""
    mappings = (m for chunk in readers.mappings.scan(store.shop) for m in chunk)
    left: Iterable[tuple[ClerkUserId, Any]] = ((row[0].clerk_user_id, row) for row in _all_rows(readers))
    right: Iterable[tuple[ClerkUserId, Any]] = ((m.clerk_user_id, m) for m in mappings)
    user: ClerkUserId | None = None
    row: tuple[Profile | None, int | None] = NO_ROW
    mapping: Mapping | None = None
    for key, found in heapq.merge(left, right, key=itemgetter(0)):
        if key != user and user is not None:
            yield Subject(user, row[0], mapping, row[1])
            row, mapping = NO_ROW, None
        user = key
        if isinstance(found, Mapping):
            mapping = found
        else:
            row = found
    if user is not None:
        yield Subject(user, row[0], mapping, row[1])


def _all_rows(readers: Readers) -> Iterator[tuple[Profile, int | None]]:
    if isinstance(rows := readers.profiles, RowReader):
        for chunk in rows.scan_rows():
            yield from chunk.profiles()
    else:
        yield from ((p, None) for profiles in readers.profiles.scan() for p in profiles)
