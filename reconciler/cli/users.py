"""Users as they are named on a command line: by Clerk id, e-mail or customer."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from reconciler.core.fields import normalise
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.errors import PermanentError
from reconciler.state.console_reader import ConsoleReader
from reconciler.wiring import Components

_CUSTOMER = re.compile(r"(?:gid://shopify/Customer/|https://[^\s?#]+/customers/)?(\d{1,20})(?:[/?#].*)?")
FOUND_MAX = 20  # rows that are looked through for one e-mail


def user_id(value: str) -> str:
    """The name of a user. An empty one is wrong usage: a variable of the shell that was not set, as a rule."""
    if not value.strip():
        raise click.BadParameter("the id of a user is empty")
    return value


def customer_named(word: str) -> CustomerId | None:
    """The customer that a number, a gid or an admin URL names."""
    number = _CUSTOMER.fullmatch(word)
    return CustomerId(f"gid://shopify/Customer/{number.group(1)}") if number is not None else None


def users_named(components: Components, words: Sequence[str]) -> list[ClerkUserId]:
    """The users that these words name: a Clerk id, an e-mail in any case, or a customer as number, gid or admin URL.

    PermanentError where one names no user whom a profile or a mapping knows, or more than one. SourceError where the
    profiles would have to be read and can't be.
    """
    found: dict[ClerkUserId, None] = {}
    unknown: list[str] = []
    for word in dict.fromkeys(word.strip() for word in words):
        users = _users_of(components, word)
        if len(users) > 1:
            raise PermanentError(f"'{word}' names several users: {', '.join(users)}", hint="name one by its Clerk id")
        if not users:
            unknown.append(word)
        found |= dict.fromkeys(users)
    if unknown:
        raise PermanentError(
            f"nothing is known of {', '.join(unknown)}: no profile and no mapping has this id, e-mail or customer",
            hint="look for a misspelling; `reconciler mappings list` shows who is mapped",
        )
    return list(found)


def _users_of(components: Components, word: str) -> list[ClerkUserId]:
    user = ClerkUserId(word)
    shops = [store.shop for store in components.stores()]
    if any(components.state.get(shop, [user]) for shop in shops) or components.profile_writes.refused([user]):
        return [user]
    customer = customer_named(word)
    if customer is not None:
        owners = sorted({o for shop in shops for o in components.state.owners(shop, [customer]).values()})
        if owners:
            return owners
    if "@" in word and (key := normalise.email_key(word)):
        rows = ConsoleReader(components.engine).find_people(
            word, shops=shops, status=None, reason=None, limit=FOUND_MAX
        )
        mapped = {row.clerk_user_id for row in rows if normalise.email_key(row.email) == key}
        claimed = {profile.clerk_user_id for profile in components.profiles.sharing_email({key})}
        refused = {one.user for one in components.profile_writes.refused().values() if one.email_key == key}
        if mapped | claimed | refused:
            return sorted(claimed or mapped or refused)
    return [user] if user in components.profiles.get([user]) else []
