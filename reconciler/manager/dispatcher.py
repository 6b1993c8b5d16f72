"""Takes claims off the queue and hands them to worker threads; keeps their leases; hands back what it can't finish.

One thread claims, one renews, the others work. Nothing here knows what a look is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import structlog

from reconciler.controller.worker import Worker, WorkResult
from reconciler.core.model.backoff import delay_s, fraction_of
from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Claim, Request
from reconciler.errors import LeaseLost, StateError
from reconciler.manager.intervals import Intervals
from reconciler.manager.shutdown import ended_within
from reconciler.ports import Clock, RequestQueue

Caps = Callable[[], Mapping[StoreName, int]]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InHand:
    """One claim being worked on, and since when (monotonic seconds)."""

    claim: Claim
    since: float


class Dispatcher:
    """Workers on one queue. `caps` says which stores may be worked on now, and how many requests of each at once."""

    def __init__(
        self,
        queue: RequestQueue,
        worker: Worker,
        clock: Clock,
        *,
        owner: str,
        workers: int,
        caps: Caps,
        on_worked: Callable[[WorkResult, float], None],
        intervals: Intervals,
    ) -> None:
        self.owner = owner
        self._queue, self._worker, self._clock = queue, worker, clock
        self._workers, self._caps, self._on_worked = workers, caps, on_worked
        self._intervals = intervals
        # By fencing number too: a lease that ran out while the database was away may be claimed by ourselves again.
        self._in_hand: dict[tuple[Request, int], InHand] = {}
        self._took: dict[StoreName, tuple[float, float]] = {}  # when the store's last look ended, and how long it took
        self._changed = threading.Condition()  # of what is in hand
        self._ready: SimpleQueue[Claim | None] = SimpleQueue()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._claiming = threading.Thread(target=self._claim_on, name="dispatch", daemon=True)
        self._threads = [
            self._claiming,
            threading.Thread(target=self._renew_on, name="leases", daemon=True),
            *(threading.Thread(target=self._work_on, name=f"worker-{n}", daemon=True) for n in range(workers)),
        ]
        self.beat_at = self.renewed_at = self.done_at = time.monotonic()
        self.worked = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something was put in the queue: look now."""
        self._wake.set()

    def in_hand(self) -> tuple[InHand, ...]:
        with self._changed:
            return tuple(self._in_hand.values())

    def dead(self) -> list[str]:
        """The names of threads that should run and don't."""
        if self._stopping.is_set():
            return []
        return [thread.name for thread in self._threads if not thread.is_alive()]

    def stop(self, grace_s: float | None = None) -> None:
        """Take nothing more, let what is in hand end, hand back the rest. Safe to repeat, and before `start`."""
        deadline = time.monotonic() + (self._intervals.grace_s if grace_s is None else grace_s)
        self._stopping.set()
        self._wake.set()
        if self._claiming.ident is not None:
            self._claiming.join(max(0.0, deadline - time.monotonic()))
        self._hand_back(self._not_begun())
        for _ in range(self._workers):
            self._ready.put(None)
        with self._changed:
            self._changed.wait_for(lambda: not self._in_hand, max(0.0, deadline - time.monotonic()))
        self._hand_back([held.claim for held in self.in_hand()])
        self._stopped.set()

    def _not_begun(self) -> list[Claim]:
        """Claims that no worker has begun with."""
        found: list[Claim] = []
        while True:
            try:
                claim = self._ready.get_nowait()
            except Empty:
                break
            if claim is not None:
                found.append(claim)
                self._put_down(claim)
        return found

    def _hand_back(self, claims: list[Claim]) -> None:
        """What their workers do from now on is fenced; others may take them at once."""
        if claims and not ended_within(self._intervals.step_s, lambda: self._release(claims), "hand-back"):
            _log.warning("requests_return_failed", error="the state does not answer", requests=len(claims))

    def _release(self, claims: list[Claim]) -> None:
        try:
            self._queue.release(claims)
        except StateError as error:
            _log.warning("requests_return_failed", error=error.message, requests=len(claims))
        else:
            _log.info("requests_returned", requests=len(claims))

    # --- the threads ---------------------------------------------------------------------------------------------

    def _claim_on(self) -> None:
        while not self._stopping.is_set():
            self.beat_at = time.monotonic()
            self._wake.clear()
            try:
                taken = self._take()
            except StateError as error:
                _log.error("claim_failed", error=error.message, hint=error.hint)
                self._stopping.wait(self._intervals.away_s)
                continue
            if not taken:
                self._wake.wait(self._intervals.poll_s if self._in_hand else self._intervals.idle_poll_s)

    def _take(self) -> bool:
        """Claim as many as there are free hands; False where there was nothing to take or nobody free."""
        held = self.in_hand()
        free = self._workers - len(held)
        now, slow_s = time.monotonic(), self._intervals.slow_s
        caps = room(self._caps(), held, self._took, workers=self._workers, slow_s=slow_s, now=now)
        if free <= 0 or not caps:
            return False
        claims = self._queue.claim(
            self.owner, self._clock.now(), limit=free, lease_s=self._intervals.lease_s, stores=caps
        )  # fmt: skip
        busy = {claim.store for claim in claims} | {one.claim.store for one in held}
        for name in (caps.keys() & self._took.keys()) - busy:  # else slow stores without a request keep the others out
            self._took[name] = (now, self._took[name][1])
        for claim in claims:
            with self._changed:
                self._in_hand[claim.request, claim.fencing] = InHand(claim, time.monotonic())
            self._ready.put(claim)
        return bool(claims)

    def _work_on(self) -> None:
        while (claim := self._ready.get()) is not None:
            self._work(claim)

    def _work(self, claim: Claim) -> None:
        began = time.monotonic()
        try:
            with structlog.contextvars.bound_contextvars(
                store=claim.store, user=claim.clerk_user_id, request=f"{claim.fencing}", reason=claim.reason
            ):
                self._on_worked(self._worker.work(claim), time.monotonic() - began)
        except (LeaseLost, StateError) as error:
            _log.warning("reconcile_abandoned", store=claim.store, user=claim.clerk_user_id, error=error.message)
        except Exception:  # noqa: BLE001  the one loop that must go on: a defect in one look is not the end of all
            _log.exception("reconcile_crashed", store=claim.store, user=claim.clerk_user_id)
            self._put_back(claim)
        finally:
            self.worked += 1
            self.done_at = time.monotonic()
            self._took[claim.store] = (self.done_at, self.done_at - began)
            self._put_down(claim)

    def _put_down(self, claim: Claim) -> None:
        with self._changed:
            self._in_hand.pop((claim.request, claim.fencing), None)
            self._changed.notify_all()
        self._wake.set()

    def _put_back(self, claim: Claim) -> None:
        attempt = claim.attempts + 1
        pause_s = delay_s(attempt, fraction_of(claim.store, claim.clerk_user_id, attempt))
        try:
            self._queue.retry(claim, self._clock.now(), delay_s=pause_s, reason=claim.reason)
        except StateError as error:  # its lease runs out, and somebody takes it again
            _log.warning("requeue_failed", store=claim.store, user=claim.clerk_user_id, error=error.message)

    def _renew_on(self) -> None:
        while not self._stopped.wait(self._intervals.lease_s / 3):
            self.renewed_at = time.monotonic()
            claims = [held.claim for held in self.in_hand()]
            if not claims:
                continue
            try:
                lost = self._queue.renew(claims, self._clock.now(), lease_s=self._intervals.lease_s)
            except StateError as error:
                _log.warning("lease_renewal_failed", error=error.message, requests=len(claims))
                continue
            held_now = {held.claim.fencing for held in self.in_hand()}
            for claim in lost:
                if claim.fencing in held_now:  # else it was finished meanwhile
                    _log.warning("lease_lost", store=claim.store, user=claim.clerk_user_id)


def room(
    caps: Mapping[StoreName, int],
    held: tuple[InHand, ...],
    took: Mapping[StoreName, tuple[float, float]],
    *,
    workers: int,
    slow_s: float,
    now: float,
) -> dict[StoreName, int]:
    """How many requests of each store may be in hand now: slow stores have one worker each, and half of all together.

    A store is slow while one of its looks takes longer than `slow_s`, or the last one did: a shop that hangs costs the
    others no more than that. Of several slow ones those come first that waited longest.
    """
    given = dict(caps)
    if len(given) < 2:  # noqa: PLR2004  nobody is there to be hurt
        return given
    hanging = {h.claim.store for h in held if now - h.since > slow_s}
    slow = hanging | {name for name, (_, seconds) in took.items() if seconds > slow_s}
    busy = [h.claim.store for h in held if h.claim.store in slow]
    left = max(1, workers // 2) - len(busy)
    for name in sorted(slow & given.keys(), key=lambda n: took.get(n, (0.0, 0.0))[0]):
        if name in busy or left <= 0:
            given.pop(name)
        else:
            given[name] = 1
            left -= 1
    return given
