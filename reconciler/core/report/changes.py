"""A search for what was written: what is asked, and one page of what was found."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

from reconciler.core.model.event import Event
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, StoreName

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE: Final = re.compile(r"([0-9]{1,17})-([0-9]{1,10})")
_ID_MAX: Final = 2**31 - 1
_LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)


class EventPlace(NamedTuple):
    """The place of an event in the order of time: events of one time are in the order of writing."""

    at: datetime
    id: int

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The place that `str` wrote; None for another text."""
        found = _PLACE.fullmatch(text)
        last = (_LAST - _EPOCH) // timedelta(microseconds=1)
        if found is None or int(found[1]) > last or int(found[2]) > _ID_MAX:
            return None
        return cls(_EPOCH + timedelta(microseconds=int(found[1])), int(found[2]))


@frozen(kw_only=True)
class ChangesAsked:
    """Which events are sought: of these users (None: all), of this store, of this kind, with a change of this field, by this
    actor (`run` also for what no run wrote), from `since` on and before `until`. `before`: only those before this place.
    """

    users: tuple[ClerkUserId, ...] | None = None
    store: StoreName | None = None
    kind: str | None = None
    field: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: EventPlace | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether events must be read to know whether they are sought."""
        return not (self.kind is None and self.field is None and self.actor is None)


@frozen
class ChangesFound:
    """One page of events, newest first. `before`: where the next page begins, None after the last one.

    `searched_to`: a page ends after a bounded number of events that were read; None where it ended otherwise.
    """

    events: tuple[Event, ...]
    before: EventPlace | None = None
    searched_to: datetime | None = None
