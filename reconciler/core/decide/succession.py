"""Succession: the customer of a user who left is free for a user with the same verified e-mail.

So who deletes the account and signs up again is served, and so is a move to another Clerk instance. Never free is a customer
whose user was erased, one of a user whom our state does not know, and one that a re-link left behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingOf
from datetime import datetime

from reconciler.core.decide.absence import Absence, is_living
from reconciler.core.decide.tombstone import is_from_before
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import is_wanted, may_want, spec_of
from reconciler.core.fields.diff import as_sent
from reconciler.core.model.action import Hold
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import BACKLINK, RELEASE, SUCCESSION, Applied, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import Store


def has_left(profile: Profile | None, mapping: Mapping | None, store: Store, absence: Absence, now: datetime) -> bool:
    """Whether the user of this mapping is released, or known to be gone, so that the customer is free."""
    if mapping is None or mapping.status == "erased":
        return False
    if profile is None:
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
    """Whether the release of this user has begun, and is not known to have ended."""
    return is_living(mapping) and mapping is not None and (mapping.intent or {}).get("kind") == RELEASE


def is_succeeded(mapping: Mapping) -> bool:
    """Whether the user has left, and what `on_leave` deletes waits for the user who is to adopt the customer."""
    return (mapping.intent or {}).get("kind") == SUCCESSION


def is_free_for(heir: Mapping | None, former: Mapping | None) -> bool:
    """Whether this user may take the customer of a user who has left.

    While the release of that user is still to come, only the user may that the release makes way for (`heirs_of`).
    While it is under way, no user may.
    """
    if former is None or is_leaving(former):
        return False
    return former.status == "released" or not has_customer(heir)


def addresses_of(customer: Customer, mapping: Mapping | None) -> frozenset[str]:
    """The e-mail of a customer, as a claimant's profile may spell it; where Shopify does not show it, the one we know of."""
    hidden = "email" in customer.unknown
    known = mapping.email if hidden and mapping is not None else as_sent(mapping, customer, "email")
    found = (normalise.email_key(known), normalise.email_key(normalise.bare_email(known)))
    return frozenset(key for key in found if key is not None)


def heirs_of(
    user: ClerkUserId,
    keys: Collection[str],
    claimants: Iterable[Profile],
    mappings: MappingOf[ClerkUserId, Mapping],
    store: Store,
    *,
    unwritten: Iterable[Profile] = (),
) -> tuple[ClerkUserId, ...]:
    """The users who claim a customer's verified e-mail, if none has a customer: one may adopt it, several may not yet.

    `keys` are those of the e-mail (`addresses_of`); `unwritten` claimants whose rows are still to be written.

    Nothing where one of them has a customer already: that user keeps it, and has the address when this one is gone.
    """
    wanted = [profile for profile in claimants if is_wanted(profile, store) is True]
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


def kept_hold(user: ClerkUserId, customer: Customer, mapping: Mapping, heirs: Collection[ClerkUserId]) -> Hold | None:
    """Why the customer of a user who has left is neither deleted nor erased; None where that may be.

    Several users claim it, or it is unknown who does, since its e-mail is neither shown nor known.
    """
    if heirs:
        return _contended_hold(user, customer, heirs)
    if "email" not in customer.unknown or mapping.email is not None:
        return None
    message = (
        f"the user has left, and Shopify does not show us the e-mail of {customer.id}: who may come after the user can't be "
        f"told, so it is kept; needed: {customer.unknown['email']}"
    )
    return hold(user, customer, "CannotDelete", message)


def _contended_hold(user: ClerkUserId, customer: Customer, heirs: Iterable[ClerkUserId]) -> Hold:
    """Says that several users claim the customer of a user who has left, which the policy would delete or erase."""
    names = ", ".join(heirs)
    message = (
        f"the user has left, and {names} claim the e-mail of {customer.id}: it is not deleted, since one of them may adopt "
        "it; change the e-mail of the others"
    )
    return hold(user, customer, "EmailTaken", message)


def is_left_behind(customer: Customer, current: Customer | Mapping | None) -> bool:
    """Whether a re-link left this customer behind, and not that of the very user who is on `current` now."""
    if customer.moved_to is None:
        return False
    at = current.id if isinstance(current, Customer) else current.customer_id if current is not None else None
    return customer.moved_to != at


def left_behind_hold(user: ClerkUserId, at: Customer | None, other: Customer) -> Hold:
    """Says that the address belongs to a customer that a re-link left behind, with its orders and notes."""
    message = (
        f"the e-mail belongs to {other.id}, which a re-link left behind for {other.moved_to}: it is taken by no user; "
        "change its e-mail in Shopify, or assign it with `reconciler mappings import`"
    )
    return hold(user, at or other, "EmailConflict", message, "email")


def inherited(former: Mapping | None, customer: Customer) -> dict[str, Applied]:
    """What the mapping of the user who left this customer agreed on there; not the back-link, which is written again."""
    if former is None or former.customer_id != customer.id:
        return {}
    return {field: agreed for field, agreed in former.applied.items() if field != BACKLINK}
