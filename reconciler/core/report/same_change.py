"""When two withheld actions are the same change: as one edit of the config causes it for many users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from reconciler.core.model.values import Value, tag_changes

EACH: Final = "each"  # instead of the customers, where one change is that of several


class ChangeValues(NamedTuple):
    """A change of one field, of an action or of its document."""

    field: str
    before: Value
    after: Value
    why: str


def is_departure(field: str, after: Value) -> bool:
    """Whether the customer itself goes: it is deleted or erased."""
    return field == "customer" and after is None


def same_change_key(kind: str, how: str, changes: Iterable[ChangeValues]) -> tuple[object, ...]:
    """The key that same changes share.

    Of tags only those count that come and go, whatever others a customer has. A customer that goes is the same change
    for all, whichever customer it is.
    """
    return kind, how, tuple((change.field, *_values(change), change.why) for change in changes)


def _values(change: ChangeValues) -> tuple[object, object]:
    if is_departure(change.field, change.after):
        return None, None
    if change.field != "tags":
        return change.before, change.after
    come, gone = tag_changes(change.before, change.after)
    return tuple(gone), tuple(come)
