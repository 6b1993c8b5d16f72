"""`run`: starts all parts in order, watches them, and stops them in order. The only module that names all parts."""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import Literal

import structlog

from reconciler.controller.profile_rows.writer import RowDone
from reconciler.controller.step import ReconcileResult
from reconciler.controller.worker import Worker
from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Claim
from reconciler.errors import StateError
from reconciler.manager.config_files import FollowedFiles
from reconciler.manager.dispatcher import Dispatcher
from reconciler.manager.gauges import gauge_values
from reconciler.manager.http.senders import Senders
from reconciler.manager.http.service import ManagerService
from reconciler.manager.intervals import Intervals
from reconciler.manager.metrics import Metrics
from reconciler.manager.profile_writer import row_writer
from reconciler.manager.readiness import ReadinessCheck
from reconciler.manager.reload import ConfigReload, SettingsFiles, StoresChange
from reconciler.manager.replica import ReplicaRecord
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.acceptances import EndedAcceptances
from reconciler.manager.schedule.acts import FollowedActs
from reconciler.manager.schedule.failing import FailingStores
from reconciler.manager.schedule.notifications import Notifier
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
from reconciler.state.database.controller_lock import lock_controller
from reconciler.state.requests.queue import new_owner
from reconciler.wiring import Components

_log = structlog.get_logger(__name__)


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
        loaded, connections = components.loaded, components.connections
        self._settings = settings = loaded.settings
        self._connections, self._clock = connections, (clock := connections.state_clock)
        self._intervals = intervals = intervals or Intervals()
        self._controller_lock = lock_controller(connections.engine)
        self._ending = False
        # A queue, since a signal handler may interrupt `put` itself: an Event set there can deadlock.
        self._commands: SimpleQueue[Literal["end", "reload"]] = SimpleQueue()
        self.owner = new_owner()
        workers = settings.controller.workers
        self._metrics = metrics = Metrics(workers)
        self.running = running = RunningConfig(
            components,
            workers=workers,
            clerk_away_s=intervals.clerk_away_s,
            on_trouble=lambda message: _log.warning("clerk_check_failed", error=message),
        )
        self._failing = FailingStores(running, clock)
        self._probes = Probes(running, clock, intervals, resumed=self._note_resumed)
        self.dispatcher = self._new_dispatcher()
        self.scans = self._new_scans()
        self._outbox = OutboxNudges(connections.queue, settings, running, clock, metrics, self.dispatcher.wake)
        on_disk = FollowedFiles(files.paths, running=files.digest)
        self._rollouts = RolloutFollower(running, lambda: self.schedule, on_disk, self.owner, intervals)
        self._acts = FollowedActs(running, clock, lambda: self.schedule)
        self._replica = ReplicaRecord(connections, clock, on_disk, owner=self.owner, every_s=intervals.replica_s)
        senders = Senders(loaded, components.shop_keys.stores)
        self._config = ConfigReload(
            files, on_disk, running, loaded, senders, self._replica, metrics, intervals,
            note_load=self._rollouts.note_load, follow=self._follow,
        )  # fmt: skip
        self.schedule = self._new_schedule()
        self._webhook_state = WebhookState(settings, connections, wait_s=intervals.webhook_wait_s)
        self._rows = row_writer(settings, connections, self._webhook_state, clock, intervals, self._note_row)
        self.readiness = ReadinessCheck(
            running, self._webhook_state, clock, self.dispatcher, self.schedule, self._rows, intervals,
            is_ending=lambda: self._ending,
        )  # fmt: skip
        self.service = self._new_service()
        server = settings.server
        self.http_server = startup_server or StartupServer(host or server.host, server.port if port is None else port)
        options = Options(sources=senders.sources, clock=clock, host=self.http_server.host, tokens=senders.tokens)
        self._app = make_app(self.service, options)
        writes = self._webhook_state.profile_writes if self._rows is not None else None
        metrics.read_at_scrape(lambda: gauge_values(running, self.dispatcher, clock, writes, metrics))

    def _new_dispatcher(self) -> Dispatcher:
        queue, budgets = self._connections.queue, self._connections.state.budgets
        return Dispatcher(
            queue,
            Worker(self.running, queue, budgets, self._clock, self._probes.suspend, self._intervals.pauses),
            self._clock,
            owner=self.owner,
            workers=self._settings.controller.workers,
            caps=self.running.caps,
            on_worked=self._note_worked,
            intervals=self._intervals,
        )

    def _new_scans(self) -> ScheduledScans:
        return ScheduledScans(
            self.running,
            self._clock,
            self._metrics,
            self._probes,
            self._failing,
            owner=self.owner,
            wake=self.dispatcher.wake,
            stopping=lambda: self._ending,
            interval_s=self._settings.controller.resync_s,
            intervals=self._intervals,
        )

    def _new_schedule(self) -> Scheduler:
        running, connections, clock = self.running, self._connections, self._clock
        return Scheduler(
            running,
            self._settings,
            clock,
            connections.clock,
            self.scans,
            self._probes,
            read_files=self._config.follow_files,
            read_pauses=self._acts.follow,
            advance_rollout=self._rollouts.follow,
            take_outbox=self._outbox.take,
            end_acceptances=EndedAcceptances(running, clock, self.dispatcher.wake).end,
            sample_parity=ParitySampler(running, clock).sample,
            notify=Notifier(running, connections.notifications, clock).notify,
            intervals=self._intervals,
        )

    def _new_service(self) -> ManagerService:
        return ManagerService(
            self.running,
            self._webhook_state,
            self._clock,
            self._metrics,
            readiness=self.readiness.reasons,
            wake=self.dispatcher.wake,
            probe_soon=self.schedule.probe_soon,
            probe=self._probes.probe,
            follow_acts=self._acts.follow,
            owner=self.owner,
            rows=self._rows,
            config_problem=lambda: self._replica.problem,
            follow_rollout=self._rollouts.follow,
        )

    @property
    def url(self) -> str:
        """The server's URL on this machine."""
        return self.http_server.url

    def start(self) -> None:
        """Check the preconditions, then start all parts. Raises the errors that `doctor` reports."""
        _ = self._connections.profiles, self._connections.clerk
        if self._settings.clerk.upsert_profiles:
            _ = self._connections.upserts
        self._acts.begin()
        self.running.begin_rollouts()
        self._config.read_shop_names()
        self._take_over()
        self._replica.begin()
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
            self._config.reload()

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
            ("replica", self._replica.forget),
            ("http", self.http_server.stop),
            ("state probe", self.readiness.close),
            ("webhook state", self._webhook_state.close),
            ("shops", self.running.close),
        ):
            if not run_within(self._intervals.step_s, step, name):
                _log.warning("stop_step_abandoned", step=name, seconds=self._intervals.step_s)
        if self._controller_lock is not None:
            self._controller_lock.release()
        _log.info("stopped", worked=self.dispatcher.worked)

    def _follow(self, change: StoresChange) -> None:
        """Follow a new stores.yaml: scan new stores and changed ones that are `due`, delete requests of removed ones."""
        self.schedule.follow()
        for name in change.changed:
            self._probes.resume(name)
            if name in change.due:
                self.schedule.scan_soon(name)
        self._suspend_unidentified()
        for name in change.gone:
            self._connections.queue.forget(name)
        self.dispatcher.wake()

    def _suspend_unidentified(self) -> None:
        """Suspend stores of which the shop may be known by another name, until the shop returns its gid."""
        with self.running.components() as components:
            unsure = components.shop_keys.unsure()
        for name in unsure:
            self._probes.suspend_until_identified(name)
            self.schedule.probe_soon(name)

    def _note_row(self, done: RowDone) -> None:
        self.service.row_written(done)

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
