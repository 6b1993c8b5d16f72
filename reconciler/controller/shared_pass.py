"""One pass over the profiles for the full looks of several stores that have begun: what each of them has to look at.

Asks no shop, so that a slow one holds up nobody: each store's look reads its share by itself, at its own pace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from reconciler.controller.stream import Moved, Watch, passed
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.ports import PairReader, ProfileReader, RowReader


@dataclass(frozen=True, slots=True)
class Begun:
    """A full look that has begun, and goes on behind `after`. `live`: no mirror is new enough to pass over anybody by."""

    store: Store
    started_at: datetime
    after: ClerkUserId | None
    live: bool


@dataclass(frozen=True, slots=True)
class Share:
    """A store's share of a pass. `sharing` gives the rows that share an e-mail, read once for all who took part."""

    begun: Begun
    moved: Moved
    sharing: Callable[[], Sequence[Profile]]


class Once:
    """What is asked once, by whoever comes first, for all who come. Thread-safe; an error is the asker's own."""

    def __init__(self, ask: Callable[[], Sequence[Profile]]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._found: Sequence[Profile] | None = None

    def __call__(self) -> Sequence[Profile]:
        with self._lock:
            if self._found is None:
                self._found = self._ask()
            return self._found


def watch_of(begun: Begun, pairs: PairReader) -> Watch:
    """This look in a pass."""
    return Watch(begun.store, pairs, after=begun.after, live=begun.live)


def shared_pass(
    begun: Sequence[Begun], pairs: PairReader, profiles: ProfileReader, go_on: Callable[[], bool]
) -> list[Share] | None:
    """One pass for all of these looks; None where it was stopped. Memory grows with neither rows nor those who moved."""
    assert isinstance(profiles, RowReader)
    found = passed([watch_of(one, pairs) for one in begun], profiles, go_on=go_on)
    sharing = Once(profiles.sharing_email)
    return None if found is None else [Share(one, moved, sharing) for one, moved in zip(begun, found, strict=True)]
