"""Resolve the users that a command line names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.report.answer import Former
from reconciler.errors import PermanentError
from reconciler.wiring import Components
from reconciler.wiring.people import candidates, find_each, find_former, find_users

SHOWN_MAX = 10  # candidates of a word in a message
WORDS_MAX = 20  # words of a kind in a message
ID_HINT = "use one of these Clerk ids"
SPELLING_HINT = "check the spelling, and profiles.columns; `reconciler mappings list` shows the mapped users"


def resolve_users(components: Components, words: Sequence[str]) -> list[ClerkUserId]:
    """Find the users that these words name: a Clerk id, an email, a part of a name, a phone or a customer.

    PermanentError with all words that match no profile and no mapping, or several users; its hint names who had such an
    email or customer before. SourceError if the profiles must be read and can't be.
    """
    asked = list(dict.fromkeys(word.strip() for word in words))
    found = find_each(components, asked)
    unknown = [word for word in asked if word not in found]
    ambiguous = {word: found[word] for word in asked if len(found.get(word, ())) > 1}
    if unknown or ambiguous:
        raise _refusal(components, unknown, ambiguous)
    return list(dict.fromkeys(found[word][0] for word in asked))


def resolve_person(components: Components, word: str) -> tuple[ClerkUserId, tuple[Former, ...]]:
    """Find the user that this word names as `resolve_users` does; else who had such an email or customer before."""
    word = word.strip()
    users = find_users(components, word)
    former = [] if users else find_former(components, word)
    users = users or list(dict.fromkeys(each.clerk_user_id for each in former))
    if not users:
        raise PermanentError(_unknown([word]), hint=SPELLING_HINT)
    if len(users) > 1:
        raise PermanentError(_ambiguous(components, word, users), hint=ID_HINT)
    return users[0], tuple(former)


def _refusal(
    components: Components, unknown: Sequence[str], ambiguous: Mapping[str, Sequence[ClerkUserId]]
) -> PermanentError:
    said: list[str] = []
    hints: list[str] = []
    if unknown:
        said.append(_unknown(unknown))
        former = (each.words for word in unknown[:WORDS_MAX] for each in find_former(components, word))
        hints.append(f"{words} Use the Clerk id" if (words := next(former, None)) is not None else SPELLING_HINT)
    if ambiguous:
        said += [_ambiguous(components, word, users) for word, users in list(ambiguous.items())[:WORDS_MAX]]
        said += [f"and {more} more that match several users"] if (more := len(ambiguous) - WORDS_MAX) > 0 else []
        hints.append(ID_HINT)
    return PermanentError("\n".join(said), hint="; ".join(hints))


def _ambiguous(components: Components, word: str, users: Sequence[ClerkUserId]) -> str:
    shown = [f"  {each.words}" for each in candidates(components, users[:SHOWN_MAX])]
    more = ["  … and more"] if len(users) > SHOWN_MAX else []
    return "\n".join([f"'{word}' matches several users:", *shown, *more])


def _unknown(words: Sequence[str]) -> str:
    more = f" and {len(words) - WORDS_MAX} more" if len(words) > WORDS_MAX else ""
    said = f"{', '.join(words[:WORDS_MAX])}{more}"
    return f"unknown: {said}: no profile and no mapping has this id, email, name, phone or customer"
