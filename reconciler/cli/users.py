"""Resolve the users that a command line names."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.report.answer import Former
from reconciler.errors import PermanentError
from reconciler.wiring import Components
from reconciler.wiring.people import candidates, find_former, find_users

SHOWN_MAX = 10  # candidates in a message


def resolve_users(components: Components, words: Sequence[str]) -> list[ClerkUserId]:
    """Find the users that these words name: a Clerk id, an email, a part of a name, a phone or a customer.

    PermanentError if a word matches no profile and no mapping, or several users; its hint names who had such an email or
    customer before. SourceError if the profiles must be read and can't be.
    """
    found: dict[ClerkUserId, None] = {}
    unknown: list[str] = []
    for word in dict.fromkeys(word.strip() for word in words):
        users = _find_users(components, word)
        if not users:
            unknown.append(word)
        found |= dict.fromkeys(users)
    if unknown:
        former = next((each.words for word in unknown for each in find_former(components, word)), None)
        raise _unknown(unknown, f"{former} Use the Clerk id" if former is not None else "")
    return list(found)


def resolve_person(components: Components, word: str) -> tuple[ClerkUserId, tuple[Former, ...]]:
    """Find the user that this word names as `resolve_users` does; else who had such an email or customer before."""
    word = word.strip()
    if users := _find_users(components, word):
        return users[0], ()
    former = find_former(components, word)
    names = list(dict.fromkeys(each.clerk_user_id for each in former))
    if not names:
        raise _unknown([word])
    if len(names) > 1:
        raise _ambiguous(components, word, names)
    return names[0], tuple(former)


def _find_users(components: Components, word: str) -> list[ClerkUserId]:
    """The one user that this word names, or none."""
    users = find_users(components, word)
    if len(users) > 1:
        raise _ambiguous(components, word, users)
    return users


def _ambiguous(components: Components, word: str, users: Sequence[ClerkUserId]) -> PermanentError:
    shown = [f"  {each.words}" for each in candidates(components, users[:SHOWN_MAX])]
    more = ["  … and more"] if len(users) > SHOWN_MAX else []
    said = "\n".join([f"'{word}' matches several users:", *shown, *more])
    return PermanentError(said, hint="use one of these Clerk ids")


def _unknown(words: Sequence[str], hint: str = "") -> PermanentError:
    return PermanentError(
        f"unknown: {', '.join(words)}: no profile and no mapping has this id, email, name, phone or customer",
        hint=hint or "check the spelling, and profiles.columns; `reconciler mappings list` shows the mapped users",
    )
