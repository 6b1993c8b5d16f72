"""`CheckedClock`: this machine's time, unless the shops say otherwise.

By a clock that is a year ahead, accepted drift is over, a wave has soaked, and all history is old. Each reply of a shop has
the shop's time, so a wrong clock is noticed before a user is decided by it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final

from reconciler.ports import Clock
from reconciler.state.processes.clock import APART_S, steady_s

CONFIRMED_FOR_S: Final = 600.0  # for so long after a shop has confirmed the time, no other shop changes it
PLAUSIBLE: Final = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


class WallClock:
    """The wall clock, aware and UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the one clock


class CheckedClock:
    """ports.Clock by the wall clock. Once a shop has confirmed it, a steady clock counts on, so a jump changes nothing.

    Where the wall clock differs from the time of the shops by more than APART_S, theirs counts. Thread-safe.
    """

    def __init__(self, wall: Clock, *, warn: Callable[[str], None], steady_s: Callable[[], float] = steady_s) -> None:
        self.wall, self._warn, self._steady_s = wall, warn, steady_s
        self._lock = Lock()
        self._base: tuple[datetime, float] | None = None  # a confirmed time, and the steady clock's at that moment
        self._confirmed_at_s = 0.0

    @property
    def is_confirmed(self) -> bool:
        """Whether a shop has confirmed or corrected the time since the process began."""
        return self._base is not None

    def now(self) -> datetime:
        base = self._base
        if base is None:
            return self.wall.now()
        at, since_s = base
        return at + timedelta(seconds=self._steady_s() - since_s)

    def note(self, shop_time: datetime) -> None:
        """Compare the time with that of a shop, which has just replied."""
        if not PLAUSIBLE[0] <= shop_time < PLAUSIBLE[1]:
            return
        with self._lock:
            wall, tick_s = self.wall.now(), self._steady_s()
            if _apart_s(wall, shop_time) <= APART_S:
                self._base = wall, tick_s
            elif _apart_s(self.now(), shop_time) > APART_S:
                if self.is_confirmed and tick_s - self._confirmed_at_s < CONFIRMED_FOR_S:
                    return  # this shop's clock is wrong
                self._base = shop_time, tick_s
                self._warn(
                    f"this machine's clock is {_apart_s(wall, shop_time):.0f} s from that of the shops, and theirs is "
                    "used: synchronise it (NTP)"
                )
            self._confirmed_at_s = tick_s


def _apart_s(one: datetime, other: datetime) -> float:
    return abs((one - other).total_seconds())
