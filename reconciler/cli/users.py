"""Resolve the users that a command line names."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import PermanentError
from reconciler.wiring import Components
from reconciler.wiring.people import candidates, find_users

SHOWN_MAX = 10  # candidates in a message


def resolve_users(components: Components, words: Sequence[str]) -> list[ClerkUserId]:
    """Find the users that these words name: a Clerk id, an email, a part of a name, a phone or a customer.

    PermanentError if a word matches no profile and no mapping, or several users. SourceError if the profiles must be
    read and can't be.
    """
    found: dict[ClerkUserId, None] = {}
    unknown: list[str] = []
    for word in dict.fromkeys(word.strip() for word in words):
        users = find_users(components, word)
        if len(users) > 1:
            shown = "; ".join(each.words for each in candidates(components, users[:SHOWN_MAX]))
            more = "; and more" if len(users) > SHOWN_MAX else ""
            raise PermanentError(f"'{word}' matches several users: {shown}{more}", hint="use one of these Clerk ids")
        if not users:
            unknown.append(word)
        found |= dict.fromkeys(users)
    if unknown:
        raise PermanentError(
            f"unknown: {', '.join(unknown)}: no profile and no mapping has this id, email, name, phone or customer",
            hint="check the spelling, and profiles.columns; `reconciler mappings list` shows the mapped users",
        )
    return list(found)
