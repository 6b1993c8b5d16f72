"""`Scheduler`: runs scans of whole stores, probes, housekeeping and reloads on a schedule.

APScheduler runs them in daemon threads, so none delays the end of the process. It uses the wall clock; if that jumps, all
times are computed again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from reconciler.controller.scan.standing import CHANGES, FULL
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.errors import ReconcilerError
from reconciler.manager.intervals import Intervals
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.probes import Probes
from reconciler.manager.schedule.scans import Ended, ScheduledScans
from reconciler.manager.threads import DaemonExecutor
from reconciler.ports import Clock
from reconciler.settings import Settings

SCAN_THREADS = 6  # threads for scans: at most so many stores read the profiles at the same time
PROBE_THREADS = 2
JITTER = 0.1  # share of an interval, so that the stores' scans do not begin together
JUMP_S = 5.0  # difference between the wall clock and the monotonic clock
SAME_SCAN_S = 300.0  # a full scan that another replica began within this time counts as this one
ORPHANS_KEPT_S = 86_400.0  # requests of unknown stores: a replica with newer files may know them

_log = structlog.get_logger(__name__)


@frozen
class _OwedScan:
    """A full scan that must begin after `since` and end; it has not yet. `whole` as in scans.py."""

    since: datetime
    whole: bool
    pause_s: float
    due_at: float


class Scheduler:
    """The scheduled jobs of one process; `jobs` is APScheduler, with one job a store named `changes:STORE`."""

    def __init__(
        self,
        running: RunningConfig,
        settings: Settings,
        clock: Clock,
        local: Clock,
        scans: ScheduledScans,
        probes: Probes,
        *,
        read_files: Callable[[], None],
        read_pauses: Callable[[], None],
        advance_rollout: Callable[[], None],
        take_outbox: Callable[[], None],
        end_acceptances: Callable[[], None],
        sample_parity: Callable[[], None],
        notify: Callable[[], None],
        intervals: Intervals,
    ) -> None:
        self._running, self._settings, self._clock, self._local = running, settings, clock, local
        self._scans, self._probes, self._read_files, self._intervals = scans, probes, read_files, intervals
        self._read_pauses, self._take_outbox = read_pauses, take_outbox
        self._sample_parity, self._notify, self._end_acceptances = sample_parity, notify, end_acceptances
        self._advance_rollout = advance_rollout
        self._stores: set[StoreName] = set()
        self._owed: dict[StoreName, _OwedScan] = {}
        self._full: Counter[StoreName] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_clock, name="clock", daemon=True)
        self.beat_at = time.monotonic()
        self._executors = {
            "default": DaemonExecutor(SCAN_THREADS, "scan"),
            "probe": DaemonExecutor(PROBE_THREADS, "probe"),
            "small": DaemonExecutor(1, "small"),
            "leases": DaemonExecutor(1, "leases"),
            "outbox": DaemonExecutor(1, "outbox"),
            "notify": DaemonExecutor(1, "notify"),
            "beat": DaemonExecutor(1, "beat"),
        }
        self.jobs = BackgroundScheduler(
            timezone=UTC,
            executors=self._executors,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        r = self._intervals
        self._every(r.beat_s, self._beat, "beat", executor="beat")
        self._every(r.files_s, self._safely(self._read_files), "files", executor="small")
        self._every(r.files_s, self._safely(self._read_pauses), "pauses", executor="small")
        self._every(r.acceptances_s, self._safely(self._end_acceptances), "acceptances", executor="small")
        self._every(r.files_s, self._safely(self._advance_rollout), "rollout", executor="small")
        self._every(r.parity_s, self._safely(self._sample_parity), "parity", executor="small")
        if self._settings.notifications.url is not None:
            self._every(r.notify_s, self._safely(self._notify), "notify", executor="notify")
        self._every(r.outbox_s, self._safely(self._take_outbox), "outbox", executor="outbox")
        self._every(r.scan_lease_s / 4, self._safely(self._scans.renew), "leases", executor="leases")
        self._every(r.probe_every_s, self._safely(self.tick), "tick", executor="small")
        self._every(r.housekeeping_s, self._safely(self.housekeeping), "housekeeping", executor="small")
        cron = CronTrigger.from_crontab(self._settings.controller.full_resync_cron, timezone=UTC)
        self.jobs.add_job(self._safely(self.start_full_scans), cron, id=FULL, executor="small")
        self.follow(first=True)
        self.jobs.start()
        self._watch.start()

    def end(self) -> None:
        """Begin nothing more and return. Safe to repeat."""
        self._ended.set()
        if self.jobs.running:
            self.jobs.shutdown(wait=False)
        for executor in self._executors.values():
            executor.pool.shutdown(wait=False)

    def stop(self, until: float) -> None:
        """Begin nothing more, and wait for running jobs until this moment (monotonic). Safe to repeat."""
        self.end()
        left = [name for name, executor in self._executors.items() if not executor.pool.join(until)]
        if left:
            _log.warning("scans_abandoned", executors=left)

    def follow(self, *, first: bool = False) -> None:
        """Set up jobs for the configured stores and for no others; new stores get a full scan."""
        controller = self._settings.controller
        stores = {s.name for s in self._running.stores()}
        for name in self._stores - stores:
            if self.jobs.get_job(f"{CHANGES}:{name}"):
                self.jobs.remove_job(f"{CHANGES}:{name}")
            with self._lock:
                self._owed.pop(name, None)
        for name in sorted(stores - self._stores):
            self._every(
                controller.resync_s, self._safely(self.scan_changes), f"{CHANGES}:{name}", args=[name], jitter=True
            )
        self._scan_soon(*((name, self._clock.now(), not first) for name in sorted(stores - self._stores)))
        self._stores = stores

    def scan_soon(self, name: StoreName, since: datetime | None = None) -> None:
        """Scan this store fully as soon as possible: its config has changed, or its shop grants access again.

        `since`: unless a full scan that began since then has ended; None: since now.
        """
        self._scan_soon((name, since or self._clock.now(), True))

    def probe_soon(self, name: StoreName) -> None:
        """Probe the shop in a scheduler thread; the caller does not wait."""
        self.jobs.add_job(
            self._safely(self._probes.probe), args=[name], id=f"probe:{name}", replace_existing=True, executor="probe"
        )

    # --- jobs ------------------------------------------------------------------------------------------------------

    def scan_full(self, name: StoreName, since: datetime, whole: bool) -> None:  # noqa: FBT001  APScheduler's arguments
        """Run a full scan, unless one of another replica that began since then has ended."""
        ended: Ended = "failed"  # after any exception the scan stays owed
        try:
            ended = self._scans.scan_full(name, since=since, whole=whole)
        finally:
            self._note_end(name, ended, since, whole=whole)
            with self._lock:
                self._full[name] -= 1

    def has_full_resync(self, name: StoreName) -> bool:
        """Return whether a full scan of this store waits for a thread here, or runs."""
        with self._lock:
            return self._full[name] > 0

    def is_full_scan_owed(self, name: StoreName) -> bool:
        """Return whether a full scan of this store has not ended well and is due again."""
        with self._lock:
            return name in self._owed

    def start_full_scans(self) -> None:
        """Start the regular full scans. They are due on all replicas at the same time; one scan a store is enough."""
        since = self._clock.now() - timedelta(seconds=min(SAME_SCAN_S, self._full_interval_s() / 2))
        self._scan_soon(*((name, since, False) for name in sorted(s.name for s in self._running.stores())))

    def scan_changes(self, name: StoreName) -> None:
        if self.has_full_resync(name):  # a full scan finds the changes too, and holds them if they exceed a guard
            return
        ended: Ended = "failed"
        try:
            ended = self._scans.scan_changes(name)
        finally:
            if ended == "failed":
                self._retry_soon(name)

    def _retry_soon(self, name: StoreName) -> None:
        """Schedule the next incremental scan soon after a failed one, not an interval later."""
        job = self.jobs.get_job(f"{CHANGES}:{name}")
        at = datetime.now(UTC) + timedelta(seconds=self._intervals.again_first_s)  # noqa: TID251  APScheduler's own clock
        if job is not None and job.next_run_time is not None and at < job.next_run_time:
            job.modify(next_run_time=at)

    def tick(self) -> None:
        """Probe the stores that are due, and repeat full scans that failed."""
        for name in self._probes.due():
            self.probe_soon(name)
        now = time.monotonic()
        with self._lock:
            due = [
                (name, owed.since, owed.whole)
                for name, owed in self._owed.items()
                if now >= owed.due_at and not self._full[name]  # unless one waits for a thread already
            ]
        self._scan_soon(*due)

    def housekeeping(self) -> None:
        """Delete old budgets and events, and requests of stores that were removed long ago."""
        now = self._clock.now()
        known = {s.name for s in self._running.stores()}
        with self._running.components() as components:
            gone = components.state.housekeeping.tidy(now=now)
            orphans = set(components.queue.tally(now)) - known
            for name, age_s in components.queue.oldest_ages_s(now, orphans).items():
                if age_s > ORPHANS_KEPT_S:
                    gone["requests"] = gone.get("requests", 0) + components.queue.forget(name)
        _log.info("housekeeping_finished", **gone)

    def _note_end(self, name: StoreName, ended: Ended, since: datetime, *, whole: bool) -> None:
        """Keep a failed full scan owed, with growing pauses; a suspended store gets its own once it is resumed."""
        with self._lock:
            before = self._owed.get(name)
            if ended in {"done", "access", "left out"} or (ended == "elsewhere" and not whole):
                if before is not None and before.since <= since:
                    del self._owed[name]
                return
            pause_s = self._intervals.again_first_s
            if before is not None:
                since, whole = max(since, before.since), whole or before.whole
                pause_s = min(before.pause_s * 2, self._intervals.again_last_s) if ended == "failed" else pause_s
            self._owed[name] = _OwedScan(since, whole, pause_s, time.monotonic() + pause_s)

    # --- APScheduler -----------------------------------------------------------------------------------------------

    def _every(self, seconds: float, call: Callable[..., None], name: str, *, jitter: bool = False, **job: Any) -> None:
        self.jobs.add_job(call, _interval(seconds, jitter=jitter), id=name, **job)

    def _scan_soon(self, *scans: tuple[StoreName, datetime, bool]) -> None:
        """Run full scans as soon as a thread is free for each."""
        for scan in scans:
            with self._lock:
                self._full[scan[0]] += 1
            self.jobs.add_job(self._safely(self.scan_full), args=scan)

    def _safely(self, call: Callable[..., object]) -> Callable[..., None]:
        """Wrap a job: log our own errors; the job runs again at its next time."""

        def safe(*args: Any) -> None:
            try:
                call(*args)
            except ReconcilerError as error:
                _log.warning("job_failed", job=call.__name__, store=next(iter(args), None), error=error.message)

        return safe

    def _full_interval_s(self) -> float:
        """Return the seconds between two regular full scans."""
        cron = CronTrigger.from_crontab(self._settings.controller.full_resync_cron, timezone=UTC)
        one = cron.get_next_fire_time(None, self._local.now())
        two = cron.get_next_fire_time(one, one + timedelta(seconds=1)) if one else None
        return float((two - one).total_seconds()) if one and two else SAME_SCAN_S

    def _beat(self) -> None:
        self.beat_at = time.monotonic()

    def _watch_clock(self) -> None:
        """Reset all pauses after the wall clock jumped: set back by a day, no job would run for a day."""
        wall, steady = self._local.now(), time.monotonic()
        while not self._ended.wait(self._intervals.beat_s):
            now, tick = self._local.now(), time.monotonic()
            jumped_s = (now - wall).total_seconds() - (tick - steady)
            wall, steady = now, tick
            if abs(jumped_s) > JUMP_S:
                _log.warning("clock_jumped", seconds=round(jumped_s, 3))
                self._reset_pauses()

    def _reset_pauses(self) -> None:
        for job in self.jobs.get_jobs():
            trigger = job.trigger
            if isinstance(trigger, IntervalTrigger):
                trigger = _interval(trigger.interval_length, jitter=bool(trigger.jitter))
            if isinstance(trigger, IntervalTrigger | CronTrigger):
                self.jobs.reschedule_job(job.id, trigger=trigger)


def _interval(seconds: float, *, jitter: bool) -> IntervalTrigger:
    return IntervalTrigger(seconds=seconds, timezone=UTC, jitter=max(seconds * JITTER, 0.001) if jitter else None)
