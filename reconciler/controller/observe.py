"""All that is read to decide about users, one or many, and the decision on it. Writes nothing to a shop.

A bounded number of point reads, never a list and never a search. Mapped customers are read by id in batches, users without
one by back-link, and then by the email and the phone that would be written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from reconciler.controller.claims import ClaimReader, claims_on, rivals_of
from reconciler.controller.leaving.departures import Departures
from reconciler.controller.readers import Readers
from reconciler.controller.step import Step
from reconciler.core.decide.decide import decide, unreadable_decision
from reconciler.core.decide.leaving.absence import without_absence
from reconciler.core.decide.mirrored import is_final
from reconciler.core.decide.written import claim_unrecorded_write
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import is_wanted, spec_of
from reconciler.core.fields.diff import agreement_on, is_in_place, observed_value
from reconciler.core.model.action import Action
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, Unique
from reconciler.core.model.mapping import BACKLINK, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec, WantedField
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision, Subject, View
from reconciler.core.plan.chains import Blocked, alternatives_of
from reconciler.core.plan.vacated import when_freed
from reconciler.errors import PartUnreadable, PermanentError, SetupError
from reconciler.ports import Clock, CustomerReader, MappingReader, RowReader

REFUSED_MAX: Final = 5  # of one chunk; more are a refusal of the question, and an error of the store

Views = dict[ClerkUserId, View]
Refusals = dict[ClerkUserId, PermanentError | PartUnreadable]


@frozen
class ObserveOptions:
    """How to observe: which users (None: all), as of when, and what to leave out.

    `explicit`: a person asked, so what Shopify refused is tried once more. `insists`: and named these very
    users, so contested fields are written. `guards` False: nothing is withheld.
    `keep_all`: the decisions themselves are wanted, also for users with nothing to do. `keeps_withheld` False: nothing is
    recorded of users that a guard withholds, as what only plans does not.
    """

    now: datetime
    users: Collection[ClerkUserId] | None = None
    explicit: bool = True
    insists: bool = False
    guards: bool = True
    keep_all: bool = False
    keeps_withheld: bool = True


class ObserveContext(Protocol):
    """What it takes to observe single users now. All that it can write is that a missing row is there again."""

    @property
    def store(self) -> Store: ...

    @property
    def readers(self) -> Readers: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def insists(self) -> bool: ...

    @property
    def state(self) -> SightingWriter: ...


class SightingWriter(Protocol):
    """Records rows of the mapping table, unless they were written since they were read."""

    def put_unchanged(self, decided: Sequence[tuple[Mapping | None, Mapping]]) -> tuple[ClerkUserId, ...]: ...


def observe_users(
    users: Sequence[ClerkUserId], context: ObserveContext, *, explicit: bool, by_mirror: CustomerReader | None = None
) -> list[Step]:
    """Observe these users now and decide: one step each, in key order; one without an action has an empty update."""
    readers, store = context.readers, context.store
    subjects = _with_sightings(subjects_of(users, store, readers), store, context.state)
    claims = partial(claims_on, profiles=readers.profiles, store=store)
    options = ObserveOptions(now=context.clock.now(), users=users, explicit=explicit, insists=context.insists)
    steps = decide_users(subjects, store, readers, claims, options, by_mirror=by_mirror)
    for step in steps:
        if step.action is NO_ACTION:
            step.action = _no_action(step.subject.user)
    return steps


def _with_sightings(subjects: list[Subject], store: Store, state: SightingWriter) -> list[Subject]:
    """The same; a row that was absent and is there is recorded first: what follows may fail, and the next read miss it."""
    again = {s.user: row for s in subjects if (row := without_absence(s, store)) is not None}
    if not again:
        return subjects
    state.put_unchanged([(s.mapping, again[s.user]) for s in subjects if s.user in again])
    return [replace(s, mapping=again.get(s.user, s.mapping)) for s in subjects]


def subjects_of(users: Collection[ClerkUserId], store: Store, readers: Readers) -> list[Subject]:
    """These users with their rows and mappings as they are now.

    Mappings are read first: a user may sign up and be mapped between the two reads, and a mapping without a row says that
    the user left.
    """
    mappings = readers.mappings.get(store.shop, users)
    profiles: dict[ClerkUserId, tuple[Profile, int | None]]
    if isinstance(rows := readers.profiles, RowReader):
        profiles = {profile.clerk_user_id: (profile, fp) for profile, fp in rows.rows_of(users).profiles()}
    else:
        profiles = {user: (profile, None) for user, profile in readers.profiles.get(users).items()}
    found = ((user, *profiles.get(user, (None, None))) for user in sorted(set(users)))
    return [Subject(user, profile, mappings.get(user), fp) for user, profile, fp in found]


def decide_users(
    subjects: Sequence[Subject],
    store: Store,
    readers: Readers,
    claims: ClaimReader,
    options: ObserveOptions,
    *,
    by_mirror: CustomerReader | None = None,
) -> list[Step]:
    """Each user's step, in their order: decided by the mirror where that is enough, else by what the shop shows now."""
    specs = specs_of(subjects, store)
    found: dict[ClerkUserId, Step] = {}
    if by_mirror is not None and not options.keep_all:
        mirrored = _decide_users(subjects, specs, store, readers, claims, options, by_mirror=by_mirror)
        found = {one.subject.user: one for one in mirrored if is_final(one.subject, one.decision)}
    left = [subject for subject in subjects if subject.user not in found]
    if left:
        theirs = {s.user: specs[s.user] for s in left if s.user in specs}
        found |= {one.subject.user: one for one in _decide_users(left, theirs, store, readers, claims, options)}
    return [found[subject.user] for subject in subjects]


def _decide_users(
    subjects: Sequence[Subject],
    specs: MappingOf[ClerkUserId, Spec],
    store: Store,
    readers: Readers,
    claims: ClaimReader,
    options: ObserveOptions,
    *,
    by_mirror: CustomerReader | None = None,
) -> Iterator[Step]:
    live, customers = by_mirror is None, by_mirror or readers.customers
    departures = Departures(store, readers, options.now)
    views, refusals = _readable_views(
        subjects, lambda some: views_of(some, specs, store, customers, readers.mappings, claims, departures)
    )
    for read_as in subjects:
        view = views.get(read_as.user)
        if view is None:
            unreadable = unreadable_decision(read_as.user, read_as.mapping, refusals[read_as.user].message)
            yield _step_of(read_as, unreadable, None, options.now, live=live)
            continue
        s = claim_unrecorded_write(read_as, view, specs.get(read_as.user))
        judged = partial(
            decide,
            s.user,
            s.profile,
            s.mapping,
            store=store,
            now=options.now,
            explicit=options.explicit,
            insists=options.insists,
            spec=specs.get(s.user),
            absence=readers.absence,
        )
        decision = judged(view)
        blocked = alternatives_of(decision, partial(_if_free, judged, view, store))
        yield _step_of(s, decision, blocked, options.now, live=live)


def _no_action(user: ClerkUserId) -> Action:
    return Action(kind="update", clerk_user_id=user, customer_id=None, changes=(), cost_points=0)


NO_ACTION: Final = _no_action(ClerkUserId(""))
"""The empty update of a step with nothing to do; a scan shares it, since it reads the decisions only."""


def _step_of(subject: Subject, decision: Decision, blocked: Blocked | None, seen_at: datetime, *, live: bool) -> Step:
    return Step(decision.action or NO_ACTION, subject, decision, blocked, live=live, seen_at=seen_at)


def _if_free(judged: Callable[[View], Decision], view: View, store: Store, fields: frozenset[Unique]) -> Decision:
    """The decision if no customer had these values."""
    return judged(when_freed(view, store, fields))


def specs_of(subjects: Iterable[Subject], store: Store) -> dict[ClerkUserId, Spec]:
    """The specs of the users that this store wants."""
    return {s.user: spec_of(s.profile, store) for s in subjects if s.profile and is_wanted(s.profile, store)}


def views_of(
    subjects: Sequence[Subject],
    specs: MappingOf[ClerkUserId, Spec],
    store: Store,
    customers: CustomerReader,
    mappings: MappingReader,
    read_claims: ClaimReader,
    departures: Departures,
) -> dict[ClerkUserId, View]:
    """What the shop shows of these users, one view each. `departures` says who has left, and who comes after them."""
    ids = {s.mapping.customer_id for s in subjects if _is_live(s.mapping) and s.mapping and s.mapping.customer_id}
    by_id = customers.by_ids(sorted(ids)) if ids else {}
    mapped = {s.user: by_id.get(s.mapping.customer_id) for s in subjects if s.mapping and s.mapping.customer_id}
    unlinked = [s.user for s in subjects if _needs_backlink(s, mapped.get(s.user), store)]
    hits = customers.by_backlinks(unlinked) if unlinked else {}
    linked = {u: c for u, c in hits.items() if c.backlink == u or "backlink" in c.unknown}
    linked |= {user: c for user, c in mapped.items() if c is not None and c.backlink == user}
    assigned = _assigned_customers(subjects, departures.readers.assigned, customers)
    current = {
        s.user: linked.get(s.user) or _theirs(s.user, mapped.get(s.user)) or assigned.get(s.user) for s in subjects
    }
    rows = {s.user: s.mapping for s in subjects}
    by_email = _by_address("email", customers.by_emails, specs, current, rows)
    by_phone = _by_address("phone", customers.by_phones, specs, current, rows)
    seen = {s.user: (mapped.get(s.user), by_email.get(s.user), assigned.get(s.user)) for s in subjects}
    with_phones = {user: (*found, by_phone.get(user)) for user, found in seen.items()}
    owners = _owners(with_phones, mappings, store)
    formers = departures.formers(_strangers(seen, owners))
    claimants = departures.claimants(subjects, current)
    rivals = rivals_of(subjects, specs, current, mappings, store, read_claims)
    former = _former_links(subjects, specs, store, customers)
    former_consents = departures.consents(subjects, specs) if store.consent.rules else {}
    views = {
        s.user: View(
            by_backlink=linked.get(s.user),
            taken_for=hits[s.user].backlink if s.user in hits and s.user not in linked else None,
            mapped=mapped.get(s.user),
            by_email=by_email.get(s.user),
            by_phone=by_phone.get(s.user),
            owners={c.id: owners[c.id] for c in with_phones[s.user] if c and c.id in owners and owners[c.id] != s.user},
            rivals=rivals.get(s.user, ()),
            former_link=former.get(s.user),
            formers={owner: formers[owner] for owner in _strangers({s.user: seen[s.user]}, owners) & formers.keys()},
            claimants=claimants.get(s.user, ()),
            assigned_to=departures.readers.assigned.get(s.user),
            assigned=assigned.get(s.user),
            former_consents=former_consents.get(s.user, {}),
        )
        for s in subjects
    }
    if store.on_email_conflict != "merge":
        return views
    return {user: _with_merge_preview(view, current[user], user, customers) for user, view in views.items()}


def _readable_views(subjects: Sequence[Subject], read: Callable[[Sequence[Subject]], Views]) -> tuple[Views, Refusals]:
    """What the shop shows of these users, and for which of them it refuses to show anything.

    One query holds many users, and the shop refuses all of it for one odd value, or fails at one customer. So it is sent
    again in halves until that user is alone.

    PermanentError or PartUnreadable where that is so of more than a few users, or of all; AccessError, SetupError and any
    other TemporaryError are the store's in any case.
    """
    refusals: Refusals = {}
    views = _read_in_halves(subjects, read, refusals)
    if refusals and not views:
        raise next(iter(refusals.values()))
    return views, refusals


def _read_in_halves(
    subjects: Sequence[Subject], read: Callable[[Sequence[Subject]], Views], refusals: Refusals
) -> Views:
    try:
        return read(subjects)
    except SetupError:
        raise
    except (PermanentError, PartUnreadable) as error:
        if len(refusals) >= REFUSED_MAX:
            raise
        if len(subjects) == 1:
            refusals[subjects[0].user] = error
            return {}
    half = len(subjects) // 2
    return _read_in_halves(subjects[:half], read, refusals) | _read_in_halves(subjects[half:], read, refusals)


def _former_links(
    subjects: Sequence[Subject], specs: MappingOf[ClerkUserId, Spec], store: Store, customers: CustomerReader
) -> dict[ClerkUserId, str]:
    """Who of these is wanted, and still carries the back-link that we set before the config named another metafield."""
    asked: defaultdict[str, list[Subject]] = defaultdict(list)
    for subject in subjects:
        former = subject.mapping.applied.get(BACKLINK) if subject.mapping is not None else None
        if former is not None and former.ours and former.config != store.backlink.name and subject.user in specs:
            asked[former.config].append(subject)
    found: dict[ClerkUserId, str] = {}
    for metafield, those in asked.items():
        linked = customers.by_metafield(metafield, [s.user for s in those])
        for subject in those:
            customer = linked.get(subject.user)
            if customer is not None and subject.mapping is not None and customer == subject.mapping.customer_id:
                found[subject.user] = metafield
    return found


def _assigned_customers(
    subjects: Sequence[Subject], pairs: MappingOf[ClerkUserId, CustomerId], customers: CustomerReader
) -> dict[ClerkUserId, Customer]:
    """The customers that an operator names for these users, as far as they are there."""
    asked = {s.user: pairs[s.user] for s in subjects if s.user in pairs}
    found = customers.by_ids(sorted(asked.values())) if asked else {}
    return {user: found[customer] for user, customer in asked.items() if customer in found}


def _theirs(user: ClerkUserId, mapped: Customer | None) -> Customer | None:
    """The mapped customer, unless its back-link says that it is another's by now."""
    return mapped if mapped is not None and mapped.backlink in {None, user} else None


def _is_live(mapping: Mapping | None) -> bool:
    return mapping is not None and mapping.status != "erased"


def _needs_backlink(subject: Subject, mapped: Customer | None, store: Store) -> bool:
    if mapped is not None and (mapped.backlink == subject.user or "backlink" in mapped.unknown):
        return False
    row = subject.mapping
    known = row is not None and _is_live(row) and (row.customer_id is not None or row.intent is not None)
    return known or is_wanted(subject.profile, store) is True


def _by_address(
    field: str,
    find: Callable[[Sequence[str]], MappingOf[str, Customer]],
    specs: MappingOf[ClerkUserId, Spec],
    current: MappingOf[ClerkUserId, Customer | None],
    rows: MappingOf[ClerkUserId, Mapping | None],
) -> dict[ClerkUserId, Customer]:
    """The customers with the emails or the phones that users want, where the users have no customer or another value."""
    asked: dict[ClerkUserId, str] = {}
    for user, spec in specs.items():
        wanted = (spec.lookup_email if field == "email" else None) or spec.value(field)
        there = current.get(user)
        if wanted and (
            there is None or (field in spec.fields and _is_other(there, spec, field, wanted, rows.get(user)))
        ):
            asked[user] = wanted
    found = find(sorted(set(asked.values()))) if asked else {}
    if field == "email":
        left = (value for value in asked.values() if value not in found)
        others = {other: value for value in left for other in normalise.other_spellings(value)}
        found = {**found, **{others[other]: c for other, c in (find(sorted(others)) if others else {}).items()}}
    return {user: found[value] for user, value in asked.items() if value in found}


def _is_other(customer: Customer, spec: Spec, field: str, value: str, mapping: Mapping | None) -> bool:
    """Whether the value would be written: not where it is there, nor where it is not known what is there."""
    wanted = spec.fields.get(field) or WantedField(value=value, policy="enforce", config="")
    base = agreement_on(mapping, customer, field)
    return field not in customer.unknown and not is_in_place(field, wanted, observed_value(customer, field), base)


def _owners(
    seen: MappingOf[ClerkUserId, tuple[Customer | None, ...]], mappings: MappingReader, store: Store
) -> dict[CustomerId, ClerkUserId]:
    strangers = {c.id for pair in seen.values() for c in pair if c is not None and c.backlink is None}
    return mappings.owners(store.shop, strangers) if strangers else {}


def _strangers(
    seen: MappingOf[ClerkUserId, tuple[Customer | None, ...]], owners: MappingOf[CustomerId, ClerkUserId]
) -> set[ClerkUserId]:
    """Other users who own the customers that these users' addresses lead to."""
    found: set[ClerkUserId] = set()
    for user, customers in seen.items():
        named = {ClerkUserId(c.backlink) if c.backlink else owners.get(c.id) for c in customers if c is not None}
        found |= {owner for owner in named if owner is not None and owner != user}
    return found


def _with_merge_preview(view: View, current: Customer | None, user: ClerkUserId, customers: CustomerReader) -> View:
    """With what Shopify says against merging the customer with the one that has the new email, where that may be due."""
    other = view.by_email
    if current is None or other is None or other.id == current.id or view.owner(other) not in {None, user}:
        return view
    try:
        blockers = customers.merge_blockers(current.id, other.id)
    except PermanentError as error:  # of these two customers, or of merges: everything else of this store is observed
        blockers = (f"the shop does not say whether they can be merged: {error.message}",)
    return replace(view, merge_blockers=blockers)
