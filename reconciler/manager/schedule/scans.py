"""`ScheduledScans`: runs scans of whole stores, each under a lease, and handles their errors.

scheduler.py decides when; controller/resync.py knows what a scan is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import structlog

from reconciler.controller.runs import record_run
from reconciler.controller.scan.incremental import incremental_resync
from reconciler.controller.scan.resync import ResyncContext, ResyncResult, full_resync
from reconciler.controller.scan.standing import CHANGES, FULL
from reconciler.core.model.act import Actor
from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import NewRun, RunCounts
from reconciler.errors import AccessError, ConfigError, PermanentError, SourceError, StateError, TemporaryError
from reconciler.manager.bulk_advice import BulkAdvice
from reconciler.manager.intervals import Intervals
from reconciler.manager.metrics import Metrics
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.failing import FailingStores
from reconciler.manager.schedule.probes import Probes
from reconciler.ports import Clock
from reconciler.settings import StoreSettings
from reconciler.wiring import Components

Ended = Literal["done", "stopped", "failed", "access", "elsewhere", "busy", "left out"]
SCHEDULE = Actor("run", "schedule")
LEASE = "look:"  # and the shop's key: who scans it
STOP_SEEN_S = 0.5
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Lease:
    name: str
    fence: int
    held: bool = True


class ScheduledScans:
    """Runs scans: any number of stores in parallel, one scan of a store at a time among all replicas."""

    def __init__(
        self,
        running: RunningConfig,
        clock: Clock,
        metrics: Metrics,
        probes: Probes,
        failing: FailingStores,
        *,
        owner: str,
        wake: Callable[[], None],
        stopping: Callable[[], bool],
        interval_s: float,
        intervals: Intervals,
    ) -> None:
        self._running, self._clock, self._metrics, self._probes = running, clock, metrics, probes
        self._failing = failing
        self._advice = BulkAdvice(running, clock)
        self._owner, self._wake, self._stopping = owner, wake, stopping
        self._interval_s, self._intervals = interval_s, intervals
        self._leases: dict[str, _Lease] = {}
        self._lock = threading.Lock()

    def scan_full(self, name: StoreName, *, since: datetime, whole: bool) -> Ended:
        """Scan the whole store, unless a full scan that began since then has ended.

        `whole`: a resumed scan is not enough, since its earlier part used another config.
        """
        ended = self._scan(name, FULL, full_resync, since)
        if ended == "elsewhere":  # the lease holder may run an incremental scan: the full scan is still due
            return ended if self._is_running(name, FULL) else "busy"
        return "stopped" if ended == "done" and whole and not self._done_since(name, FULL, since) else ended

    def scan_changes(self, name: StoreName) -> Ended:
        """Scan what changed in this store, unless another replica just did; an interrupted full scan comes first."""
        store = self._running.store(name)
        if store is None:
            return "left out"
        full = self._running.connections.state.scans.mark(store.shop, FULL)
        if full is not None and full.finished_at is None:
            return self._scan(name, FULL, full_resync, full.started_at)
        return self._scan(
            name, CHANGES, incremental_resync, self._clock.now() - timedelta(seconds=self._interval_s / 2)
        )

    def renew(self) -> None:
        """Renew the leases of running scans, however long one chunk takes; a lost lease stops its scan."""
        with self._lock:
            leases = [lease for lease in self._leases.values() if lease.held]
        for lease in leases:
            lease.held = self._running.connections.state.leases.renew(
                lease.name, self._owner, lease.fence, ttl_s=self._intervals.scan_lease_s, now=self._clock.now()
            )
            if not lease.held:
                _log.warning("scan_lease_lost", lease=lease.name)

    def _done_since(self, name: StoreName, kind: str, since: datetime) -> bool:
        store = self._running.store(name)
        if store is None:
            return False
        mark = self._running.connections.state.scans.mark(store.shop, kind)
        if mark is None or mark.finished_at is None:
            return False
        return since <= mark.started_at <= self._clock.now()  # a later time was written by a wrong clock

    def _is_running(self, name: StoreName, kind: str) -> bool:
        store = self._running.store(name)
        if store is None:
            return False
        mark = self._running.connections.state.scans.mark(store.shop, kind)
        return mark is not None and mark.finished_at is None

    def _scan(
        self, name: StoreName, kind: str, scan: Callable[[ResyncContext], ResyncResult], since: datetime
    ) -> Ended:
        began = time.monotonic()
        found = self._scan_under_lease(name, kind, scan, since)
        if not isinstance(found, ResyncResult):
            return found
        if found.held:
            _log.warning("guard_exceeded", store=name, scan=kind, held=found.held, hint="reconciler plan shows them")
        _log.info(
            "scan_finished", store=name, scan=kind, whole=found.whole, rows=found.looked_at, queued=found.queued,
            seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip
        self._wake()
        self._advice.check(name)
        if found.whole:
            self._failing.note_success(name, kind)
        ended: Ended = "done" if found.whole else "stopped"
        self._metrics.note_scan(name, kind, ended)
        return ended

    def _scan_under_lease(
        self, name: StoreName, kind: str, scan: Callable[[ResyncContext], ResyncResult], since: datetime
    ) -> ResyncResult | Ended:
        """Run the scan under the store's lease; return its result, or why it did not run (for one, it has ended since)."""
        store = self._running.store(name)
        if self._done_since(name, kind, since):
            return "done"
        if store is None or name in self._running.suspensions() or (store.paused and kind == CHANGES):
            return "left out"
        with self._running.components() as components:
            key = f"{LEASE}{store.shop}"
            fence = components.state.leases.acquire(
                key, self._owner, ttl_s=self._intervals.scan_lease_s, now=self._clock.now()
            )
            if fence is None:
                return "elsewhere"
            lease = _Lease(key, fence)
            with self._lock:
                if key in self._leases:  # another thread of this process scans it
                    return "elsewhere"
                self._leases[key] = lease
            try:
                if self._done_since(name, kind, since):  # by the previous holder of the lease
                    return "done"
                self._running.read_rollout()
                return self._run(components, self._running.store(name) or store, kind, scan, lease)
            finally:
                with self._lock:
                    del self._leases[key]
                components.state.leases.release_lease(key, self._owner, fence, now=self._clock.now())

    def _run(
        self,
        components: Components,
        store: StoreSettings,
        kind: str,
        scan: Callable[[ResyncContext], ResyncResult],
        lease: _Lease,
    ) -> ResyncResult | Ended:
        ended: Ended
        try:
            found = self._scan_as_run(components, store, kind, partial(scan, self._context(components, store, lease)))
        except (AccessError, ConfigError) as error:  # ConfigError: this store has no way to its token
            self._probes.suspend(store.name, error)
            ended = "access"
        except (SourceError, TemporaryError, PermanentError, StateError) as error:
            _log.warning("scan_failed", store=store.name, scan=kind, error=error.message, hint=error.hint)
            self._failing.note_failure(store.name, kind, error)
            ended = "failed"
        else:
            self._probes.note_access(store.name)
            return found
        self._metrics.note_scan(store.name, kind, ended)
        return ended

    def _scan_as_run(
        self, components: Components, store: StoreSettings, kind: str, scan: Callable[[], ResyncResult]
    ) -> ResyncResult:
        new_run = NewRun("full_resync" if kind == FULL else "resync", (store.name,), SCHEDULE, self._owner)
        with record_run(components.state.runs, new_run, self._clock) as run:
            found = scan()
            run.counts = RunCounts(
                users=found.looked_at,
                actions=found.actions,
                queued=found.queued,
                holds=sum((found.held or {}).values()),
            )
            run.outcome = "done" if found.whole else "stopped"
        return found

    def _context(self, components: Components, store: StoreSettings, lease: _Lease) -> ResyncContext:
        def go_on() -> bool:
            return lease.held and not self._stopping() and self._running.store(store.name) == store

        return ResyncContext(
            store=store,
            readers=components.readers(store, absence=components.absence),
            state=components.state.mappings,
            book=components.state.scans,
            queue=components.queue,
            clock=self._clock,
            go_on=go_on,
            interval_s=self._interval_s,
            mirror=components.mirror(store, wait=lambda seconds: _wait(seconds, go_on)),
            reread_policy=self._running.read_rollout,
        )


def _wait(seconds: float, go_on: Callable[[], bool]) -> bool:
    """Wait so long, or until the scan must stop; return whether it may continue."""
    until, never = time.monotonic() + seconds, threading.Event()
    while go_on() and (left := until - time.monotonic()) > 0:
        never.wait(min(left, STOP_SEEN_S))
    return go_on()
