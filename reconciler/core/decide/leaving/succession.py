"""Succession: the customer of a user who has left is free for a user with the same verified email.

This serves users who delete their account and sign up again, and a move to another Clerk instance. Never free are
customers of erased users, of users that the state does not know, and customers that a re-link left behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingOf
from datetime import datetime

from reconciler.core.decide.leaving.absence import Absence, is_absent, is_living
from reconciler.core.decide.leaving.tombstone import is_from_before
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import is_wanted, may_want, spec_of
from reconciler.core.fields.diff import as_sent
from reconciler.core.model.action import Hold
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import BACKLINK, RELEASE, SUCCESSION, Applied, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold, named
from reconciler.core.model.store import Store


def has_left(profile: Profile | None, mapping: Mapping | None, store: Store, absence: Absence, now: datetime) -> bool:
    """Whether the user of this mapping is released, or known to have left, so that the customer is free."""
    if mapping is None or mapping.status == "erased":
        return False
    if profile is None or is_absent(profile, mapping, store):
        return (
            mapping.status == "released"
            or is_succeeded(mapping)
            or absence.is_proven(mapping.clerk_user_id, mapping, now)
        )
    if is_wanted(profile, store) is False:
        return True
    return is_from_before(mapping, profile, store)


def has_customer(mapping: Mapping | None) -> bool:
    """Whether a user is mapped to a customer now."""
    return is_living(mapping) and mapping is not None and mapping.customer_id is not None


def is_leaving(mapping: Mapping | None) -> bool:
    """Whether a release of this user has begun and is not recorded as finished."""
    return is_living(mapping) and mapping is not None and _has_intent(mapping, RELEASE)


def is_succeeded(mapping: Mapping) -> bool:
    """Whether the user has left, and a destructive `on_leave` waits for the adoption of the customer."""
    return _has_intent(mapping, SUCCESSION)


def _has_intent(mapping: Mapping, kind: str) -> bool:
    return mapping.intent is not None and mapping.intent.kind == kind


def is_free_for(claimant: Mapping | None, former: Mapping | None) -> bool:
    """Whether this user may take the customer of a user who has left.

    Before the release of that user, only the claimant (`claimants_of`) may. During the release, no user may.
    """
    if former is None or is_leaving(former):
        return False
    return former.status == "released" or not has_customer(claimant)


def email_keys_of(customer: Customer, mapping: Mapping | None) -> frozenset[str]:
    """The keys of a customer's email in the spellings of a claimant; the last known one, if Shopify does not return it."""
    hidden = "email" in customer.unknown
    known = mapping.email if hidden and mapping is not None else as_sent(mapping, customer, "email")
    found = {each for each in (known, normalise.bare_email(known)) if each is not None}
    found |= {other for each in found for other in normalise.other_spellings(each)}
    return frozenset(key for each in found if (key := normalise.email_key(each)) is not None)


def claimants_of(
    user: ClerkUserId,
    keys: Collection[str],
    written: Iterable[Profile],
    mappings: MappingOf[ClerkUserId, Mapping],
    store: Store,
    *,
    unwritten: Iterable[Profile] = (),
) -> tuple[ClerkUserId, ...]:
    """The users who claim a customer's verified email, sorted: a single one may adopt the customer.

    `keys` are those of the email (`email_keys_of`). `written` are rows with one of them, `unwritten` those to come.
    Empty if one of them already has a customer: that user keeps it, and gets the email after the release.
    """
    wanted = [profile for profile in written if is_wanted(profile, store) is True]
    wanted += [profile for profile in unwritten if may_want(profile, store)]
    found = sorted(
        {
            profile.clerk_user_id
            for profile in wanted
            if profile.clerk_user_id != user and normalise.email_key(spec_of(profile, store).lookup_email) in keys
        }
    )
    rows = [mappings.get(claimant) for claimant in found]
    if any(has_customer(row) or (row is not None and row.status == "erased") for row in rows):
        return ()
    return tuple(found)


def kept_hold(
    user: ClerkUserId, customer: Customer, mapping: Mapping, claimants: Collection[ClerkUserId]
) -> Hold | None:
    """The hold of a destructive release; None where it may be executed.

    The customer is kept if several users claim it, or if its email, and so the claimants, are unknown.
    """
    if claimants:
        return _contended_hold(user, customer, claimants)
    if "email" not in customer.unknown or mapping.email is not None:
        return None
    message = (
        f"the user has left, and Shopify does not return the email of {customer.id}: whether another user may adopt it "
        f"is unknown, so it is kept; needed: {customer.unknown['email']}"
    )
    return hold(user, customer, "CannotDelete", message)


def _contended_hold(user: ClerkUserId, customer: Customer, claimants: Collection[ClerkUserId]) -> Hold:
    """The hold of a destructive release while several users claim the customer."""
    message = (
        f"the user has left, and {named(sorted(claimants))} claim the email of {customer.id}: it is not deleted, since "
        "one of them may adopt it; change the email of the others"
    )
    return hold(user, customer, "EmailTaken", message)


def is_left_behind(customer: Customer, current: Customer | Mapping | None) -> bool:
    """Whether a re-link left this customer behind, and it was not a re-link to `current`.

    A re-link takes the back-link off. A customer with both was merged with the one that was left: a merge copies metafields.
    """
    if customer.moved_to in {None, customer.id} or customer.backlink is not None:
        return False
    at = current.id if isinstance(current, Customer) else current.customer_id if current is not None else None
    return customer.moved_to != at


def left_behind_hold(user: ClerkUserId, at: Customer | None, other: Customer) -> Hold:
    """The hold of an email that belongs to a customer that a re-link left behind, with its orders and notes."""
    message = (
        f"the email belongs to {other.id}, which a re-link left behind for {other.moved_to}: no user can adopt it; "
        "change its email in Shopify, or assign it with `reconciler mappings import`"
    )
    return hold(user, at or other, "EmailConflict", message, "email")


def inherited_fields(former: Mapping | None, customer: Customer) -> dict[str, Applied]:
    """The last-applied fields of the former user of this customer, without the back-link, which is written again."""
    if former is None or former.customer_id != customer.id:
        return {}
    return {field: agreed for field, agreed in former.applied.items() if field != BACKLINK}
