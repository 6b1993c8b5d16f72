"""A look at a whole store, or at some of its users: one plan. Streams in chunks; changes nothing.

Who has not moved since a look found her equal may be passed over (`Readers.pairs`): only where the mirror is as new as the
look itself, or where what it does not know of may wait for the next one. Without it everybody is looked at, live.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any

from reconciler.controller.departures import Departures
from reconciler.controller.mirror.by_mirror import is_enough
from reconciler.controller.observe import Claims, claims_of, claims_on, look, specs_of
from reconciler.controller.refused_looks import views_of
from reconciler.controller.spool import Spool
from reconciler.controller.stream import Moved, moved_in
from reconciler.core.decide.absence import PLANNED, Absence, is_missing
from reconciler.core.decide.decide import decide, not_readable
from reconciler.core.decide.written import reclaimed
from reconciler.core.model.action import Kind
from reconciler.core.model.batches import batches
from reconciler.core.model.ids import ClerkUserId, CustomerId, Unique
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec
from reconciler.core.model.store import Ceiling, Store
from reconciler.core.model.view import Decision, Subject, View
from reconciler.core.plan.chains import Blocked, blocked_of
from reconciler.core.plan.gather import Gathered, ScanResult, approved
from reconciler.core.plan.guard import ceiling_of, enough_of
from reconciler.core.plan.plan import StorePlan
from reconciler.core.plan.vacated import once_free
from reconciler.errors import AccessError, ReconcilerError, SourceError
from reconciler.ports import CustomerReader, MappingReader, PairReader, ProfileReader, RowReader
from reconciler.ports.profile_rows import UnwrittenReader

CHUNK = 200
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Readers:
    """All that the looking half may touch in one store.

    With `pairs`, those that were equal and have not moved since, by the mirror, are passed over in a look at everybody;
    with `by_mirror`, who has moved is looked at in the mirror first, and in the shop where that is not enough.
    `absence`: what proves that a user without a row has left; the default is for plans that a person reads. `assigned`: the
    customers that an operator names for users. `unwritten`: rows that are still to be written, of users who may come after
    one whose customer is to be deleted.
    """

    profiles: ProfileReader
    customers: CustomerReader
    mappings: MappingReader
    pairs: PairReader | None = None
    by_mirror: CustomerReader | None = None
    absence: Absence = PLANNED
    assigned: MappingOf[ClerkUserId, CustomerId] = field(default_factory=dict)
    unwritten: UnwrittenReader | None = None

    @property
    def rows(self) -> RowReader | None:
        """The profiles as raw rows, by whose fingerprints pairs are remembered as equal; None where they can't be had."""
        return self.profiles if isinstance(self.profiles, RowReader) else None

    def departures(self, store: Store, now: datetime) -> Departures:
        """Who has left and who comes after them, as of this moment."""
        return Departures(store, self.profiles, self.mappings, self.absence, now, self.assigned, self.unwritten)


def ceiling_now(store: Store, kind: Kind, mappings: MappingReader) -> int:
    """How many actions of this kind may go; the mappings are counted only as far as a percentage of them matters."""
    ceiling: Ceiling = getattr(store.guards, kind)
    enough = enough_of(ceiling)
    return ceiling_of(ceiling, 0 if enough is None else mappings.count(store.shop, at_most=enough))


@dataclass(frozen=True, slots=True)
class Ask:
    """How to look: at whom (None: at everybody), as of when, and what to leave out.

    `explicit`: a person asked, so what Shopify refused is tried once more. `insists`: she named these very
    users for it, so contested fields are written. `guards` False: nothing is withheld.
    `keep_all`: the decisions themselves are wanted, also of those for whom there is nothing to do.
    """

    now: datetime
    users: Collection[ClerkUserId] | None = None
    explicit: bool = True
    insists: bool = False
    guards: bool = True
    keep_all: bool = False


def scan_store(
    store: Store, readers: Readers, ask: Ask, *, progress: Progress | None = None, moved: Moved | None = None
) -> ScanResult:
    """The plan of one store; a store that can't be looked at comes back with its error in place.

    `moved`: what a pass over the profiles found, made for several stores at once; else it is made here where it may be.
    """
    try:
        return _swept(store, readers, ask, progress, moved)
    except SourceError:
        raise
    except ReconcilerError as error:
        reason = "StoreSuspended: " if isinstance(error, AccessError) else ""
        plan = StorePlan(store=store.name, shop=store.domain, error=reason + error.message, error_hint=error.hint)
        return ScanResult(plan=plan, whole=False)


def halves(readers: Readers, ask: Ask) -> tuple[RowReader, PairReader] | None:
    """What it takes to pass over who has not moved; None where everybody must be looked at, or each decision is wanted."""
    rows, pairs = readers.rows, readers.pairs
    return None if rows is None or pairs is None or ask.users is not None or ask.keep_all else (rows, pairs)


def _swept(store: Store, readers: Readers, ask: Ask, progress: Progress | None, moved: Moved | None) -> ScanResult:
    mapped = readers.mappings.count(store.shop)
    gathered = Gathered(store, now=ask.now, guards=ask.guards, keep_all=ask.keep_all, piles=Spool)
    if ask.users is None:
        source_is_there(store, readers)
        if moved is None and (both := halves(readers, ask)) is not None:
            moved = moved_in([(store, both[1])], both[0])[0]
    if moved is not None:
        gathered.passed_over(moved.equal)
        if progress is not None:
            progress(moved.equal)
    by_mirror = 0
    for subjects, claims in _chunks(store, readers, ask.users, moved):
        for one in decided(subjects, store, readers, claims, ask):
            gathered.add(one.subject, one.decision, one.blocked)
            by_mirror += not one.live
        if progress is not None:
            progress(len(subjects))
    rate = readers.customers.restore_rate()
    found = gathered.result(mappings=mapped, restore_rate=rate, whole=ask.users is None)
    return replace(found, by_mirror=by_mirror)


@dataclass(frozen=True, slots=True)
class Decided:
    """One user's decision; where other users have the new e-mail or phone, with those that hold if they give it up.

    `live`: it rests on what the shop shows now, and not on what the mirror does.
    """

    subject: Subject
    decision: Decision
    blocked: Blocked | None
    live: bool


def decided(subjects: Sequence[Subject], store: Store, readers: Readers, claims: Claims, ask: Ask) -> Iterator[Decided]:
    """Each one's decision, in their order: by the mirror where that may be and is enough, else by a look at the shop."""
    specs = specs_of(subjects, store)
    found: dict[ClerkUserId, Decided] = {}
    if readers.by_mirror is not None and not ask.keep_all:
        mirrored = replace(readers, customers=readers.by_mirror)
        by_mirror = _decided(subjects, specs, store, mirrored, claims, ask, live=False)
        found = {one.subject.user: one for one in by_mirror if is_enough(one.subject, one.decision)}
    left = [subject for subject in subjects if subject.user not in found]
    if left:
        theirs = {s.user: specs[s.user] for s in left if s.user in specs}
        found |= {one.subject.user: one for one in _decided(left, theirs, store, readers, claims, ask, live=True)}
    return (found[subject.user] for subject in subjects)


def _decided(
    subjects: Sequence[Subject],
    specs: MappingOf[ClerkUserId, Spec],
    store: Store,
    readers: Readers,
    claims: Claims,
    ask: Ask,
    *,
    live: bool,
) -> Iterator[Decided]:
    departures = readers.departures(store, ask.now)
    views, refusals = views_of(
        subjects, lambda some: look(some, specs, store, readers.customers, readers.mappings, claims, departures)
    )
    for named_so in subjects:
        view = views.get(named_so.user)
        if view is None:
            yield Decided(
                named_so, not_readable(named_so.user, named_so.mapping, refusals[named_so.user].message), None, live
            )
            continue
        s = reclaimed(named_so, view, specs.get(named_so.user))
        judged = partial(
            decide,
            s.user,
            s.profile,
            s.mapping,
            store=store,
            now=ask.now,
            explicit=ask.explicit,
            insists=ask.insists,
            spec=specs.get(s.user),
            absence=readers.absence,
        )
        decision = judged(view)
        yield Decided(s, decision, blocked_of(decision, partial(_if_free, judged, view, store)), live)


def _if_free(judged: Callable[[View], Decision], view: View, store: Store, fields: frozenset[Unique]) -> Decision:
    """The decision if these values were nobody's."""
    return judged(once_free(view, store, fields))


def _chunks(
    store: Store, readers: Readers, users: Collection[ClerkUserId] | None, moved: Moved | None
) -> Iterator[tuple[list[Subject], Claims]]:
    if users is not None:
        subjects = named(users, store, readers)
        if any(s.profile is None and s.mapping is not None for s in subjects):
            source_is_there(store, readers)
        yield subjects, claims_on(subjects, readers.profiles, store)
        return
    found = joined(store, readers) if moved is None else _who_moved(moved, store, readers)
    claims: Claims | None = None  # a pass over all rows of its own: not made where there is nobody to look at
    for chunk in batches(found, CHUNK):
        if moved is None:
            chunk = _asked_again(chunk, store, readers)  # noqa: PLW2901  the same users
        if claims is None:
            claims = claims_of(readers.profiles.sharing_email(None), store)
        yield chunk, claims


def _asked_again(chunk: list[Subject], store: Store, readers: Readers) -> list[Subject]:
    """The same users; whose row a scan did not show is read by name: the table may have been replaced below the scan."""
    missing = [s.user for s in chunk if is_missing(s.profile, s.mapping)]
    if not missing:
        return chunk
    again = {s.user: s for s in named(missing, store, readers)}
    return [again.get(s.user, s) for s in chunk]


def _who_moved(moved: Moved, store: Store, readers: Readers) -> Iterator[Subject]:
    for users in moved.chunks(CHUNK):
        yield from named(users, store, readers)
    yield from odd_ones(moved.odd, store, readers)


def odd_ones(profiles: Sequence[Profile], store: Store, readers: Readers) -> list[Subject]:
    """Rows that can't be asked for by name, with their mappings."""
    mappings = readers.mappings.get(store.shop, [p.clerk_user_id for p in profiles]) if profiles else {}
    return [Subject(p.clerk_user_id, p, mappings.get(p.clerk_user_id)) for p in profiles]


def named(users: Collection[ClerkUserId], store: Store, readers: Readers) -> list[Subject]:
    """These users with their rows and mappings as they are now.

    Mappings are read first: a user may sign up and be mapped between the two reads, and a mapping without a row says that
    the user left.
    """
    mappings = readers.mappings.get(store.shop, users)
    profiles: dict[ClerkUserId, tuple[Profile, int | None]]
    if (rows := readers.rows) is not None:
        profiles = {profile.clerk_user_id: (profile, fp) for profile, fp in rows.rows_of(users).profiles()}
    else:
        profiles = {user: (profile, None) for user, profile in readers.profiles.get(users).items()}
    return [Subject(u, *_profile_first(profiles.get(u), mappings.get(u))) for u in sorted(set(users))]


def _profile_first(
    row: tuple[Profile, int | None] | None, mapping: Mapping | None
) -> tuple[Profile | None, Mapping | None, int | None]:
    profile, fp = row if row is not None else (None, None)
    return profile, mapping, fp


def source_is_there(store: Store, readers: Readers) -> None:
    """Raise SourceError where mappings exist but no row does: nothing may be concluded from an empty source."""
    if readers.profiles.count(at_most=1) == 0 and (mapped := readers.mappings.count(store.shop)):
        raise SourceError(
            f"the profiles are empty, but {store.domain} has {mapped} mapped users: nobody is released",
            hint="check the table, the role's rights and row level security with `reconciler doctor`",
        )


def joined(store: Store, readers: Readers) -> Iterator[Subject]:
    """Profiles and mappings side by side: both come in key order, so neither is ever held whole."""
    mappings = (m for chunk in readers.mappings.scan(store.shop) for m in chunk)
    left: Iterable[tuple[ClerkUserId, Any]] = ((row[0].clerk_user_id, row) for row in _all_rows(readers))
    right: Iterable[tuple[ClerkUserId, Any]] = ((m.clerk_user_id, m) for m in mappings)
    user: ClerkUserId | None = None
    row: tuple[Profile, int | None] | None = None
    mapping: Mapping | None = None
    for key, found in heapq.merge(left, right, key=itemgetter(0)):
        if key != user and user is not None:
            yield Subject(user, *_profile_first(row, mapping))
            row = mapping = None
        user = key
        if isinstance(found, Mapping):
            mapping = found
        else:
            row = found
    if user is not None:
        yield Subject(user, *_profile_first(row, mapping))


def _all_rows(readers: Readers) -> Iterator[tuple[Profile, int | None]]:
    if (rows := readers.rows) is not None:
        for chunk in rows.scan_rows():
            yield from chunk.profiles()
    else:
        yield from ((p, None) for profiles in readers.profiles.scan() for p in profiles)


__all__ = [
    "Ask", "Decided", "Progress", "Readers", "ScanResult", "approved", "ceiling_now", "decided", "halves", "joined", "named",
    "odd_ones", "scan_store", "source_is_there",
]  # fmt: skip
