"""A look at a whole store, or at some of its users: one plan. Streams in chunks; changes nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from reconciler.controller.observe import Claims, Subject, claims_of, claims_on, look
from reconciler.core.decide import Decision, decide
from reconciler.core.desired import config_digest, is_wanted
from reconciler.core.guard import guarded
from reconciler.core.ids import ClerkUserId
from reconciler.core.mapping import Mapping
from reconciler.core.plan import Action, Forecast, Hold, StorePlan, sorted_actions, sorted_holds, summed
from reconciler.core.profile import Profile
from reconciler.core.record import after_look
from reconciler.core.store import Store
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


@dataclass(slots=True)
class Swept:
    """What a look at one store found: its plan, what the guards withheld, and the rows that should be written."""

    plan: StorePlan
    withheld: tuple[Action, ...] = ()
    rows: list[Mapping] = field(default_factory=list)
    profiles: int = 0
    whole: bool = True


def sweep(
    store: Store,
    readers: Readers,
    *,
    now: datetime,
    users: Collection[ClerkUserId] | None = None,
    explicit: bool = True,
    progress: Progress | None = None,
) -> Swept:
    """The plan of one store; a store that can't be looked at comes back with its error in place."""
    try:
        return _swept(store, readers, now=now, users=users, explicit=explicit, progress=progress)
    except SourceError:
        raise
    except ReconcilerError as error:
        reason = "StoreSuspended: " if isinstance(error, AccessError) else ""
        plan = StorePlan(store=store.name, shop=store.shop, error=reason + error.message, error_hint=error.hint)
        return Swept(plan=plan, whole=False)


def approved(swept: Swept) -> Swept:
    """The same with what the guards withheld let go: somebody has approved exactly this."""
    if not swept.withheld:
        return swept
    actions = sorted_actions([*swept.plan.actions, *swept.withheld])
    holds = tuple(h for h in swept.plan.holds if h.reason != "GuardExceeded")
    summary = summed(actions, holds, swept.plan.summary.in_sync)
    plan = swept.plan.model_copy(update={"actions": actions, "holds": holds, "summary": summary})
    return Swept(plan=plan, rows=swept.rows, profiles=swept.profiles, whole=swept.whole)


def _swept(
    store: Store,
    readers: Readers,
    *,
    now: datetime,
    users: Collection[ClerkUserId] | None,
    explicit: bool,
    progress: Progress | None,
) -> Swept:
    mapped = readers.mappings.count(store.shop)
    actions: list[Action] = []
    holds: list[Hold] = []
    found = Swept(plan=StorePlan(store=store.name, shop=store.shop), whole=users is None)
    in_sync = 0
    waiting: dict[ClerkUserId, tuple[Subject, Decision]] = {}
    for subjects, claims in _chunks(store, readers, users, mapped):
        for subject, decision in _decided(subjects, store, readers, claims, explicit=explicit):
            found.profiles += is_wanted(subject.profile, store) is not False
            if decision.action is not None:
                actions.append(decision.action)
                waiting[subject.user] = (subject, decision)
            elif (row := after_look(subject.mapping, decision, subject.profile, store, now=now)) is not None:
                found.rows.append(row)
            holds.extend(decision.holds)
            in_sync += decision.action is None and decision.status == "in_sync"
        if progress is not None:
            progress(len(subjects))
    guard = guarded(sorted_actions(actions), store, mappings=mapped)
    all_holds = sorted_holds([*holds, *guard.holds])
    for hold in guard.holds:
        subject, decision = waiting[hold.clerk_user_id]
        held = decision.model_copy(update={"action": None, "holds": (hold, *decision.holds), "status": "held"})
        if (row := after_look(subject.mapping, held, subject.profile, store, now=now)) is not None:
            found.rows.append(row)
    points = sum(a.cost_points for a in guard.actions)
    found.withheld = guard.withheld
    found.plan = StorePlan(
        store=store.name,
        shop=store.shop,
        summary=summed(guard.actions, all_holds, in_sync),
        actions=guard.actions,
        holds=all_holds,
        forecast=Forecast(points=points, seconds=round(points / max(readers.customers.restore_rate(), 1.0), 1)),
        config_digest=config_digest(store),
    )
    return found


def _decided(
    subjects: Sequence[Subject], store: Store, readers: Readers, claims: Claims, *, explicit: bool
) -> Iterator[tuple[Subject, Decision]]:
    views = look(subjects, store, readers.customers, readers.mappings, claims)
    for s in subjects:
        yield s, decide(s.user, s.profile, s.mapping, views[s.user], store, explicit=explicit)


def _chunks(
    store: Store, readers: Readers, users: Collection[ClerkUserId] | None, mapped: int
) -> Iterator[tuple[list[Subject], Claims]]:
    if users is not None:
        subjects = named(users, store, readers)
        yield subjects, claims_on(subjects, readers.profiles, store)
        return
    if mapped and readers.profiles.count() == 0:
        raise SourceError(
            f"the profiles are empty, but {store.shop} has {mapped} mapped users: nobody is released",
            hint="check the table, the role's rights and row level security with `reconciler doctor`",
        )
    claims = claims_of(readers.profiles.sharing_email(None), store)
    chunk: list[Subject] = []
    for subject in _joined(store, readers):
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


def _joined(store: Store, readers: Readers) -> Iterator[Subject]:
    """Profiles and mappings side by side: both come in key order, so neither is ever held whole."""
    profiles: Iterable[Profile] = (p for chunk in readers.profiles.scan() for p in chunk)
    mappings: Iterable[Mapping] = (m for chunk in readers.mappings.scan(store.shop) for m in chunk)
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
