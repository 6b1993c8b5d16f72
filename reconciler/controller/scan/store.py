"""A scan of a whole store, or of some of its users: one plan. Streams in chunks; changes nothing.

Users who were equal and have not moved since may be passed over (`Readers.pairs`): only where the mirror is as new as the
scan itself, or where what it does not know may wait for the next one. Without it all users are observed, live.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from reconciler.controller.observe import (
    Claims,
    ObserveOptions,
    claims_of,
    claims_on,
    decide_users,
    subject_parts,
    subjects_of,
)
from reconciler.controller.readers import Readers
from reconciler.controller.scan.spool import Spool
from reconciler.controller.scan.stream import Moved, find_moved
from reconciler.core.decide.leaving.absence import is_missing
from reconciler.core.model.batches import batches
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.model.view import Subject
from reconciler.core.plan.gather import PlanBuilder, ScanResult
from reconciler.core.plan.plan import StorePlan
from reconciler.core.plan.series import NewSeries
from reconciler.errors import AccessError, ReconcilerError, SourceError
from reconciler.ports import PairReader, RowReader

CHUNK = 200
Progress = Callable[[int], None]


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
        store, now=options.now, guards=options.guards, keep_all=options.keep_all, new_series=new_series
    )
    try:
        return _scan(store, readers, options, gathered, progress, moved)
    except SourceError:
        raise
    except ReconcilerError as error:
        reason = "StoreSuspended: " if isinstance(error, AccessError) else ""
        plan = StorePlan(store=store.name, shop=store.domain, error=reason + error.message, error_hint=error.hint)
        return ScanResult(plan=plan, whole=False)


def halves(readers: Readers, options: ObserveOptions) -> tuple[RowReader, PairReader] | None:
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
        if moved is None and (both := halves(readers, options)) is not None:
            moved = find_moved([(store, both[1])], both[0])[0]
    if moved is not None:
        gathered.count_in_sync(moved.equal)
        if progress is not None:
            progress(moved.equal)
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
) -> Iterator[tuple[list[Subject], Claims]]:
    if users is not None:
        subjects = subjects_of(users, store, readers)
        if any(s.profile is None and s.mapping is not None for s in subjects):
            check_source(store, readers)
        yield subjects, claims_on(subjects, readers.profiles, store)
        return
    found = join_rows(store, readers) if moved is None else _moved_subjects(moved, store, readers)
    claims: Claims | None = None  # a pass over all rows of its own: not made where there is no user to observe
    for chunk in batches(found, CHUNK):
        if moved is None:
            chunk = _read_missing_again(chunk, store, readers)  # noqa: PLW2901  the same users
        if claims is None:
            claims = claims_of(readers.profiles.sharing_email(None), store)
        yield chunk, claims


def _read_missing_again(chunk: list[Subject], store: Store, readers: Readers) -> list[Subject]:
    """The same users; rows that the scan did not show are read by name: the table may have been replaced meanwhile."""
    missing = [s.user for s in chunk if is_missing(s.profile, s.mapping)]
    if not missing:
        return chunk
    again = {s.user: s for s in subjects_of(missing, store, readers)}
    return [again.get(s.user, s) for s in chunk]


def _moved_subjects(moved: Moved, store: Store, readers: Readers) -> Iterator[Subject]:
    for users in moved.chunks(CHUNK):
        yield from subjects_of(users, store, readers)
    yield from odd_ones(moved.odd, store, readers)


def odd_ones(profiles: Sequence[Profile], store: Store, readers: Readers) -> list[Subject]:
    """Rows that can't be asked for by name, with their mappings."""
    mappings = readers.mappings.get(store.shop, [p.clerk_user_id for p in profiles]) if profiles else {}
    return [Subject(p.clerk_user_id, p, mappings.get(p.clerk_user_id)) for p in profiles]


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
    row: tuple[Profile, int | None] | None = None
    mapping: Mapping | None = None
    for key, found in heapq.merge(left, right, key=itemgetter(0)):
        if key != user and user is not None:
            yield Subject(user, *subject_parts(row, mapping))
            row = mapping = None
        user = key
        if isinstance(found, Mapping):
            mapping = found
        else:
            row = found
    if user is not None:
        yield Subject(user, *subject_parts(row, mapping))


def _all_rows(readers: Readers) -> Iterator[tuple[Profile, int | None]]:
    if isinstance(rows := readers.profiles, RowReader):
        for chunk in rows.scan_rows():
            yield from chunk.profiles()
    else:
        yield from ((p, None) for profiles in readers.profiles.scan() for p in profiles)
