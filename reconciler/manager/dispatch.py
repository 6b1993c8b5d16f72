"""Takes claims off the queue and hands them to worker threads; keeps their leases; hands back what it can't finish.

One thread claims, one renews, the others work. Nothing here knows what a look is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from reconciler.controller.worker import Worked, Worker
from reconciler.core.backoff import delay_s, fraction_of
from reconciler.core.ids import StoreName
from reconciler.core.request import Claim, Request
from reconciler.errors import LeaseLost, StateError
from reconciler.ports import Clock, RequestQueue

LEASE_S = 30.0
POLL_S = 0.1  # how soon a nudge that another process wrote down is taken
IDLE_POLL_S = 0.5
AWAY_S = 2.0  # our own database can't be reached: the next try
STOP_S = 20.0  # how long work in hand may take to end on SIGTERM

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
        on_worked: Callable[[Worked, float], None],
        lease_s: float = LEASE_S,
    ) -> None:
        self.owner = owner
        self._queue, self._worker, self._clock = queue, worker, clock
        self._workers, self._caps, self._on_worked = workers, caps, on_worked
        self._lease_s = lease_s
        self._in_hand: dict[Request, InHand] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._threads = [
            threading.Thread(target=self._claim_on, name="dispatch", daemon=True),
            threading.Thread(target=self._renew_on, name="leases", daemon=True),
        ]
        self.beat_at = time.monotonic()
        self.done_at = time.monotonic()
        self.worked = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something was put in the queue: look now."""
        self._wake.set()

    def in_hand(self) -> tuple[InHand, ...]:
        with self._lock:
            return tuple(self._in_hand.values())

    def stop(self, grace_s: float = STOP_S) -> None:
        """Take nothing more, let what is in hand end, hand back the rest. Safe to repeat."""
        self._stopping.set()
        self._wake.set()
        deadline = time.monotonic() + grace_s
        self._threads[0].join(grace_s)
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting = list(self._in_hand.values())
        for held in waiting:
            while held.claim.request in self._in_hand and time.monotonic() < deadline:
                self._stopped.wait(0.02)
        with self._lock:
            left = [held.claim for held in self._in_hand.values()]
        if left:
            try:
                self._queue.release(left)
            except StateError as error:
                _log.warning("hand_back_failed", error=error.message, requests=len(left))
        self._stopped.set()

    # --- the threads ---------------------------------------------------------------------------------------------

    def _claim_on(self) -> None:
        while not self._stopping.is_set():
            self.beat_at = time.monotonic()
            self._wake.clear()
            try:
                taken = self._take()
            except StateError as error:
                _log.error("queue_unreachable", error=error.message, hint=error.hint)
                self._stopping.wait(AWAY_S)
                continue
            if not taken:
                self._wake.wait(POLL_S if self._in_hand else IDLE_POLL_S)

    def _take(self) -> bool:
        """Claim as many as there are free hands; False where there was nothing to take or nobody free."""
        with self._lock:
            free = self._workers - len(self._in_hand)
        if free <= 0:
            return False
        caps = self._caps()
        claims = self._queue.claim(self.owner, self._clock.now(), limit=free, lease_s=self._lease_s, stores=caps)
        for claim in claims:
            with self._lock:
                self._in_hand[claim.request] = InHand(claim, time.monotonic())
            self._pool.submit(self._work, claim)
        return bool(claims)

    def _work(self, claim: Claim) -> None:
        began = time.monotonic()
        try:
            with structlog.contextvars.bound_contextvars(
                store=claim.store, user=claim.clerk_user_id, request=f"{claim.fencing}", reason=claim.reason
            ):
                self._on_worked(self._worker.work(claim), time.monotonic() - began)
                self.done_at = time.monotonic()
                self.worked += 1
        except (LeaseLost, StateError) as error:
            _log.warning("look_ended", store=claim.store, user=claim.clerk_user_id, error=error.message)
        except Exception:  # noqa: BLE001  the one loop that must go on: a defect in one look is not the end of all
            _log.exception("look_broke", store=claim.store, user=claim.clerk_user_id)
            self._put_back(claim)
        finally:
            with self._lock:
                self._in_hand.pop(claim.request, None)
            self._wake.set()

    def _put_back(self, claim: Claim) -> None:
        attempt = claim.attempts + 1
        pause_s = delay_s(attempt, fraction_of(claim.store, claim.clerk_user_id, attempt))
        try:
            self._queue.retry(claim, self._clock.now(), delay_s=pause_s, reason=claim.reason)
        except StateError as error:  # its lease runs out, and somebody takes it again
            _log.warning("put_back_failed", store=claim.store, user=claim.clerk_user_id, error=error.message)

    def _renew_on(self) -> None:
        while not self._stopped.wait(self._lease_s / 3):
            claims = [held.claim for held in self.in_hand()]
            if not claims:
                continue
            try:
                lost = self._queue.renew(claims, self._clock.now(), lease_s=self._lease_s)
            except StateError as error:
                _log.warning("leases_not_renewed", error=error.message, requests=len(claims))
                continue
            for claim in lost:
                _log.warning("lease_lost", store=claim.store, user=claim.clerk_user_id)
