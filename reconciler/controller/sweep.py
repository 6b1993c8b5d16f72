"""A look at a whole store, or at some of its users: one plan. Streams in chunks; changes nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from reconciler.controller.observe import Claims, claims_of, claims_on, look
from reconciler.core.decide import decide
from reconciler.core.gather import Gathered, Swept, approved
from reconciler.core.ids import ClerkUserId
from reconciler.core.mapping import Mapping
from reconciler.core.plan import StorePlan
from reconciler.core.profile import Profile
from reconciler.core.store import Store
from reconciler.core.view import Decision, Subject
from reconciler.errors import AccessError, ReconcilerError, SourceError
from reconciler.ports import CustomerReader, MappingReader, ProfileReader

CHUNK = 200
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Readers:
    """All that the looking half may touch in one store."""

    profiles: ProfileReader
    customers: CustomerReader
    mappings: MappingReader


@dataclass(frozen=True, slots=True)
class Ask:
    """How to look: at whom (None: at everybody), as of when, and what to leave out.

    `explicit`: a person asked, so what Shopify refused is tried once more. `guards` False: nothing is withheld.
    `keep_all`: the decisions themselves are wanted, also of those for whom there is nothing to do.
    """

    now: datetime
    users: Collection[ClerkUserId] | None = None
    explicit: bool = True
    guards: bool = True
    keep_all: bool = False


def sweep(store: Store, readers: Readers, ask: Ask, *, progress: Progress | None = None) -> Swept:
    """The plan of one store; a store that can't be looked at comes back with its error in place."""
    try:
        return _swept(store, readers, ask, progress)
    except SourceError:
        raise
    except ReconcilerError as error:
        reason = "StoreSuspended: " if isinstance(error, AccessError) else ""
        plan = StorePlan(store=store.name, shop=store.shop, error=reason + error.message, error_hint=error.hint)
        return Swept(plan=plan, whole=False)


def _swept(store: Store, readers: Readers, ask: Ask, progress: Progress | None) -> Swept:
    mapped = readers.mappings.count(store.shop)
    gathered = Gathered(store, now=ask.now, keep_all=ask.keep_all)
    for subjects, claims in _chunks(store, readers, ask.users, mapped):
        for subject, decision, if_free in decided(subjects, store, readers, claims, ask):
            gathered.add(subject, decision, if_free)
        if progress is not None:
            progress(len(subjects))
    rate = readers.customers.restore_rate()
    return gathered.swept(mappings=mapped, restore_rate=rate, whole=ask.users is None, guards=ask.guards)


def decided(
    subjects: Sequence[Subject], store: Store, readers: Readers, claims: Claims, ask: Ask
) -> Iterator[tuple[Subject, Decision, Decision | None]]:
    """Each one's decision, and for those whose new address is taken the one that would hold if it were free."""
    views = look(subjects, store, readers.customers, readers.mappings, claims)
    for s in subjects:
        view = views[s.user]
        decision = decide(s.user, s.profile, s.mapping, view, store, now=ask.now, explicit=ask.explicit)
        if_free = None
        if decision.blocked_by is not None:
            free = view.model_copy(update={"by_email": None})
            if_free = decide(s.user, s.profile, s.mapping, free, store, now=ask.now, explicit=ask.explicit)
        yield s, decision, if_free


def _chunks(
    store: Store, readers: Readers, users: Collection[ClerkUserId] | None, mapped: int
) -> Iterator[tuple[list[Subject], Claims]]:
    if users is not None:
        subjects = named(users, store, readers)
        yield subjects, claims_on(subjects, readers.profiles, store)
        return
    source_is_there(store, readers, mapped)
    claims = claims_of(readers.profiles.sharing_email(None), store)
    chunk: list[Subject] = []
    for subject in joined(store, readers):
        chunk.append(subject)
        if len(chunk) == CHUNK:
            yield chunk, claims
            chunk = []
    if chunk:
        yield chunk, claims


def named(users: Collection[ClerkUserId], store: Store, readers: Readers) -> list[Subject]:
    """These users with their rows and mappings as they are now."""
    profiles = readers.profiles.get(users)
    mappings = readers.mappings.get(store.shop, users)
    return [Subject(u, profiles.get(u), mappings.get(u)) for u in sorted(set(users))]


def source_is_there(store: Store, readers: Readers, mapped: int) -> None:
    """Raise SourceError where mappings exist but no row does: nothing may be concluded from an empty source."""
    if mapped and readers.profiles.count() == 0:
        raise SourceError(
            f"the profiles are empty, but {store.shop} has {mapped} mapped users: nobody is released",
            hint="check the table, the role's rights and row level security with `reconciler doctor`",
        )


def joined(store: Store, readers: Readers, *, after: ClerkUserId | None = None) -> Iterator[Subject]:
    """Profiles and mappings side by side: both come in key order, so neither is ever held whole."""
    profiles: Iterable[Profile] = (p for chunk in readers.profiles.scan(after=after) for p in chunk)
    mappings: Iterable[Mapping] = (m for chunk in readers.mappings.scan(store.shop, after=after) for m in chunk)
    left: Iterable[tuple[ClerkUserId, Profile | Mapping]] = ((p.clerk_user_id, p) for p in profiles)
    right: Iterable[tuple[ClerkUserId, Profile | Mapping]] = ((m.clerk_user_id, m) for m in mappings)
    user: ClerkUserId | None = None
    profile: Profile | None = None
    mapping: Mapping | None = None
    for key, row in heapq.merge(left, right, key=itemgetter(0)):
        if key != user and user is not None:
            yield Subject(user, profile, mapping)
            profile = mapping = None
        user = key
        if isinstance(row, Profile):
            profile = row
        else:
            mapping = row
    if user is not None:
        yield Subject(user, profile, mapping)


__all__ = ["Ask", "Progress", "Readers", "Swept", "approved", "decided", "joined", "named", "source_is_there", "sweep"]
