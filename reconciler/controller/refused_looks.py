"""Looks that fail for one user: told apart from looks that fail for all.

One question holds many users, and the shop refuses all of it for one odd value, or has an error of its own at one customer.
So it is asked again in halves until that user is alone. Where several are, it is not their fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.view import Subject, View
from reconciler.errors import PartUnreadable, PermanentError, SetupError

REFUSED_MAX: Final = 5  # of one chunk; more are a refusal of the question, and an error of the store

Views = dict[ClerkUserId, View]
Look = Callable[[Sequence[Subject]], Views]
Refusals = dict[ClerkUserId, PermanentError | PartUnreadable]


def views_of(subjects: Sequence[Subject], look: Look) -> tuple[Views, Refusals]:
    """What the shop shows of these users, and of whom it refuses to show anything.

    PermanentError or PartUnreadable where that is so of more than a few, or of everybody; AccessError, SetupError and any
    other TemporaryError are the store's in any case.
    """
    refusals: Refusals = {}
    views = _asked(subjects, look, refusals)
    if refusals and not views:
        raise next(iter(refusals.values()))
    return views, refusals


def _asked(subjects: Sequence[Subject], look: Look, refusals: Refusals) -> Views:
    try:
        return look(subjects)
    except SetupError:
        raise
    except (PermanentError, PartUnreadable) as error:
        if len(refusals) >= REFUSED_MAX:
            raise
        if len(subjects) == 1:
            refusals[subjects[0].user] = error
            return {}
    half = len(subjects) // 2
    return _asked(subjects[:half], look, refusals) | _asked(subjects[half:], look, refusals)
