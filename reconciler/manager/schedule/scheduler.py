"""What `run` does by the clock: looks at whole stores, probes of suspended ones, housekeeping, re-reading the files.

APScheduler runs it in threads of its own, none of which holds up the end of the process. It goes by the wall clock: where
that jumps, everything is timed anew.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from reconciler.controller.resync import CHANGES, FULL
from reconciler.core.model.ids import StoreName
from reconciler.errors import ReconcilerError
from reconciler.manager.intervals import Intervals
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.probes import Probes
from reconciler.manager.schedule.scans import Ended, ScheduledScans
from reconciler.manager.threads import DaemonExecutor
from reconciler.ports import Clock
from reconciler.settings import Settings

LOOKERS = 6  # threads that look at whole stores: so many stores at most read the profiles at the same time
PROBERS = 2
JITTER = 0.1  # of an interval, so that the stores' looks don't begin at one moment
JUMP_S = 5.0  # the wall clock against the steady one
SAME_TURN_S = 300.0  # a full look that another replica began so shortly before a turn is that turn's
ORPHANS_KEPT_S = 86_400.0  # requests of stores we don't know: a replica with newer files may have them

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Owed:
    """A full look that began since then and came to its end: not there yet. `whole` as in looks.py."""

    since: datetime
    whole: bool
    pause_s: float
    due_at: float


class Scheduler:
    """The clockwork of one process."""

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
        take_hints: Callable[[], None],
        intervals: Intervals,
    ) -> None:
        self._running, self._settings, self._clock, self._local = running, settings, clock, local
        self._scans, self._probes, self._read_files, self._intervals = scans, probes, read_files, intervals
        self._take_hints = take_hints
        self._stores: set[StoreName] = set()
        self._owed: dict[StoreName, _Owed] = {}
        self._full: Counter[StoreName] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_clock, name="clock", daemon=True)
        self.beat_at = time.monotonic()
        self._executors = {
            "default": DaemonExecutor(LOOKERS, "look"),
            "probe": DaemonExecutor(PROBERS, "probe"),
            "small": DaemonExecutor(1, "small"),
            "leases": DaemonExecutor(1, "leases"),
            "hints": DaemonExecutor(1, "hints"),
            "beat": DaemonExecutor(1, "beat"),
        }
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors=self._executors,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        r = self._intervals
        self._every(r.beat_s, self._beat, "beat", executor="beat")
        self._every(r.files_s, self._safely(self._read_files), "files", executor="small")
        self._every(r.hints_s, self._safely(self._take_hints), "hints", executor="hints")
        self._every(r.look_lease_s / 4, self._safely(self._scans.renew), "leases", executor="leases")
        self._every(r.probe_every_s, self._safely(self.tick), "tick", executor="small")
        self._every(r.housekeeping_s, self._safely(self.housekeeping), "housekeeping", executor="small")
        cron = CronTrigger.from_crontab(self._settings.controller.full_resync_cron, timezone=UTC)
        self._scheduler.add_job(self._safely(self.full_in_turn), cron, id=FULL, executor="small")
        self.follow(first=True)
        self._scheduler.start()
        self._watch.start()

    def end(self) -> None:
        """Begin nothing more; returns at once. Safe to repeat."""
        self._ended.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for executor in self._executors.values():
            executor.pool.shutdown(wait=False)

    def stop(self, until: float) -> None:
        """Begin nothing more, and wait for what goes on until this moment (monotonic). Safe to repeat."""
        self.end()
        left = [name for name, executor in self._executors.items() if not executor.pool.join(until)]
        if left:
            _log.warning("scans_abandoned", executors=left)

    def follow(self, *, first: bool = False) -> None:
        """Jobs for the stores that are configured now, and for no others; those that are new get a full look."""
        controller = self._settings.controller
        stores = {s.name for s in self._running.stores()}
        for name in self._stores - stores:
            if self._scheduler.get_job(f"{CHANGES}:{name}"):
                self._scheduler.remove_job(f"{CHANGES}:{name}")
            with self._lock:
                self._owed.pop(name, None)
        for name in sorted(stores - self._stores):
            self._every(controller.resync_s, self._safely(self.changes), f"{CHANGES}:{name}", args=[name], jitter=True)
        self._now(*((name, self._clock.now(), not first) for name in sorted(stores - self._stores)))
        self._stores = stores

    def look_now(self, name: StoreName) -> None:
        """A full look at this store as soon as may be: its config has changed, or its shop lets us in again."""
        self._now((name, self._clock.now(), True))

    def probe_soon(self, name: StoreName) -> None:
        """Ask the shop whether we may come in, in a thread of the clockwork: the caller does not wait."""
        self._scheduler.add_job(
            self._safely(self._probes.probe), args=[name], id=f"probe:{name}", replace_existing=True, executor="probe"
        )

    # --- what is done --------------------------------------------------------------------------------------------

    def full(self, name: StoreName, since: datetime, whole: bool) -> None:  # noqa: FBT001  APScheduler's arguments
        """A full look that begins now, unless another replica's that began since then has ended."""
        ended: Ended = "failed"  # whatever ends it, the look stays owed
        try:
            ended = self._scans.full(name, since=since, whole=whole)
        finally:
            self._settle(name, ended, since, whole=whole)
            with self._lock:
                self._full[name] -= 1

    def has_full_resync(self, name: StoreName) -> bool:
        """Whether a full look of this store waits for a thread here, or is under way."""
        with self._lock:
            return self._full[name] > 0

    def full_in_turn(self) -> None:
        """The regular ones: all replicas' turns come at one moment, and one look at each store is enough."""
        since = self._clock.now() - timedelta(seconds=min(SAME_TURN_S, self._turn_s() / 2))
        self._now(*((name, since, False) for name in sorted(s.name for s in self._running.stores())))

    def changes(self, name: StoreName) -> None:
        if self.has_full_resync(name):  # a full look sees what has changed, and holds what is too much of it
            return
        ended: Ended = "failed"
        try:
            ended = self._scans.changes(name)
        finally:
            if ended == "failed":
                self._again_soon(name)

    def _again_soon(self, name: StoreName) -> None:
        """The next look at what changed comes soon after one that failed, not an interval later."""
        job = self._scheduler.get_job(f"{CHANGES}:{name}")
        at = datetime.now(UTC) + timedelta(seconds=self._intervals.again_first_s)  # noqa: TID251  APScheduler's own clock
        if job is not None and job.next_run_time is not None and at < job.next_run_time:
            job.modify(next_run_time=at)

    def tick(self) -> None:
        """Probe whom it is time to probe, and take full looks again that failed."""
        for name in self._probes.due():
            self.probe_soon(name)
        now = time.monotonic()
        with self._lock:
            due = [
                (name, owed.since, owed.whole)
                for name, owed in self._owed.items()
                if now >= owed.due_at and not self._full[name]  # one that waits for a thread already is enough
            ]
        self._now(*due)

    def housekeeping(self) -> None:
        """Old budgets and old events go; requests of stores that have long been no more go too."""
        now = self._clock.now()
        known = {s.name for s in self._running.stores()}
        with self._running.components() as components:
            gone = components.state.tidy(now=now)
            for name in set(components.queue.tally(now)) - known:
                if components.queue.oldest_age_s(now, [name]) > ORPHANS_KEPT_S:
                    gone["requests"] = gone.get("requests", 0) + components.queue.forget(name)
        _log.info("housekeeping_finished", **gone)

    def _settle(self, name: StoreName, ended: Ended, since: datetime, *, whole: bool) -> None:
        """A full look that failed is owed, later and later; a store that is suspended gets its own once it is let in."""
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
            self._owed[name] = _Owed(since, whole, pause_s, time.monotonic() + pause_s)

    # --- the clockwork -------------------------------------------------------------------------------------------

    def _every(self, seconds: float, call: Callable[..., None], name: str, *, jitter: bool = False, **job: Any) -> None:
        self._scheduler.add_job(call, _interval(seconds, jitter=jitter), id=name, **job)

    def _now(self, *scans: tuple[StoreName, datetime, bool]) -> None:
        """Full looks as soon as a thread is free for each."""
        for look in scans:
            with self._lock:
                self._full[look[0]] += 1
            self._scheduler.add_job(self._safely(self.full), args=look)

    def _safely(self, call: Callable[..., None]) -> Callable[..., None]:
        """Our own errors in our own words; the next turn comes all the same."""

        def safe(*args: Any) -> None:
            try:
                call(*args)
            except ReconcilerError as error:
                _log.warning("job_failed", job=call.__name__, store=next(iter(args), None), error=error.message)

        return safe

    def _turn_s(self) -> float:
        """From this turn of the full looks to the next one."""
        cron = CronTrigger.from_crontab(self._settings.controller.full_resync_cron, timezone=UTC)
        one = cron.get_next_fire_time(None, self._local.now())
        two = cron.get_next_fire_time(one, one + timedelta(seconds=1)) if one else None
        return float((two - one).total_seconds()) if one and two else SAME_TURN_S

    def _beat(self) -> None:
        self.beat_at = time.monotonic()

    def _watch_clock(self) -> None:
        """Where the wall clock is set back by a day, nothing would happen for a day: begin all pauses anew."""
        wall, steady = self._local.now(), time.monotonic()
        while not self._ended.wait(self._intervals.beat_s):
            now, tick = self._local.now(), time.monotonic()
            jumped_s = (now - wall).total_seconds() - (tick - steady)
            wall, steady = now, tick
            if abs(jumped_s) > JUMP_S:
                _log.warning("clock_jumped", seconds=round(jumped_s, 3))
                self._time_anew()

    def _time_anew(self) -> None:
        for job in self._scheduler.get_jobs():
            trigger = job.trigger
            if isinstance(trigger, IntervalTrigger):
                trigger = _interval(trigger.interval_length, jitter=bool(trigger.jitter))
            if isinstance(trigger, IntervalTrigger | CronTrigger):
                self._scheduler.reschedule_job(job.id, trigger=trigger)


def _interval(seconds: float, *, jitter: bool) -> IntervalTrigger:
    return IntervalTrigger(seconds=seconds, timezone=UTC, jitter=max(seconds * JITTER, 0.001) if jitter else None)
