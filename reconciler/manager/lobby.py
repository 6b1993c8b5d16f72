"""Where full looks that have begun wait for one another, so that one pass over the profiles serves them all.

Knows no shop and no clock but a steady one. Nobody waits for long: a pass costs seconds, and is not worth more than that
to a small shop, nor more than some minutes to one whose mirror was filled for as long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from reconciler.controller.shared_pass import Begun
from reconciler.core.model.ids import StoreName


@dataclass(frozen=True, slots=True)
class Waiting:
    """A full look that has begun. `since` and `whole` as in looks.py; `until`: how long it waits for others (monotonic)."""

    begun: Begun
    since: datetime
    whole: bool
    until: float

    @property
    def name(self) -> StoreName:
        return self.begun.store.name


class Lobby:
    """Who is on the way, who waits, and who takes part in a pass or looks. Thread-safe."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._coming: dict[StoreName, int] = {}
        self._waiting: dict[StoreName, Waiting] = {}
        self._looking: set[StoreName] = set()

    def expect(self, name: StoreName) -> None:
        """A look of this store is about to begin; `came` says that it has, or never will."""
        with self._lock:
            self._coming[name] = self._coming.get(name, 0) + 1

    def came(self, name: StoreName) -> None:
        """Whoever was expected is here, or does not come."""
        with self._lock:
            left = self._coming.pop(name, 0) - 1
            if left > 0:
                self._coming[name] = left

    def wait(self, one: Waiting) -> None:
        """It has begun, and waits. One that waits already is the same look."""
        with self._lock:
            self._waiting[one.name] = one

    def depart(self) -> list[Waiting]:
        """All that wait, where nobody else is coming or one of them has waited for long enough; else nobody."""
        with self._lock:
            if not self._may_go():
                return []
            gone, self._waiting = list(self._waiting.values()), {}
            self._looking |= {one.name for one in gone}
            return gone

    def is_due(self) -> bool:
        """Whether some wait, and should not any more: the last one came without going, or one has waited long enough."""
        with self._lock:
            return bool(self._waiting) and self._may_go()

    def _may_go(self) -> bool:
        return not self._coming or any(one.until <= self._monotonic() for one in self._waiting.values())

    def ended(self, name: StoreName) -> None:
        """Its look has come to an end, or will not be taken."""
        with self._lock:
            self._looking.discard(name)

    def holds(self, name: StoreName) -> bool:
        """Whether a full look of this store is about to begin here, or has begun and is not over."""
        with self._lock:
            return name in self._coming or name in self._waiting or name in self._looking
