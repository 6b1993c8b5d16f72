"""`run`: starts all parts in order, watches them, and stops them in order. The only module that names all parts."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import structlog

from reconciler.controller.profile_rows.writer import RowDone
from reconciler.controller.step import ReconcileResult
from reconciler.controller.worker import Worker
from reconciler.core.decide.shop_identity import KnownShop
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Claim
from reconciler.core.report.status import Replica
from reconciler.errors import AccessError, ConfigError, StateError
from reconciler.manager.config_files import FollowedFiles, listed, needs_restart, removals, without_restart
from reconciler.manager.dispatcher import Dispatcher
from reconciler.manager.http.senders import Shops, sources_of, tokens_of, webhooks_of
from reconciler.manager.http.service import ManagerService
from reconciler.manager.http.state_probe import StateProbe
from reconciler.manager.http.status_rows import status_rows_of
from reconciler.manager.intervals import Intervals
from reconciler.manager.metrics import GaugeValues, Metrics
from reconciler.manager.profile_writer import row_writer
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.acceptances import EndedAcceptances
from reconciler.manager.schedule.failing import FailingStores
from reconciler.manager.schedule.notifications import Notifier
from reconciler.manager.schedule.nudged import NudgedStores
from reconciler.manager.schedule.outbox import OutboxNudges
from reconciler.manager.schedule.parity import ParitySampler
from reconciler.manager.schedule.probes import Probes
from reconciler.manager.schedule.rollouts import RolloutFollower
from reconciler.manager.schedule.scans import LEASE, ScheduledScans
from reconciler.manager.schedule.scheduler import Scheduler
from reconciler.manager.shutdown import run_within
from reconciler.manager.webhook_state import WebhookState
from reconciler.server.app import Options, make_app
from reconciler.server.starting import StartupServer
from reconciler.server.tokens import AccessTokens
from reconciler.settings import Loaded
from reconciler.state.database.controller_lock import lock_controller
from reconciler.state.requests.queue import new_owner
from reconciler.wiring import Components

_log = structlog.get_logger(__name__)


@frozen
class SettingsFiles:
    """The files that `run` follows, and the function that reads them."""

    paths: tuple[Path, ...]
    read: Callable[[], Loaded]
    digest: str | None = None
    """The digest on disk just before the settings were read; None: the present one."""


class Manager:
    """One replica. Call `start`, then `wait` until a call of `stop` (by a signal), then `close`.

    Its parts are public: what runs (`running`), the dispatcher, the schedule, the scans, the service and the HTTP server.
    """

    def __init__(
        self,
        components: Components,
        files: SettingsFiles,
        *,
        host: str | None = None,
        port: int | None = None,
        intervals: Intervals | None = None,
        startup_server: StartupServer | None = None,
    ) -> None:
        """`startup_server`: an open port to serve on; otherwise `host` and `port`, or those of the settings."""
        settings = components.loaded.settings
        self._connections = connections = components.connections
        self._controller_lock = lock_controller(connections.engine)
        self._files = files
        self._on_disk = FollowedFiles(files.paths, running=files.digest)
        self._config_problem: str | None = None
        self._recorded_at = float("-inf")
        self._settings = settings
        self._intervals = intervals = intervals or Intervals()
        self._ending = False
        # A queue, since a signal handler may interrupt `put` itself: an Event set there can deadlock.
        self._commands: SimpleQueue[Literal["end", "reload"]] = SimpleQueue()
        self._reload_lock = threading.Lock()
        workers = settings.controller.workers
        self._clock = connections.state_clock
        self._metrics = Metrics(workers)
        self._metrics.follow(s.name for s in components.configured_stores())
        self.running = RunningConfig(
            components, workers=workers, on_trouble=lambda message: _log.warning("clerk_check_failed", error=message)
        )
        self.owner = new_owner()
        worker = Worker(
            self.running,
            connections.queue,
            connections.state.budgets,
            self._clock,
            self._note_refused,
            intervals.pauses,
        )
        self.dispatcher = Dispatcher(
            connections.queue,
            worker,
            self._clock,
            owner=self.owner,
            workers=workers,
            caps=self.running.caps,
            on_worked=self._note_worked,
            intervals=intervals,
        )
        self._probes = Probes(self.running, self._clock, intervals, resumed=self._note_resumed)
        self._failing = FailingStores(self.running, self._clock)
        self.scans = ScheduledScans(
            self.running,
            self._clock,
            self._metrics,
            self._probes,
            self._failing,
            owner=self.owner,
            wake=self.dispatcher.wake,
            stopping=lambda: self._ending,
            interval_s=settings.controller.resync_s,
            intervals=intervals,
        )
        self._outbox = OutboxNudges(
            connections.queue, settings, self.running, self._clock, self._metrics, self.dispatcher.wake
        )
        self._rollouts = RolloutFollower(self.running, lambda: self.schedule, self._on_disk, self.owner, intervals)
        self.schedule = Scheduler(
            self.running,
            settings,
            self._clock,
            connections.clock,
            self.scans,
            self._probes,
            read_files=self._follow_files,
            read_pauses=self._follow_acts,
            advance_rollout=self._rollouts.follow,
            take_outbox=self._outbox.take,
            end_acceptances=EndedAcceptances(self.running, self._clock, self.dispatcher.wake).end,
            sample_parity=ParitySampler(self.running, self._clock).sample,
            notify=Notifier(self.running, connections.notifications, self._clock).notify,
            intervals=intervals,
        )
        self._nudged = NudgedStores(self.running, self._clock, self.schedule.scan_soon)
        self._metrics.read_at_scrape(self._gauges)
        self._webhook_state = WebhookState(settings, connections, wait_s=intervals.webhook_wait_s)
        self._state_probe = StateProbe(self._state_problems, why=self._webhook_state.refusal)
        self._rows = row_writer(settings, connections, self._webhook_state, self._clock, intervals, self._note_row)
        self.service = ManagerService(
            self.running,
            self._webhook_state,
            self._clock,
            self._metrics,
            readiness=self.readiness,
            wake=self.dispatcher.wake,
            probe_soon=self.schedule.probe_soon,
            probe=self._probes.probe,
            follow_acts=self._follow_acts,
            owner=self.owner,
            rows=self._rows,
            config_problem=lambda: self._config_problem,
            follow_rollout=self._rollouts.follow,
        )
        server = settings.server
        self._tokens = AccessTokens(tokens_of(components.loaded))
        self.http_server = startup_server or StartupServer(host or server.host, server.port if port is None else port)
        self._shops = Shops(components.shop_keys.stores, ())  # the state's names of shops: `start`
        sources = sources_of(components.loaded, self._shops)
        self._clerk = sources.clerk
        options = Options(
            sources=sources,
            clock=self._clock,
            host=self.http_server.host,
            tokens=self._tokens,
        )
        self._app = make_app(self.service, options)

    @property
    def url(self) -> str:
        """The server's URL on this machine."""
        return self.http_server.url

    def start(self) -> None:
        """Check the preconditions, then start all parts. Raises the errors that `doctor` reports."""
        _ = self._connections.profiles, self._connections.clerk
        if self._settings.clerk.upsert_profiles:
            _ = self._connections.upserts
        self.running.read_pauses()
        self._nudged.follow()
        self.running.begin_rollouts()
        self._shops.follow(self.running.stores(), self._connections.state.shops.known_shops())
        self._take_over()
        self._since = self._clock.now()
        self._record_replica()
        if self._rows is not None:
            self._rows.start()
        self.http_server.open(self._app)
        self.http_server.start()
        self.dispatcher.start()
        self.schedule.start()
        self._suspend_unidentified()
        _log.info(
            "started", owner=self.owner, url=self.url, stores=len(self.running.stores()),
            workers=self._settings.controller.workers,
        )  # fmt: skip

    def _take_over(self) -> None:
        """Take over requests and scans of ended processes without waiting for leases; on SQLite all earlier ones.

        If the state can't be written, as on a full disk, the start continues: the leases expire by themselves.
        """
        alone = self._controller_lock is not None
        try:
            requests = self._connections.queue.take_back(self._clock.now(), alone=alone)
            scans = self._connections.state.leases.take_back_leases(LEASE, now=self._clock.now()) if alone else 0
        except StateError as error:
            _log.warning("takeover_failed", error=error.message, hint=error.hint)
            return
        if requests or scans:
            _log.info("requests_taken_over", requests=requests, scans=scans)

    def wait(self) -> None:
        """Block until `stop`; reload the files on request meanwhile."""
        while not self._ending and self._commands.get() != "end":
            self.reload()

    def reload_soon(self) -> None:
        """Request a reload of the files and return. Safe in a signal handler."""
        self._commands.put("reload")

    def stop(self) -> None:
        """Request the end and return. Safe in a signal handler, and to repeat."""
        self._ending = True
        self._commands.put("end")

    def close(self) -> None:
        """Claim nothing more, finish work in progress, return the rest to the queue, close all parts. Each step is bounded.

        Webhooks are accepted until the end: their requests are stored for another replica or the next start.
        """
        self._ending = True
        until = time.monotonic() + self._intervals.grace_s
        _log.info("stop_requested", in_progress=len(self.dispatcher.in_progress()))
        self.schedule.end()
        self.dispatcher.stop(self._intervals.grace_s)
        self.schedule.stop(until)
        if self._rows is not None:
            self._rows.stop(until)
        for name, step in (
            ("outbox", self._outbox.close),
            ("replica", self._forget_replica),
            ("http", self.http_server.stop),
            ("state probe", self._state_probe.close),
            ("webhook state", self._webhook_state.close),
            ("shops", self.running.close),
        ):
            if not run_within(self._intervals.step_s, step, name):
                _log.warning("stop_step_abandoned", step=name, seconds=self._intervals.step_s)
        if self._controller_lock is not None:
            self._controller_lock.release()
        _log.info("stopped", worked=self.dispatcher.worked)

    def reload(self, *, settled_s: float = math.inf) -> None:
        """Read both files and apply them. A faulty edit is refused with an error, and the running config stays.

        `settled_s`: for how many seconds they have not changed; a removal is applied only after a while.
        """
        with self._reload_lock:
            if math.isinf(settled_s):
                self._on_disk.check()
            try:
                read = self._files.read()
                loaded = without_restart(self._settings, read)
                webhooks_of(loaded.stores, ())
                clerk = sources_of(loaded, self._shops).clerk
            except ConfigError as error:
                self._refuse_config(error)
                return
            if not self._on_disk.is_unchanged():
                return  # changed while it was read: the next check applies it, or the one after
            with self.running.components() as components:
                before = {s.name: s for s in components.loaded.stores}
                is_taken = components.loaded == loaded
            if is_taken and loaded.settings != read.settings:
                self._refuse_config(needs_restart())
                return
            removed = removals(before.values(), loaded.stores)
            if removed and settled_s < self._intervals.removal_settles_s:
                self._note_problem(f"it no longer has {listed(removed)}: applied once it stays unchanged for a while")
                return
            former = self.running.stores()
            known = self._replace(loaded, removed)
            if known is None:
                return
            self._settings, self._recorded_at = loaded.settings, float("-inf")  # other replicas see these files soon
            self._rollouts.note_load()
            if self._clerk is not None and clerk is not None:
                self._clerk.follow(clerk)
            self._shops.follow(self.running.stores(), known)
            self._tokens.follow(tokens_of(loaded))
            self._metrics.note_reload("taken")
            if loaded.settings == read.settings:
                self._on_disk.mark_running()
                self._note_problem(None)
            else:  # one part is applied, the other needs a restart
                self._refuse_config(needs_restart())
            now = {s.name: s for s in loaded.stores}
            self._metrics.follow(now)
            changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
            gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
            _log.info("config_loaded", stores=len(now), changed=changed, new=new, gone=gone)
            self._follow(changed, gone, self.running.due_since(former))

    def _replace(self, loaded: Loaded, removed: Mapping[str, Sequence[str]]) -> Sequence[KnownShop] | None:
        """Use these files from now on, and return the shops that the state knows; None if they are refused for now."""
        try:
            with self.running.components() as components:
                if removed:
                    mapped = {s.name: components.state.mappings.count(s.shop) for s in components.stores(removed)}
                    _log.warning("config_removal", removed=removed, mapped=mapped)
                known = components.state.shops.known_shops()
            self.running.replace(Components(loaded, self._connections))
        except StateError as error:
            self._note_problem(f"it is applied once the state answers: {error.message}")
            return None
        except ConfigError as error:
            self._refuse_config(error)
            return None
        return known

    def _refuse_config(self, error: ConfigError) -> None:
        """Log and count a refused file once, however often it is read."""
        problem = f"refused: {error.message}"
        if problem != self._config_problem:
            self._metrics.note_reload("refused")
            _log.error("config_refused", error=error.message, hint=error.hint or "the running config stays")
        self._note_problem(problem)

    def _note_problem(self, problem: str | None) -> None:
        """Keep why the files on disk do not run (None: they do), for the console, the metrics and `status`."""
        if problem != self._config_problem:
            self._config_problem = problem
            self._recorded_at = float("-inf")
        self._metrics.config_current(problem is None)

    def _follow_files(self) -> None:
        """Apply changed files once they have settled, and record from time to time that this replica runs."""
        with self._reload_lock:
            settled_s, differs = self._on_disk.check(), self._on_disk.differs
            if not differs:
                self._note_problem(None)
            elif not settled_s and self._config_problem is None:
                self._note_problem("it has changed, and is applied once it has settled")
        if differs and settled_s:
            self.reload(settled_s=settled_s)
        if time.monotonic() - self._recorded_at >= self._intervals.replica_s:
            self._record_replica()
            self._follow_shop_names()

    def _follow_shop_names(self) -> None:
        """Accept webhooks under the names that shops have had, also where another replica was first to see them."""
        with suppress(StateError), self._reload_lock:
            self._shops.follow(self.running.stores(), self._connections.state.shops.known_shops())

    def _follow_acts(self) -> None:
        """Follow the full resyncs that operators want, and pauses: what one held is found by a full scan once it ends."""
        self._nudged.follow()
        for store in self.running.read_pauses():
            if store.pause is not None:
                _log.warning("store_paused", store=store.name, by=store.pause.actor.name, via=store.pause.actor.via)
            else:
                _log.info("store_pause_ended", store=store.name)
            self.schedule.scan_soon(store.name)

    def _record_replica(self) -> None:
        """Record that this replica runs, with its files; if the state does not answer, the next call does."""
        now = self._clock.now()
        replica = Replica(
            owner=self.owner,
            config_digest=self._on_disk.running,
            config_problem=self._config_problem,
            since=self._since,
            seen_at=now,
        )
        try:
            self._connections.state.replicas.put_replica(replica)
        except StateError as error:
            _log.warning("state_write_failed", error=error.message)
            return
        self._recorded_at = time.monotonic()

    def _forget_replica(self) -> None:
        with suppress(StateError):
            self._connections.state.replicas.forget_replica(self.owner)

    def _follow(self, changed: Sequence[StoreName], gone: Sequence[StoreName], due: frozenset[StoreName]) -> None:
        """Follow a new stores.yaml: scan new stores and changed ones that are `due`, delete requests of removed ones."""
        self.schedule.follow()
        for name in changed:
            self._probes.resume(name)
            if name in due:
                self.schedule.scan_soon(name)
        self._suspend_unidentified()
        for name in gone:
            self._connections.queue.forget(name)
        self.dispatcher.wake()

    def _suspend_unidentified(self) -> None:
        """Suspend stores of which the shop may be known by another name, until the shop returns its gid."""
        with self.running.components() as components:
            unsure = components.shop_keys.unsure()
        for name in unsure:
            self._probes.suspend_until_identified(name)
            self.schedule.probe_soon(name)

    # --- parts ---------------------------------------------------------------------------------------------------

    def readiness(self) -> Sequence[str]:
        """Return why this process is not ready, one line each."""
        now, intervals = time.monotonic(), self._intervals
        reasons = ["it is stopping"] if self._ending else []
        reasons += [f"the thread {name} has died" for name in self.dispatcher.dead_threads()]
        reasons += ["the thread that writes profile rows has died"] if self._rows and not self._rows.alive else []
        beats = {
            "nothing has been taken from the queue": (self.dispatcher.beat_at, intervals.stale_beats_s),
            "the scheduler has not run": (self.schedule.beat_at, intervals.stale_beats_s),
            "no lease has been renewed": (self.dispatcher.renewed_at, intervals.lease_s),
        }
        reasons += [f"{what} for {now - at:.0f} s" for what, (at, limit_s) in beats.items() if now - at > limit_s]
        wedged = [held for held in self.dispatcher.in_progress() if now - held.since > intervals.wedged_s]
        reasons += [f"{len(wedged)} reconciles have taken more than {intervals.wedged_s:.0f} s"] if wedged else []
        return [*reasons, *self._state_probe.reasons()]

    def _state_problems(self) -> Sequence[str]:
        """Return what is wrong with the state and its queue; StateError if it does not answer or can't be written."""
        idle_s = time.monotonic() - self.dispatcher.done_at
        return self._webhook_state.problems(
            self.running.caps(), now=self._clock.now(), idle_s=idle_s, stuck_s=self._intervals.stuck_s
        )

    def _gauges(self) -> GaugeValues:
        held, now = self.dispatcher.in_progress(), time.monotonic()
        self._metrics.set_active(len(held))
        writes = self._webhook_state.profile_writes
        rows_pending, oldest_row_s = writes.backlog(now=self._clock.now()) if self._rows else (0, 0.0)
        with self.running.components() as components:
            return GaugeValues(
                rows=(rows := status_rows_of(components, self.running.stores())),
                depth=components.queue.depth(),
                oldest_s=max((row.oldest_request_s or 0.0 for row in rows), default=0.0),
                longest_running_s=max((now - h.since for h in held), default=0.0),
                points_left=components.points_left(),
                rows_pending=rows_pending,
                oldest_row_s=oldest_row_s,
                rollout=state.rollout if (state := self.running.rollout()) is not None else None,
                has_waves=state is not None,
            )

    def _note_row(self, done: RowDone) -> None:
        self.service.row_written(done)

    def _note_refused(self, store: StoreName, error: AccessError) -> None:
        self._probes.suspend(store, error)

    def _note_resumed(self, store: StoreName) -> None:
        self.schedule.scan_soon(store)
        self.dispatcher.wake()

    def _note_worked(self, claim: Claim, done: ReconcileResult, seconds: float) -> None:
        waited_s = (self._clock.now() - claim.due_at).total_seconds() - seconds
        self._metrics.note_reconcile(claim.store, done, seconds, waited_s)
        self._failing.note_request(claim.store, done)
        if self._rows is not None:
            self._rows.retry_refused(claim.clerk_user_id)
        level = _log.warning if done.error is not None else _log.info
        level(
            "reconciled",
            result=done.result,
            kind=done.kind,
            reasons=list(done.reasons) or None,
            error=done.error.message if done.error else None,
            again_in_s=round(done.again_s, 3) if done.again_s is not None else None,
            seconds=round(seconds, 4),
        )
