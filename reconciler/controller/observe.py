"""The half that looks: only reads, a bounded number of them, never a list and never a search.

Mapped customers by id in batches; whoever has none by back-link; then by the e-mail and the phone that would be written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf

from reconciler.controller.departures import Departures
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import is_wanted, spec_of
from reconciler.core.fields.diff import agreed_on, is_in_place, observed_value
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import BACKLINK, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec, WantedField
from reconciler.core.model.store import Store
from reconciler.core.model.view import Rival, Subject, View
from reconciler.errors import PermanentError
from reconciler.ports import CustomerReader, MappingReader, ProfileReader

Claims = MappingOf[str, tuple[ClerkUserId, ...]]


def claims_of(profiles: Iterable[Profile], store: Store) -> dict[str, tuple[ClerkUserId, ...]]:
    """Which users of this store claim the same e-mail; addresses with one claimant are left out."""
    found: defaultdict[str, set[ClerkUserId]] = defaultdict(set)
    for profile in profiles:
        key = normalise.email_key(profile.email)
        if key is None or not is_wanted(profile, store):
            continue
        spec = spec_of(profile, store)
        if "email" in spec.fields or spec.lookup_email is not None:
            found[key].add(profile.clerk_user_id)
    return {key: tuple(sorted(users)) for key, users in found.items() if len(users) > 1}


def claims_on(subjects: Sequence[Subject], profiles: ProfileReader, store: Store) -> dict[str, tuple[ClerkUserId, ...]]:
    """The same for a few users, asked of the profiles by their addresses."""
    keys = {k for s in subjects if s.profile and (k := normalise.email_key(s.profile.email))}
    return claims_of(profiles.sharing_email(keys), store) if keys else {}


def specs_of(subjects: Iterable[Subject], store: Store) -> dict[ClerkUserId, Spec]:
    """What is wanted of those who are wanted: by it they are looked for, and then decided on."""
    return {s.user: spec_of(s.profile, store) for s in subjects if s.profile and is_wanted(s.profile, store)}


def look(
    subjects: Sequence[Subject],
    specs: MappingOf[ClerkUserId, Spec],
    store: Store,
    customers: CustomerReader,
    mappings: MappingReader,
    claims: Claims,
    departures: Departures,
) -> dict[ClerkUserId, View]:
    """What the shop shows of these users, one view each. `standings` says who has left, and who comes after them."""
    ids = {s.mapping.customer_id for s in subjects if _is_live(s.mapping) and s.mapping and s.mapping.customer_id}
    by_id = customers.by_ids(sorted(ids)) if ids else {}
    mapped = {s.user: by_id.get(s.mapping.customer_id) for s in subjects if s.mapping and s.mapping.customer_id}
    unlinked = [s.user for s in subjects if _needs_backlink(s, mapped.get(s.user), store)]
    linked = dict(customers.by_backlinks(unlinked)) if unlinked else {}
    for user, customer in mapped.items():
        if customer is not None and customer.backlink == user:
            linked[user] = customer
    assigned = _assigned(subjects, departures.assigned, customers)
    current = {
        s.user: linked.get(s.user) or _theirs(s.user, mapped.get(s.user)) or assigned.get(s.user) for s in subjects
    }
    rows = {s.user: s.mapping for s in subjects}
    by_email = _by_email(specs, current, rows, customers)
    by_phone = _by_phone(specs, current, rows, customers)
    seen = {s.user: (mapped.get(s.user), by_email.get(s.user), assigned.get(s.user)) for s in subjects}
    with_phones = {user: (*found, by_phone.get(user)) for user, found in seen.items()}
    owners = _owners(with_phones, mappings, store)
    formers = departures.formers(_strangers(seen, owners))
    heirs = departures.heirs(subjects, current)
    mapped_rivals = _mapped_rivals(specs, claims, mappings, store)
    former = _former_links(subjects, specs, store, customers)
    views = {
        s.user: View(
            by_backlink=linked.get(s.user),
            mapped=mapped.get(s.user),
            by_email=by_email.get(s.user),
            by_phone=by_phone.get(s.user),
            owners={c.id: owners[c.id] for c in with_phones[s.user] if c and c.id in owners and owners[c.id] != s.user},
            rivals=_rivals(s.user, specs.get(s.user), claims, mapped_rivals),
            former_link=former.get(s.user),
            formers={owner: formers[owner] for owner in _strangers({s.user: seen[s.user]}, owners) & formers.keys()},
            heirs=heirs.get(s.user, ()),
            assigned_to=departures.assigned.get(s.user),
            assigned=assigned.get(s.user),
        )
        for s in subjects
    }
    if store.on_email_conflict != "merge":
        return views
    return {user: _previewed(view, current[user], user, customers) for user, view in views.items()}


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
        linked = customers.linked_by(metafield, [s.user for s in those])
        for subject in those:
            customer = linked.get(subject.user)
            if customer is not None and subject.mapping is not None and customer == subject.mapping.customer_id:
                found[subject.user] = metafield
    return found


def _assigned(
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


def _by_email(
    specs: MappingOf[ClerkUserId, Spec],
    current: MappingOf[ClerkUserId, Customer | None],
    rows: MappingOf[ClerkUserId, Mapping | None],
    customers: CustomerReader,
) -> dict[ClerkUserId, Customer]:
    asked: dict[ClerkUserId, str] = {}
    for user, spec in specs.items():
        email = spec.lookup_email or spec.value("email")
        there = current.get(user)
        if email and (
            there is None or ("email" in spec.fields and _is_other(there, spec, "email", email, rows.get(user)))
        ):
            asked[user] = email
    found = customers.by_emails(sorted(set(asked.values()))) if asked else {}
    return {user: found[email] for user, email in asked.items() if email in found}


def _by_phone(
    specs: MappingOf[ClerkUserId, Spec],
    current: MappingOf[ClerkUserId, Customer | None],
    rows: MappingOf[ClerkUserId, Mapping | None],
    customers: CustomerReader,
) -> dict[ClerkUserId, Customer]:
    asked: dict[ClerkUserId, str] = {}
    for user, spec in specs.items():
        phone, there = spec.value("phone"), current.get(user)
        if phone and (there is None or _is_other(there, spec, "phone", phone, rows.get(user))):
            asked[user] = phone
    found = customers.by_phones(sorted(set(asked.values()))) if asked else {}
    return {user: found[phone] for user, phone in asked.items() if phone in found}


def _is_other(customer: Customer, spec: Spec, field: str, value: str, mapping: Mapping | None) -> bool:
    """Whether the value would be written: not where it is there, nor where nobody can say what is there."""
    wanted = spec.fields.get(field) or WantedField(value=value, policy="enforce", config="")
    base = agreed_on(mapping, customer, field)
    return field not in customer.unknown and not is_in_place(field, wanted, observed_value(customer, field), base)


def _owners(
    seen: MappingOf[ClerkUserId, tuple[Customer | None, ...]], mappings: MappingReader, store: Store
) -> dict[CustomerId, ClerkUserId]:
    strangers = {c.id for pair in seen.values() for c in pair if c is not None and c.backlink is None}
    return mappings.owners(store.shop, strangers) if strangers else {}


def _strangers(
    seen: MappingOf[ClerkUserId, tuple[Customer | None, ...]], owners: MappingOf[CustomerId, ClerkUserId]
) -> set[ClerkUserId]:
    """Other users to whom the customers belong that these users' addresses lead to."""
    found: set[ClerkUserId] = set()
    for user, customers in seen.items():
        named = {ClerkUserId(c.backlink) if c.backlink else owners.get(c.id) for c in customers if c is not None}
        found |= {owner for owner in named if owner is not None and owner != user}
    return found


def _claimants(spec: Spec | None, claims: Claims) -> tuple[ClerkUserId, ...]:
    email = spec.value("email") or spec.lookup_email if spec else None
    return claims.get(normalise.email_key(email) or "", ())


def _mapped_rivals(
    specs: MappingOf[ClerkUserId, Spec], claims: Claims, mappings: MappingReader, store: Store
) -> frozenset[ClerkUserId]:
    """Those among all claimants who have a customer here."""
    users = {user for spec in specs.values() for user in _claimants(spec, claims)}
    rows = mappings.get(store.shop, sorted(users)) if users else {}
    return frozenset(u for u, row in rows.items() if row.customer_id is not None and row.left_at is None)


def _rivals(user: ClerkUserId, spec: Spec | None, claims: Claims, mapped: frozenset[ClerkUserId]) -> tuple[Rival, ...]:
    return tuple(Rival(clerk_user_id=u, mapped=u in mapped) for u in _claimants(spec, claims) if u != user)


def _previewed(view: View, current: Customer | None, user: ClerkUserId, customers: CustomerReader) -> View:
    """With what Shopify says against merging her customer with the one that has her new e-mail, where that may come."""
    other = view.by_email
    if current is None or other is None or other.id == current.id or view.owner(other) not in {None, user}:
        return view
    try:
        blockers = customers.merge_preview(current.id, other.id).blockers
    except PermanentError as error:  # of these two customers, or of merges: everything else of this store is looked at
        blockers = (f"the shop does not tell whether they can be merged: {error.message}",)
    return view.model_copy(update={"merge_blockers": blockers})
