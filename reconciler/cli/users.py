"""Resolve the users that a command line names: by Clerk id, email or customer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.core.fields import normalise
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.errors import PermanentError
from reconciler.state.console.reader import ConsoleTable
from reconciler.wiring import Components

_CUSTOMER = re.compile(r"(?:gid://shopify/Customer/|https://[^\s?#]+/customers/)?(\d{1,20})(?:[/?#].*)?")
FOUND_MAX = 20  # rows that are compared for one email


def customer_id_in(word: str) -> CustomerId | None:
    """The customer that a number, a gid or an admin URL names, or None."""
    number = _CUSTOMER.fullmatch(word)
    return CustomerId(f"gid://shopify/Customer/{number.group(1)}") if number is not None else None


def resolve_users(components: Components, words: Sequence[str]) -> list[ClerkUserId]:
    """Find the users that these words name: a Clerk id, an email in any case, or a customer (number, gid, admin URL).

    PermanentError if a word matches no profile and no mapping, or several users. SourceError if the profiles must be
    read and can't be.
    """
    found: dict[ClerkUserId, None] = {}
    unknown: list[str] = []
    for word in dict.fromkeys(word.strip() for word in words):
        users = _matching_users(components, word)
        if len(users) > 1:
            raise PermanentError(
                f"'{word}' matches several users: {', '.join(users)}", hint="use one of these Clerk ids"
            )
        if not users:
            unknown.append(word)
        found |= dict.fromkeys(users)
    if unknown:
        raise PermanentError(
            f"unknown: {', '.join(unknown)}: no profile and no mapping has this id, email or customer",
            hint="check the spelling; `reconciler mappings list` shows the mapped users",
        )
    return list(found)


def _matching_users(components: Components, word: str) -> list[ClerkUserId]:
    user = ClerkUserId(word)
    shops = [store.shop for store in components.stores()]
    if any(components.state.get(shop, [user]) for shop in shops) or components.profile_writes.refusals([user]):
        return [user]
    customer = customer_id_in(word)
    if customer is not None:
        owners = sorted({o for shop in shops for o in components.state.owners(shop, [customer]).values()})
        if owners:
            return owners
    if "@" in word and (key := normalise.email_key(word)):
        rows = ConsoleTable(components.connections.engine).find_people(
            word, shops=shops, status=None, reason=None, limit=FOUND_MAX
        )
        mapped = {row.clerk_user_id for row in rows if normalise.email_key(row.email) == key}
        claimed = {profile.clerk_user_id for profile in components.profiles.sharing_email({key})}
        refused = {one.user for one in components.profile_writes.refusals().values() if one.email_key == key}
        if mapped | claimed | refused:
            return sorted(claimed or mapped or refused)
    return [user] if user in components.profiles.get([user]) else []
