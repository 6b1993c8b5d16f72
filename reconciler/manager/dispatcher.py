"""`Dispatcher`: claims requests, passes them to worker threads, renews their leases, and returns what is unfinished.

One thread claims, one renews, the others reconcile. This module does not know what a reconcile is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from queue import Empty

import structlog

from reconciler.controller.step import ReconcileResult
from reconciler.controller.worker import Worker
from reconciler.core.model.backoff import delay_s, fraction_of
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Claim, Request
from reconciler.errors import LeaseLost, StateError
from reconciler.manager.intervals import Intervals
from reconciler.manager.shutdown import run_within
from reconciler.ports import Clock, RequestQueue
from reconciler.ports.threads import THREADS, Threads

Caps = Callable[[], Mapping[StoreName, int]]
_log = structlog.get_logger(__name__)


@frozen
class InProgress:
    """One claim in progress, and since when (monotonic seconds)."""

    claim: Claim
    since: float


class Dispatcher:
    """Worker threads on one queue. `caps` returns the stores to claim for, and the limit of requests for each."""

    def __init__(
        self,
        queue: RequestQueue,
        worker: Worker,
        clock: Clock,
        *,
        owner: str,
        workers: int,
        caps: Caps,
        on_worked: Callable[[Claim, ReconcileResult, float], None],
        intervals: Intervals,
        threads: Threads = THREADS,
    ) -> None:
        self.owner = owner
        self._queue, self._worker, self._clock = queue, worker, clock
        self._workers, self._caps, self._on_worked = workers, caps, on_worked
        self._intervals = intervals
        # The fencing token is part of the key: after an outage this process may claim again a request with an expired lease.
        self._in_progress: dict[tuple[Request, int], InProgress] = {}
        self._durations: dict[StoreName, tuple[float, float]] = {}  # end and seconds of the last reconcile
        self._changed = threads.condition()  # guards what is in progress
        self._ready = threads.queue(Claim)
        self._wake, self._stopping, self._stopped = threads.event(), threads.event(), threads.event()
        self._claiming = threads.thread(self._claim_loop, "dispatch")
        self._threads = [
            self._claiming,
            threads.thread(self._renew_loop, "leases"),
            *(threads.thread(self._work_loop, f"worker-{n}") for n in range(workers)),
        ]
        self._steady_s = threads.steady_s
        self.beat_at = self.renewed_at = self.done_at = self._steady_s()
        self.worked = 0

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Claim now: a request was added to the queue."""
        self._wake.set()

    def in_progress(self) -> tuple[InProgress, ...]:
        with self._changed:
            return tuple(self._in_progress.values())

    def dead_threads(self) -> list[str]:
        """Return the names of threads that should run and do not."""
        if self._stopping.is_set():
            return []
        return [thread.name for thread in self._threads if not thread.is_alive()]

    def stop(self, grace_s: float | None = None) -> None:
        """Claim nothing more, wait for what is in progress, return the rest. Safe to repeat, and before `start`."""
        deadline = self._steady_s() + (self._intervals.grace_s if grace_s is None else grace_s)
        self._stopping.set()
        self._wake.set()
        if self._claiming.ident is not None:
            self._claiming.join(max(0.0, deadline - self._steady_s()))
        self._return(self._drop_waiting())
        for _ in range(self._workers):
            self._ready.put(None)
        with self._changed:
            self._changed.wait_for(lambda: not self._in_progress, max(0.0, deadline - self._steady_s()))
        self._return([held.claim for held in self.in_progress()])
        self._stopped.set()

    def _drop_waiting(self) -> list[Claim]:
        """Remove the claims that no worker has begun, and return them."""
        found: list[Claim] = []
        while True:
            try:
                claim = self._ready.get_nowait()
            except Empty:
                break
            if claim is not None:
                found.append(claim)
                self._finish(claim)
        return found

    def _return(self, claims: list[Claim]) -> None:
        """Return claims to the queue. Later writes of their workers are fenced; other replicas may claim them."""
        if claims and not run_within(self._intervals.step_s, lambda: self._release(claims), "return-requests"):
            _log.warning("requests_return_failed", error="the state does not answer", requests=len(claims))

    def _release(self, claims: list[Claim]) -> None:
        try:
            self._queue.release(claims)
        except StateError as error:
            _log.warning("requests_return_failed", error=error.message, requests=len(claims))
        else:
            _log.info("requests_returned", requests=len(claims))

    # --- the threads ---------------------------------------------------------------------------------------------

    def _claim_loop(self) -> None:
        while not self._stopping.is_set():
            self.beat_at = self._steady_s()
            self._wake.clear()
            try:
                taken = self._claim_some()
            except StateError as error:
                _log.error("claim_failed", error=error.message, hint=error.hint)
                self._stopping.wait(self._intervals.away_s)
                continue
            if not taken:
                self._wake.wait(self._intervals.poll_s if self._in_progress else self._intervals.idle_poll_s)

    def _claim_some(self) -> bool:
        """Claim a request for each free worker; return whether there may be more for the rest of them now.

        Fewer than free workers: no more are due of these stores, and to ask again would take time from those that begin.
        What is added or finished meanwhile wakes the loop. Slow stores that had to let others go first are asked next.
        """
        asked: set[StoreName] = set()
        while True:
            held = self.in_progress()
            free = self._workers - len(held)
            if free <= 0:
                return False
            caps = self._caps_now(held)
            caps = {name: cap for name, cap in caps.items() if name not in asked}
            if not caps:
                return False
            if self._claim_of(caps, free, held) == free:
                return True
            asked |= caps.keys()

    def _caps_now(self, held: tuple[InProgress, ...]) -> dict[StoreName, int]:
        now, slow_s = self._steady_s(), self._intervals.slow_s
        took = dict(self._durations)  # a copy: workers add stores meanwhile
        return effective_caps(self._caps(), held, took, workers=self._workers, slow_s=slow_s, now=now)

    def _claim_of(self, caps: Mapping[StoreName, int], free: int, held: tuple[InProgress, ...]) -> int:
        """Claim requests of these stores, and return how many."""
        now, lease_s = self._clock.now(), self._intervals.lease_s
        claims = self._queue.claim(self.owner, now, limit=free, lease_s=lease_s, stores=caps)
        busy = {claim.store for claim in claims} | {one.claim.store for one in held}
        for name in (caps.keys() & self._durations.keys()) - busy:  # otherwise idle slow stores would block the others
            self._durations[name] = (self._steady_s(), self._durations[name][1])
        for claim in claims:
            with self._changed:
                self._in_progress[claim.request, claim.fencing] = InProgress(claim, self._steady_s())
            self._ready.put(claim)
        return len(claims)

    def _work_loop(self) -> None:
        while (claim := self._ready.get()) is not None:
            self.work(claim)

    def work(self, claim: Claim) -> None:
        began = self._steady_s()
        try:
            with structlog.contextvars.bound_contextvars(
                store=claim.store, user=claim.clerk_user_id, request=f"{claim.fencing}", reason=claim.reason
            ):
                self._on_worked(claim, self._worker.work(claim), self._steady_s() - began)
        except (LeaseLost, StateError) as error:
            _log.warning("reconcile_abandoned", store=claim.store, user=claim.clerk_user_id, error=error.message)
        except Exception:  # noqa: BLE001  the worker's loop must continue after a defect in one reconcile
            _log.exception("reconcile_crashed", store=claim.store, user=claim.clerk_user_id)
            self._requeue(claim)
        finally:
            self.worked += 1
            self.done_at = self._steady_s()
            self._durations[claim.store] = (self.done_at, self.done_at - began)
            self._finish(claim)

    def _finish(self, claim: Claim) -> None:
        with self._changed:
            self._in_progress.pop((claim.request, claim.fencing), None)
            self._changed.notify_all()
        self._wake.set()

    def _requeue(self, claim: Claim) -> None:
        attempt = claim.attempts + 1
        pause_s = delay_s(attempt, fraction_of(claim.store, claim.clerk_user_id, attempt))
        try:
            self._queue.retry(claim, self._clock.now(), delay_s=pause_s, reason=claim.reason)
        except StateError as error:  # its lease expires, and a replica claims it again
            _log.warning("requeue_failed", store=claim.store, user=claim.clerk_user_id, error=error.message)

    def _renew_loop(self) -> None:
        missed = frozenset[int]()  # not renewed the last time; just done or lost
        while not self._stopped.wait(self._intervals.lease_s / 3):
            self.renewed_at = self._steady_s()
            claims = [held.claim for held in self.in_progress()]
            if not claims:
                continue
            try:
                lost = self._queue.renew(claims, self._clock.now(), lease_s=self._intervals.lease_s)
            except StateError as error:
                _log.warning("lease_renewal_failed", error=error.message, requests=len(claims))
                continue
            for claim in lost:
                if claim.fencing in missed:  # otherwise it may have been finished at this moment
                    _log.warning("lease_lost", store=claim.store, user=claim.clerk_user_id)
            missed = frozenset(claim.fencing for claim in lost)


def effective_caps(
    caps: Mapping[StoreName, int],
    held: tuple[InProgress, ...],
    durations: Mapping[StoreName, tuple[float, float]],
    *,
    workers: int,
    slow_s: float,
    now: float,
) -> dict[StoreName, int]:
    """Return how many requests of each store may be in progress: slow stores get one each, and half of the workers together.

    A store is slow while one of its reconciles takes longer than `slow_s`, or the last one did, so a hanging shop costs
    the others no more than that. Of several slow stores, those that waited longest come first.
    """
    given = dict(caps)
    if len(given) < 2:  # noqa: PLR2004  there is no other store to protect
        return given
    hanging = {h.claim.store for h in held if now - h.since > slow_s}
    slow = hanging | {name for name, (_, seconds) in durations.items() if seconds > slow_s}
    busy = [h.claim.store for h in held if h.claim.store in slow]
    left = max(1, workers // 2) - len(busy)
    for name in sorted(slow & given.keys(), key=lambda n: (durations.get(n, (0.0, 0.0))[0], n)):
        if name in busy or left <= 0:
            given.pop(name)
        else:
            given[name] = 1
            left -= 1
    return given
