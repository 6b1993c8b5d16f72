"""What `run` does by the clock: looks at whole stores, probes of suspended ones, housekeeping, re-reading the files.

APScheduler runs it in threads of its own. With several replicas each look happens once: a lease says who takes it, and
the book of looks when it was taken last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, timedelta

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from reconciler.controller.resync import CHANGES, FULL, Desk, Looked, full_look, look_at_changes
from reconciler.core.ids import StoreName
from reconciler.errors import AccessError, PermanentError, SourceError, StateError, TemporaryError
from reconciler.manager.crew import Crew
from reconciler.manager.metrics import Metrics
from reconciler.ports import Clock, StoreFacts
from reconciler.settings import Settings, StoreSettings
from reconciler.wiring import House

BEAT_S = 2.0
SWEEP_LEASE_S = 60.0
PROBE_EVERY_S = 5.0
PROBE_FIRST_S = 10.0
PROBE_LAST_S = 3600.0
HOUSEKEEPING_S = 3600.0
FILES_S = 2.0
THREADS = 6
JITTER = 0.1  # of an interval, so that the stores' looks don't begin at one moment

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Probe:
    pause_s: float = PROBE_FIRST_S
    due_at: float = field(default_factory=lambda: time.monotonic() + PROBE_FIRST_S)


class Schedule:
    """The clockwork of one process."""

    def __init__(
        self,
        crew: Crew,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        *,
        owner: str,
        wake: Callable[[], None],
        read_files: Callable[[], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._crew, self._settings, self._clock, self._metrics = crew, settings, clock, metrics
        self._owner, self._wake, self._stopping = owner, wake, stopping
        self._read_files = read_files
        self._started_at = clock.now()
        self._probes: dict[StoreName, _Probe] = {}
        self._stores: set[StoreName] = set()
        self.beat_at = time.monotonic()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(THREADS), "beat": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        add = self._scheduler.add_job
        add(self._beat, "interval", seconds=BEAT_S, id="beat", executor="beat")
        add(self._read_files, "interval", seconds=FILES_S, id="files")
        add(self._probe_due, "interval", seconds=PROBE_EVERY_S, id="probes")
        add(self._housekeeping, "interval", seconds=HOUSEKEEPING_S, id="housekeeping")
        self.follow()
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def follow(self) -> None:
        """Jobs for the stores that are configured now, and for no others."""
        controller = self._settings.controller
        stores = {s.name for s in self._crew.stores()}
        for name in self._stores - stores:
            for kind in (FULL, CHANGES, "first"):
                if self._scheduler.get_job(f"{kind}:{name}"):
                    self._scheduler.remove_job(f"{kind}:{name}")
        cron = CronTrigger.from_crontab(controller.full_resync_cron, timezone=UTC)
        for name in sorted(stores - self._stores):
            self._scheduler.add_job(self._first, args=[name], id=f"first:{name}")
            self._scheduler.add_job(
                self._changes,
                "interval",
                seconds=controller.resync_s,
                jitter=max(controller.resync_s * JITTER, 0.001),
                args=[name],
                id=f"{CHANGES}:{name}",
            )
            self._scheduler.add_job(self._full, cron, args=[name], id=f"{FULL}:{name}")
        self._stores = stores

    def look_now(self, name: StoreName) -> None:
        """A full look at this store as soon as may be: its config has changed."""
        self._scheduler.add_job(self._full, args=[name], id=f"now:{name}", replace_existing=True)

    # --- looks at whole stores -----------------------------------------------------------------------------------

    def _first(self, name: StoreName) -> None:
        """At the start, everything, unless a replica that started later has begun since."""
        with self._crew.house() as house:
            store = self._crew.store(name)
            mark = house.state.mark(store.shop, FULL) if store else None
            if mark is not None and mark.finished_at is not None and mark.started_at >= self._started_at:
                return
        self._look(name, FULL, full_look)

    def _full(self, name: StoreName) -> None:
        self._look(name, FULL, full_look)

    def _changes(self, name: StoreName) -> None:
        with self._crew.house() as house:
            store = self._crew.store(name)
            mark = house.state.mark(store.shop, CHANGES) if store else None
        recent = self._clock.now() - timedelta(seconds=self._settings.controller.resync_s / 2)
        if mark is not None and mark.finished_at is not None and mark.started_at > recent:
            return  # another replica has just looked
        self._look(name, CHANGES, look_at_changes)

    def _look(self, name: StoreName, kind: str, look: Callable[[Desk], Looked]) -> None:
        store = self._crew.store(name)
        if store is None or name in self._crew.suspended() or (store.paused and kind == CHANGES):
            return
        with self._crew.house() as house:
            lease = f"look:{store.shop}"
            fence = house.state.acquire(lease, self._owner, ttl_s=SWEEP_LEASE_S, now=self._clock.now())
            if fence is None:
                return  # somebody looks at it right now
            try:
                self._looked(house, store, kind, look, lease, fence)
            finally:
                house.state.release_lease(lease, self._owner, fence, now=self._clock.now())

    def _looked(
        self, house: House, store: StoreSettings, kind: str, look: Callable[[Desk], Looked], lease: str, fence: int
    ) -> None:
        renewed_at = time.monotonic()

        def go_on() -> bool:
            nonlocal renewed_at
            if self._stopping():
                return False
            if time.monotonic() - renewed_at > SWEEP_LEASE_S / 4:
                renewed_at = time.monotonic()
                return house.state.renew(lease, self._owner, fence, ttl_s=SWEEP_LEASE_S, now=self._clock.now())
            return True

        desk = Desk(
            store=store,
            readers=house.readers(store),
            state=house.state,
            book=house.state,
            queue=house.queue,
            clock=self._clock,
            go_on=go_on,
            interval_s=self._settings.controller.resync_s,
        )
        began = time.monotonic()
        try:
            found = look(desk)
        except AccessError as error:
            self.refused(store.name, error)
            self._metrics.swept(store.name, kind, "access")
            return
        except (SourceError, TemporaryError, PermanentError, StateError) as error:
            _log.warning("look_failed", store=store.name, look=kind, error=error.message, hint=error.hint)
            self._metrics.swept(store.name, kind, "failed")
            return
        self._metrics.swept(store.name, kind, "done" if found.whole else "stopped")
        seconds = round(time.monotonic() - began, 3)
        _log.info(
            "looked", store=store.name, look=kind, whole=found.whole, rows=found.looked_at, queued=found.queued,
            held=found.held or None, seconds=seconds,
        )  # fmt: skip
        self._wake()

    # --- suspended stores ----------------------------------------------------------------------------------------

    def refused(self, name: StoreName, error: AccessError) -> None:
        """A store's access was refused: leave it alone, say so, and probe with growing pauses."""
        if not self._crew.suspend(name, error.message):
            return
        self._probes[name] = _Probe()
        _log.error("store_suspended", store=name, error=error.message, hint=error.hint)
        self._remember(name, error.message)

    def probe(self, name: StoreName) -> None:
        """Ask the shop now whether we may still come in."""
        with self._crew.house() as house:
            store = self._crew.store(name)
            if store is None:
                return
            try:
                house.setup(store).facts()
            except AccessError as error:
                self.refused(name, error)
                return
            except (TemporaryError, PermanentError) as error:
                _log.info("probe_failed", store=name, error=error.message)
                return
        if self._crew.resume(name):
            self._probes.pop(name, None)
            self._remember(name, None)
            _log.info("store_resumed", store=name)
            self._wake()
            self.look_now(name)

    def probe_soon(self, name: StoreName) -> None:
        """The same, in a thread of the clockwork: the caller does not wait."""
        self._scheduler.add_job(self.probe, args=[name], id=f"probe:{name}", replace_existing=True)

    def _probe_due(self) -> None:
        for name in list(self._crew.suspended()):
            probe = self._probes.setdefault(name, _Probe())
            if time.monotonic() < probe.due_at:
                continue
            probe.pause_s = min(probe.pause_s * 2, PROBE_LAST_S)
            probe.due_at = time.monotonic() + probe.pause_s
            self.probe(name)

    def _remember(self, name: StoreName, why: str | None) -> None:
        store = self._crew.store(name)
        if store is None:
            return
        with self._crew.house() as house:
            before = house.state.facts(store.shop)
            house.state.put_facts(
                StoreFacts(
                    store.name,
                    store.shop,
                    profiles=before.profiles if before else None,
                    last_sweep_at=before.last_sweep_at if before else None,
                    suspended_at=self._clock.now() if why else None,
                    suspended_reason=why,
                )
            )

    # --- the rest ------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self.beat_at = time.monotonic()

    def _housekeeping(self) -> None:
        """Old budgets and old events go; requests of stores that are no more go too."""
        with self._crew.house() as house:
            gone = house.state.tidy(now=self._clock.now())
            known = {s.name for s in self._crew.stores()}
            for name in set(house.queue.tally(self._clock.now())) - known:
                gone["requests"] = gone.get("requests", 0) + house.queue.forget(name)
        _log.info("tidied", **gone)
