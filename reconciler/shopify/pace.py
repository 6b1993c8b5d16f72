"""The bucket of one shop: who may send when, so that Shopify never has to say THROTTLED and its rate is used up.

Shared by all threads of a shop. Every call reserves its requested cost before it is sent and settles it when the reply is
there. Knows points and seconds; nothing of HTTP, GraphQL or customers.

Why the arithmetic is safe. Let T be what the shop has, U what calls under way will still take of it, and L what we believe
is left after them. While nobody else spends, L <= T - U always holds: a reservation lowers L at once and T only later,
and L never grows above the bucket's size less what is under way. A reply's `currentlyAvailable` is an upper bound of L (that
is how a neighbour, or a lowered rate, is noticed) and, less all that it can't know of yet, a lower one (that is how
points come back whose calls were never charged).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reconciler.errors import Throttled

Lane = Literal["nudge", "sweep"]

FIRST_RATE = 100.0  # until a reply tells: Shopify's smallest
FIRST_SIZE = 1000.0
WAIT_MAX_S = 120.0
NUDGES_IN_A_ROW = 9  # then a waiting sweep call has its turn
RESERVE_S = 0.5  # seconds of the rate that sweep calls leave in the bucket for nudges
RESERVE_SHARE = 0.05  # but never more than this share of the bucket
PAUSE_S = 1.0  # after a THROTTLED, as Shopify's documentation asks for; nobody sends meanwhile


@dataclass(frozen=True, slots=True)
class Status:
    """`extensions.cost.throttleStatus` of a reply."""

    maximum: float
    available: float
    restore_rate: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """Points taken for one call. `turn` keeps its place if it has to be sent again."""

    points: float
    turn: int
    lane: Lane
    settled_before: float  # all that had been settled when this was sent: the reply knows of those for certain


class Pace:
    """The one door to a shop. FIFO in each lane; nudges go before sweeps, but never keep them out for good."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        signal: threading.Condition | None = None,
        wait_max_s: float = WAIT_MAX_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._clock = clock
        self._signal = signal or threading.Condition()
        self._wait_max_s = wait_max_s
        self._pause_s = pause_s
        self._paused_until = clock()
        self._left = FIRST_SIZE
        self._at = clock()
        self._size = FIRST_SIZE
        self._rate = FIRST_RATE
        self._known = False
        self._under_way = 0.0
        self._reserved = 0.0
        self._settled = 0.0
        self._turns = 0
        self._waiting: dict[Lane, deque[int]] = {"nudge": deque(), "sweep": deque()}
        self._in_a_row = 0

    @property
    def restore_rate(self) -> float:
        """Points a second, as last seen in a reply."""
        return self._rate

    def available(self) -> float:
        """Points that should be in the bucket now."""
        with self._signal:
            self._restore()
            return self._left

    def reserve(self, points: float, lane: Lane, *, turn: int | None = None) -> Reservation:
        """Wait until so many points are there, and take them. Throttled if that takes longer than is sensible."""
        with self._signal:
            if turn is None:
                self._turns += 1
                turn = self._turns
            self._queue(turn, lane)
            deadline = self._clock() + self._wait_max_s
            try:
                while (wait_s := self._wait_for(points, lane, turn)) != 0:
                    left_s = deadline - self._clock()
                    if left_s <= 0:
                        raise Throttled(
                            f"the shop's bucket did not give {points:g} points within {self._wait_max_s:g} s",
                            hint="somebody else spends the same bucket: look at other uses of this app's credentials",
                            retry_after_s=points / self._rate,
                        )
                    self._signal.wait(left_s if wait_s is None else min(wait_s, left_s))
                return self._take(points, lane, turn)
            finally:
                self._waiting[lane].remove(turn)
                self._signal.notify_all()

    def settle(
        self, reservation: Reservation, *, spent: float | None, status: Status | None, throttled: bool = False
    ) -> None:
        """The call is over. `spent`: what it cost in the end, None where nobody knows (then all of it is taken as spent)."""
        with self._signal:
            self._restore()
            self._under_way -= reservation.points
            self._settled += reservation.points
            if spent is not None:
                self._left += reservation.points - spent
            if throttled:
                self._at = self._paused_until = (
                    self._clock() + self._pause_s
                )  # what comes in meanwhile, replies will tell
            if status is not None:
                self._learn(reservation, status)
            self._left = min(self._left, self._size - self._under_way)
            self._signal.notify_all()

    def pause(self, seconds: float) -> None:
        """Nobody sends for so long: the shop has asked for it. The bucket fills meanwhile."""
        with self._signal:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
            self._signal.notify_all()

    # Everything below is called with the signal held.

    def _queue(self, turn: int, lane: Lane) -> None:
        """In order of turns: a call that is sent again is as old as it was."""
        queue = self._waiting[lane]
        position = next((i for i, other in enumerate(queue) if other > turn), len(queue))
        queue.insert(position, turn)

    def _wait_for(self, points: float, lane: Lane, turn: int) -> float | None:
        """Seconds until it may be this call's turn: 0 is now, None until something happens."""
        if self._waiting[lane][0] != turn or not self._is_lanes_turn(lane):
            return None
        if self._under_way > 0 and not self._known:
            return None  # one call alone finds out what the bucket holds
        if (pause_s := self._paused_until - self._clock()) > 0:
            return pause_s
        self._restore()
        spare = self._reserve() if lane == "sweep" and not self._is_overdue() else 0.0
        missing = min(points + spare, self._size) - self._left
        if missing <= 0:
            return 0
        if self._left >= self._size - self._under_way:
            return None  # it can't grow before a reply comes
        return max(missing / self._rate, 0.001)

    def _is_lanes_turn(self, lane: Lane) -> bool:
        if lane == "sweep":
            return not self._waiting["nudge"] or self._is_overdue()
        return not self._is_overdue()

    def _is_overdue(self) -> bool:
        return bool(self._waiting["sweep"]) and self._in_a_row >= NUDGES_IN_A_ROW

    def _reserve(self) -> float:
        return min(self._rate * RESERVE_S, self._size * RESERVE_SHARE)

    def _take(self, points: float, lane: Lane, turn: int) -> Reservation:
        self._in_a_row = self._in_a_row + 1 if lane == "nudge" and self._waiting["sweep"] else 0
        self._left -= points
        self._under_way += points
        self._reserved += points
        return Reservation(points, turn, lane, self._settled)

    def _restore(self) -> None:
        now = self._clock()
        grown = self._left + self._rate * max(0.0, now - self._at)
        self._left = max(self._left, min(grown, self._size - self._under_way))
        self._at = max(self._at, now)

    def _learn(self, reservation: Reservation, status: Status) -> None:
        if status.restore_rate > 0:
            self._rate = status.restore_rate
        if status.maximum > 0:
            self._size = status.maximum
        not_in_it = self._reserved - reservation.settled_before - reservation.points
        if not self._known:
            self._known, self._left = True, status.available - not_in_it
        self._left = min(max(self._left, status.available - not_in_it), status.available)
