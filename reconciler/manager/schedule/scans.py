"""Looks at whole stores as one replica takes them: under a lease, so that each happens once, and with every error in place.

Knows no timetable (schedule.py does), and not what a look is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import structlog

from reconciler.controller.resync import CHANGES, FULL, ResyncContext, ResyncResult, full_resync, incremental_resync
from reconciler.core.model.ids import StoreName
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
LEASE = "look:"  # and the shop: who looks at the whole of it
STOP_SEEN_S = 0.5
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Lease:
    name: str
    fence: int
    held: bool = True


class ScheduledScans:
    """Takes looks; any number of stores side by side, one look of a store at a time among all replicas."""

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

    def full(self, name: StoreName, *, since: datetime, whole: bool) -> Ended:
        """Everything of this store, unless a full look that began since then has ended.

        `whole`: one that goes on where an earlier one stopped is not enough, since those before were seen otherwise.
        """
        ended = self._look(name, FULL, full_resync, since)
        if ended == "elsewhere":  # who looks at it may be at its changes: the full look is still to be taken
            return ended if self._is_under_way(name, FULL) else "busy"
        return "stopped" if ended == "done" and whole and not self._done_since(name, FULL, since) else ended

    def changes(self, name: StoreName) -> Ended:
        """What changed in this store, unless another replica has just looked; a full look that was broken off goes first."""
        store = self._running.store(name)
        if store is None:
            return "left out"
        with self._running.components() as components:
            full = components.state.mark(store.shop, FULL)
        if full is not None and full.finished_at is None:
            return self._look(name, FULL, full_resync, full.started_at)
        return self._look(
            name, CHANGES, incremental_resync, self._clock.now() - timedelta(seconds=self._interval_s / 2)
        )

    def renew(self) -> None:
        """Hold on to the leases of the looks that go on, however long one chunk takes; a lost one ends its look."""
        with self._lock:
            leases = [lease for lease in self._leases.values() if lease.held]
        for lease in leases:
            with self._running.components() as components:
                lease.held = components.state.renew(
                    lease.name, self._owner, lease.fence, ttl_s=self._intervals.look_lease_s, now=self._clock.now()
                )
            if not lease.held:
                _log.warning("scan_lease_lost", lease=lease.name)

    def _done_since(self, name: StoreName, kind: str, since: datetime) -> bool:
        store = self._running.store(name)
        if store is None:
            return False
        with self._running.components() as components:
            mark = components.state.mark(store.shop, kind)
        if mark is None or mark.finished_at is None:
            return False
        return since <= mark.started_at <= self._clock.now()  # a later one was written by a clock that was wrong

    def _is_under_way(self, name: StoreName, kind: str) -> bool:
        store = self._running.store(name)
        if store is None:
            return False
        with self._running.components() as components:
            mark = components.state.mark(store.shop, kind)
        return mark is not None and mark.finished_at is None

    def _look(
        self, name: StoreName, kind: str, look: Callable[[ResyncContext], ResyncResult], since: datetime
    ) -> Ended:
        began = time.monotonic()
        found = self._under_lease(name, kind, look, since)
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
            self._failing.succeeded(name, kind)
        ended: Ended = "done" if found.whole else "stopped"
        self._metrics.scanned(name, kind, ended)
        return ended

    def _under_lease(
        self, name: StoreName, kind: str, look: Callable[[ResyncContext], ResyncResult], since: datetime
    ) -> ResyncResult | Ended:
        """What the look found, while no other looks at the store; or why it was not done: an end since then, for one."""
        store = self._running.store(name)
        if self._done_since(name, kind, since):
            return "done"
        if store is None or name in self._running.suspended() or (store.paused and kind == CHANGES):
            return "left out"
        with self._running.components() as components:
            key = f"{LEASE}{store.shop}"
            fence = components.state.acquire(
                key, self._owner, ttl_s=self._intervals.look_lease_s, now=self._clock.now()
            )
            if fence is None:
                return "elsewhere"
            lease = _Lease(key, fence)
            with self._lock:
                if key in self._leases:  # another thread of ours looks at it right now
                    return "elsewhere"
                self._leases[key] = lease
            try:
                if self._done_since(name, kind, since):  # by whoever had the lease until now
                    return "done"
                return self._done(components, store, kind, look, lease)
            finally:
                with self._lock:
                    del self._leases[key]
                components.state.release_lease(key, self._owner, fence, now=self._clock.now())

    def _done(
        self,
        components: Components,
        store: StoreSettings,
        kind: str,
        look: Callable[[ResyncContext], ResyncResult],
        lease: _Lease,
    ) -> ResyncResult | Ended:
        ended: Ended
        try:
            found = look(self._desk(components, store, lease))
        except (AccessError, ConfigError) as error:  # ConfigError: of this store alone, a way to its token
            self._probes.refused(store.name, error)
            ended = "access"
        except (SourceError, TemporaryError, PermanentError, StateError) as error:
            _log.warning("scan_failed", store=store.name, scan=kind, error=error.message, hint=error.hint)
            self._failing.failed(store.name, kind, error)
            ended = "failed"
        else:
            self._probes.let_in(store.name)
            return found
        self._metrics.scanned(store.name, kind, ended)
        return ended

    def _desk(self, components: Components, store: StoreSettings, lease: _Lease) -> ResyncContext:
        def go_on() -> bool:
            return lease.held and not self._stopping() and self._running.store(store.name) == store

        return ResyncContext(
            store=store,
            readers=replace(components.readers(store), absence=components.absence),
            state=components.state,
            book=components.state,
            queue=components.queue,
            clock=self._clock,
            go_on=go_on,
            interval_s=self._interval_s,
            mirror=components.mirror(store, wait=lambda seconds: _waited(seconds, go_on)),
        )


def _waited(seconds: float, go_on: Callable[[], bool]) -> bool:
    """Wait so long, or until the look must stop; whether it may go on."""
    until, never = time.monotonic() + seconds, threading.Event()
    while go_on() and (left := until - time.monotonic()) > 0:
        never.wait(min(left, STOP_SEEN_S))
    return go_on()
