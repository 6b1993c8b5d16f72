"""When two withheld actions are the same change: as one edit of the config causes it for many users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from reconciler.core.model.values import Value, tag_changes

EACH: Final = "each"  # instead of a user or a customer, where one change is that of several


class ChangeValues(NamedTuple):
    """A change of one field, of an action or of its document."""

    field: str
    before: Value
    after: Value
    why: str


def of_each(user: str, change: ChangeValues) -> ChangeValues:
    """The change without the id of the one customer that goes, or of the user with the back-link."""
    before: Value = EACH if _is_departure(change) or change.before == user else change.before
    return change._replace(before=before, after=EACH if change.after == user else change.after)


def same_change_key(kind: str, how: str, user: str, changes: Iterable[ChangeValues]) -> tuple[object, ...]:
    """The key that same changes share. Of tags only those count that come and go, whatever others a customer has."""
    each = (of_each(user, change) for change in changes)
    return kind, how, tuple((change.field, *_values(change), change.why) for change in each)


def _is_departure(change: ChangeValues) -> bool:
    """Whether the customer itself goes: it is deleted or erased."""
    return change.field == "customer" and change.after is None


def _values(change: ChangeValues) -> tuple[object, object]:
    if change.field != "tags":
        return change.before, change.after
    come, gone = tag_changes(change.before, change.after)
    return tuple(gone), tuple(come)
