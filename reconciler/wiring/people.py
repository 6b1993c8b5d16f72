"""Find people by what support is given: a Clerk id, an email, a name, a phone, or a customer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.core.fields import normalise
from reconciler.core.fields.people import Sought, full_name, name_key, sought, without_accents
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.report.answer import Candidate, Former
from reconciler.settings import StoreSettings
from reconciler.state.console.former import FormerTable
from reconciler.state.console.reader import ConsoleTable
from reconciler.wiring.components import Components

FOUND_MAX: Final = 20


def meaning_of(text: str, stores: Iterable[StoreSettings]) -> Sought | None:
    """What this text means in these stores; None for an empty one."""
    return sought(text, _countries(stores))


def _countries(stores: Iterable[StoreSettings]) -> set[str | None]:
    """Where phones without a country code may be dialled."""
    return {None, *(store.country for store in stores)}


def find_users(components: Components, text: str) -> list[ClerkUserId]:
    """The users that this text names, by the first of these that any user has: an id that the state knows, a customer, an
    email, an id in the profiles, a phone, a part of a name.

    An exact name goes before one with other accents, and that before a part. SourceError if the profiles must be read and
    can't be.
    """
    user, stores = ClerkUserId(text.strip()), components.stores()
    meant = meaning_of(text, stores)
    if meant is None:
        return []
    shops = [store.shop for store in stores]
    if any(components.state.mappings.get(shop, [user]) for shop in shops) or components.profile_writes.refusals([user]):
        return [user]
    if meant.customer is not None:
        owners = sorted(
            {o for shop in shops for o in components.state.mappings.owners(shop, [meant.customer]).values()}
        )
        if owners:
            return owners
    if "@" in text and (claimants := _by_email(components, meant, shops)):
        return claimants
    if user in components.profiles.get([user]):
        return [user]
    return _by_name_or_phone(components, meant, stores)


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


def _by_email(components: Components, meant: Sought, shops: Sequence[str]) -> list[ClerkUserId]:
    """Who claims the email now; else who has or had it by the state."""
    key = meant.email_key
    assert key is not None
    claimed = {profile.clerk_user_id for profile in components.profiles.sharing_email({key})}
    if claimed:
        return sorted(claimed)
    rows = _table(components).find_people(meant, shops=shops, status=None, reason=None, limit=FOUND_MAX)
    mapped = {row.clerk_user_id for row in rows if key in map(normalise.email_key, (row.email, row.profile_email))}
    if mapped:
        return sorted(mapped)
    return sorted({one.user for one in components.profile_writes.refusals().values() if one.email_key == key})


def _by_name_or_phone(components: Components, meant: Sought, stores: Sequence[StoreSettings]) -> list[ClerkUserId]:
    names: dict[ClerkUserId, str] = {}
    if meant.phones or meant.name_words:
        found = _table(components).search(meant, shops=[store.shop for store in stores])
        names |= {row.clerk_user_id: name_key(row.profile_name) for row in found}
        named = _search(components, meant, stores, FOUND_MAX)
        names |= {profile.clerk_user_id: name_key(full_name(profile)) for profile in named}
    key = name_key(meant.text)
    exact = [user for user, name in names.items() if name == key]
    plain = [user for user, name in names.items() if without_accents(name) == without_accents(key)]
    return sorted(exact or plain or names)


def _search(components: Components, meant: Sought, stores: Iterable[StoreSettings], limit: int) -> list[Profile]:
    return components.profiles.search(meant, _countries(stores), limit=limit)


def _table(components: Components) -> ConsoleTable:
    return ConsoleTable(components.connections.engine)
