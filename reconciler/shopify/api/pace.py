"""Paces the calls to one shop by its bucket, so that Shopify never throttles them and its restore rate is fully used.

Shared by all threads of a shop. Every call reserves its requested cost before it is sent and settles it after the reply.

Why the arithmetic is safe: let T be the points in the shop's bucket, U the points that calls in progress will still take,
and L our estimate of what is left after them. While no other program uses the bucket, L <= T - U always holds: a
reservation lowers L immediately and T later, and L never exceeds the bucket's size less U. A reply's `currentlyAvailable`
is an upper bound of L (so another program, or a lowered rate, is noticed). Less the calls that it can't include yet, it is
a lower bound (so points of calls that were never charged come back).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from reconciler.core.model.frozen import frozen
from reconciler.errors import Throttled

Lane = Literal["nudge", "scan"]

FIRST_RATE = 100.0  # until the first reply: Shopify's smallest
FIRST_SIZE = 1000.0
WAIT_MAX_S = 120.0
NUDGES_IN_A_ROW = 9  # then a waiting scan call has its turn
RESERVE_S = 0.5  # seconds of the rate that scan calls leave in the bucket for nudges
RESERVE_SHARE = 0.05  # but never more than this share of the bucket
PAUSE_S = 1.0  # without calls after a THROTTLED, as Shopify's documentation recommends


@frozen
class Status:
    """`extensions.cost.throttleStatus` of a reply: points, points, points a second."""

    maximum: float
    available: float
    restore_rate: float


@frozen
class Reservation:
    """Points reserved for one call. `turn` keeps its position if it is sent again."""

    points: float
    turn: int
    lane: Lane
    settled_before: float  # the points settled when this was sent: the reply certainly includes them


class Pace:
    """Admits the calls to one shop. FIFO in each lane; nudges precede scans, but never block them for good."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        signal: threading.Condition | None = None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._clock = clock
        self._signal = signal or threading.Condition()
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
        self._waiting: dict[Lane, deque[int]] = {"nudge": deque(), "scan": deque()}
        self._in_a_row = 0

    @property
    def restore_rate(self) -> float:
        """Points a second, from the last reply."""
        return self._rate

    def available(self) -> float:
        """Estimated points in the bucket now."""
        with self._signal:
            self._restore()
            return self._left

    def reserve(self, points: float, lane: Lane, *, turn: int | None = None) -> Reservation:
        """Wait until the bucket has these points, and reserve them. Throttled after WAIT_MAX_S."""
        with self._signal:
            if turn is None:
                self._turns += 1
                turn = self._turns
            self._queue(turn, lane)
            deadline = self._clock() + WAIT_MAX_S
            try:
                while (wait_s := self._wait_for(points, lane, turn)) != 0:
                    left_s = deadline - self._clock()
                    if left_s <= 0:
                        raise Throttled(
                            f"the shop's bucket did not have {points:g} points within {WAIT_MAX_S:g} s",
                            hint="another program uses the same bucket: check where else this app's credentials are used",
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
        """Settle a call that has ended. `spent`: its actual cost; None if unknown, which counts as all of it."""
        with self._signal:
            self._restore()
            self._under_way -= reservation.points
            self._settled += reservation.points
            if spent is not None:
                self._left += reservation.points - spent
            if throttled:
                self._at = self._paused_until = (
                    self._clock() + self._pause_s
                )  # later replies show the points restored meanwhile
            if status is not None:
                self._learn(reservation, status)
            self._left = min(self._left, self._size - self._under_way)
            self._signal.notify_all()

    def pause(self, seconds: float) -> None:
        """Admit no call for this time, as the shop requested. The bucket fills meanwhile."""
        with self._signal:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
            self._signal.notify_all()

    def now_s(self) -> float:
        """The time by the pace's clock."""
        return self._clock()

    def wait(self, seconds: float) -> None:
        """Wait by the pace's clock. Other calls go on."""
        with self._signal:
            until = self._clock() + seconds
            while (left_s := until - self._clock()) > 0:
                self._signal.wait(left_s)

    # Everything below is called with the signal held.

    def _queue(self, turn: int, lane: Lane) -> None:
        """Insert by turn: a call that is sent again keeps its age."""
        queue = self._waiting[lane]
        position = next((i for i, other in enumerate(queue) if other > turn), len(queue))
        queue.insert(position, turn)

    def _wait_for(self, points: float, lane: Lane, turn: int) -> float | None:
        """Seconds until this call's turn: 0 is now, None is until the next notification."""
        if self._waiting[lane][0] != turn or not self._is_lanes_turn(lane):
            return None
        if self._under_way > 0 and not self._known:
            return None  # a single first call finds out what the bucket holds
        if (pause_s := self._paused_until - self._clock()) > 0:
            return pause_s
        self._restore()
        spare = self._reserve() if lane == "scan" and not self._is_overdue() else 0.0
        missing = min(points + spare, self._size) - self._left
        if missing <= 0:
            return 0
        if self._left >= self._size - self._under_way:
            return None  # it can't grow before the next reply
        return max(missing / self._rate, 0.001)

    def _is_lanes_turn(self, lane: Lane) -> bool:
        if lane == "scan":
            return not self._waiting["nudge"] or self._is_overdue()
        return not self._is_overdue()

    def _is_overdue(self) -> bool:
        return bool(self._waiting["scan"]) and self._in_a_row >= NUDGES_IN_A_ROW

    def _reserve(self) -> float:
        return min(self._rate * RESERVE_S, self._size * RESERVE_SHARE)

    def _take(self, points: float, lane: Lane, turn: int) -> Reservation:
        self._in_a_row = self._in_a_row + 1 if lane == "nudge" and self._waiting["scan"] else 0
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
