"""Find people by what support is given: a Clerk id, an email, a name, a phone, or a customer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.core.fields import normalise
from reconciler.core.fields.people import Sought, full_name, name_key, sought, without_accents
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.report.answer import Candidate, Former
from reconciler.settings import StoreSettings
from reconciler.state.console.former import FormerTable
from reconciler.state.console.reader import ConsoleTable
from reconciler.wiring.components import Components

FOUND_MAX: Final = 20
Found = dict[str, list[ClerkUserId]]  # users by the text that names them


def meaning_of(text: str, stores: Iterable[StoreSettings]) -> Sought | None:
    """What this text means in these stores; None for an empty one."""
    return sought(text, _countries(stores))


def _countries(stores: Iterable[StoreSettings]) -> set[str | None]:
    """Where phones without a country code may be dialled."""
    return {None, *(store.country for store in stores)}


def find_users(components: Components, text: str) -> list[ClerkUserId]:
    """The users that this text names, as `find_each` finds them."""
    return find_each(components, [text]).get(text.strip(), [])


def find_each(components: Components, texts: Iterable[str]) -> Found:
    """The users that each text names, by the text without its outer space; a text that names none is left out.

    A text names users by the first of these that any user has: an id that the state knows, a customer, an email, an id in
    the profiles, a phone, a part of a name. An exact name goes before one with other accents, and that before a part. The
    state and the profiles are asked about all texts together, except about names, phones, and emails that no profile has.
    SourceError if the profiles must be read and can't be.
    """
    stores = components.stores()
    countries = _countries(stores)
    left = [meant for text in dict.fromkeys(texts) if (meant := sought(text, countries)) is not None]
    found: Found = {}
    for way in (_by_known_id, _by_customer, _by_email, _by_profile_id, _by_name_or_phone):
        found |= way(components, left, stores)
        left = [meant for meant in left if meant.text not in found]
    return found


def find_former(components: Components, text: str) -> list[Former]:
    """Who had this email or this customer by what the state keeps; empty for anything else."""
    stores = components.stores()
    meant = meaning_of(text, stores)
    if meant is None:
        return []
    return FormerTable(components.connections.engine).find_former(meant, shops=[store.shop for store in stores])


def candidates(components: Components, users: Sequence[ClerkUserId]) -> list[Candidate]:
    """These users with name and email, from the profiles, else from the state."""
    profiles = components.profiles.get(users)
    rows: dict[ClerkUserId, Mapping] = {}
    for store in components.stores():
        rows |= components.state.mappings.get(store.shop, users)
    return [candidate_of(user, profiles.get(user), rows.get(user)) for user in users]


def candidate_of(user: ClerkUserId, profile: Profile | None, row: Mapping | None) -> Candidate:
    """The user with name and email."""
    if profile is not None:
        return Candidate(user, full_name(profile), profile.email)
    return Candidate(user, row.profile_name, row.profile_email or row.email) if row else Candidate(user)


def find_unmapped(components: Components, text: str, *, limit: int) -> list[Candidate]:
    """People of the profiles table that this text names and the state does not know: no store has wanted them yet."""
    stores = components.stores()
    meant = meaning_of(text, stores)
    if meant is None:
        return []
    user = ClerkUserId(meant.text)
    profiles = dict(components.profiles.get([user]))
    if meant.email_key and "@" in meant.text:
        profiles |= {one.clerk_user_id: one for one in components.profiles.sharing_email({meant.email_key})}
    profiles |= {one.clerk_user_id: one for one in _search(components, meant, stores, limit)}
    known = {user for store in stores for user in components.state.mappings.get(store.shop, list(profiles))}
    return [candidate_of(user, profile, None) for user, profile in sorted(profiles.items()) if user not in known][
        :limit
    ]


def _by_known_id(components: Components, left: Sequence[Sought], stores: Sequence[StoreSettings]) -> Found:
    users = [ClerkUserId(meant.text) for meant in left]
    known = {user for _, user in components.state.mappings.get_across([store.shop for store in stores], users)}
    known |= components.profile_writes.refusals([user for user in users if user not in known]).keys()
    return {user: [user] for user in users if user in known}


def _by_customer(components: Components, left: Sequence[Sought], stores: Sequence[StoreSettings]) -> Found:
    asked = {meant.customer for meant in left if meant.customer is not None}
    found: defaultdict[CustomerId | None, set[ClerkUserId]] = defaultdict(set)
    for store in stores:
        for customer, owner in components.state.mappings.owners(store.shop, asked).items():
            found[customer].add(owner)
    return {meant.text: sorted(found[meant.customer]) for meant in left if meant.customer in found}


def _by_email(components: Components, left: Sequence[Sought], stores: Sequence[StoreSettings]) -> Found:
    """Who claims each email now; else who has or had it by the state."""
    asked = {meant.text: (meant, key) for meant in left if "@" in meant.text and (key := meant.email_key) is not None}
    if not asked:
        return {}
    claimed: defaultdict[str | None, set[ClerkUserId]] = defaultdict(set)
    for profile in components.profiles.sharing_email({key for _, key in asked.values()}):
        claimed[normalise.email_key(profile.email)].add(profile.clerk_user_id)
    found = {text: sorted(claimed[key]) for text, (_, key) in asked.items() if key in claimed}
    unclaimed = {text: each for text, each in asked.items() if text not in found}
    if not unclaimed:
        return found
    shops = [store.shop for store in stores]
    refused = components.profile_writes.refusals().values()
    for text, (meant, key) in unclaimed.items():
        rows = _table(components).find_people(meant, shops=shops, status=None, reason=None, limit=FOUND_MAX)
        had = {row.clerk_user_id for row in rows if key in map(normalise.email_key, (row.email, row.profile_email))}
        if users := had or {one.user for one in refused if one.email_key == key}:
            found[text] = sorted(users)
    return found


def _by_profile_id(components: Components, left: Sequence[Sought], _stores: Sequence[StoreSettings]) -> Found:
    return {user: [user] for user in components.profiles.get([ClerkUserId(meant.text) for meant in left])}


def _by_name_or_phone(components: Components, left: Sequence[Sought], stores: Sequence[StoreSettings]) -> Found:
    found = {meant.text: _named(components, meant, stores) for meant in left if meant.phones or meant.name_words}
    return {text: users for text, users in found.items() if users}


def _named(components: Components, meant: Sought, stores: Sequence[StoreSettings]) -> list[ClerkUserId]:
    rows = _table(components).search(meant, shops=[store.shop for store in stores])
    names = {row.clerk_user_id: name_key(row.profile_name) for row in rows}
    names |= {one.clerk_user_id: name_key(full_name(one)) for one in _search(components, meant, stores, FOUND_MAX)}
    key = name_key(meant.text)
    exact = [user for user, name in names.items() if name == key]
    plain = [user for user, name in names.items() if without_accents(name) == without_accents(key)]
    return sorted(exact or plain or names)


def _search(components: Components, meant: Sought, stores: Iterable[StoreSettings], limit: int) -> list[Profile]:
    return components.profiles.search(meant, _countries(stores), limit=limit)


def _table(components: Components) -> ConsoleTable:
    return ConsoleTable(components.connections.engine)
