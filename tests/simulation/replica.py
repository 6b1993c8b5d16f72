"""One replica of `run` under the scheduler: the parts of `manager/app.py` without HTTP, files and APScheduler.

The dispatcher, its workers, the scans, the probes and the intake of webhooks are the product's. What calls them at their
times is here: `manager/schedule/scheduler.py` gives jobs to APScheduler, which has threads of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from reconciler.controller.step import ReconcileResult
from reconciler.controller.worker import Worker
from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Claim
from reconciler.errors import AccessError, ReconcilerError
from reconciler.manager.config_files import FollowedFiles
from reconciler.manager.dispatcher import Dispatcher
from reconciler.manager.http.service import ManagerService
from reconciler.manager.metrics import Metrics
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.acceptances import EndedAcceptances
from reconciler.manager.schedule.failing import FailingStores
from reconciler.manager.schedule.parity import ParitySampler
from reconciler.manager.schedule.probes import Probes
from reconciler.manager.schedule.rollouts import RolloutFollower
from reconciler.manager.schedule.scans import LEASE, ScheduledScans
from reconciler.manager.webhook_state import WebhookState
from reconciler.settings import Loaded, StoreSettings
from reconciler.shopify.api.auth import FixedToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.pace import Pace
from reconciler.simulator.world import World
from reconciler.state.console.reader import ConsoleTable
from reconciler.state.database.engine import Engine
from reconciler.state.erasure import Erasure
from reconciler.state.profile_writes import ProfileWriteTable
from reconciler.state.requests.queue import RequestTable
from reconciler.wiring import Components, Connections
from tests.simulation.postgres import Server, open_modelled
from tests.simulation.scheduler import Machine, Scheduler
from tests.simulation.sizes import Rhythm
from tests.simulation.threads import SimCondition, SimThreads
from tests.simulation.waves import WORKERS, Files
from tests.simulation.ways import Luck, Network, SimProfiles, StateClock, Way, open_state

CALLS_AT_ONCE = 5  # more than the tasks of a replica that call one shop at the same time
SAME_SCAN_S = 60.0


@dataclass(slots=True)
class Place:
    """Where a replica runs, and what it reaches."""

    scheduler: Scheduler
    luck: Luck
    machine: Machine
    folder: Path
    world: World
    seen: Callable[[], None]
    """Called after each mutation in a shop."""
    rhythm: Rhythm
    files: Files
    server: Server | None = None
    """The modelled Postgres that has the state; None: a file of SQLite."""

    def way(self, to: str) -> Way:
        return Way(self.scheduler, self.luck, self.machine, to)


class SimConnections(Connections):
    """Connections with both ends in this process."""

    queue_type: ClassVar[type[RequestTable]] = RequestTable

    def __init__(self, place: Place, loaded: Loaded) -> None:
        super().__init__(loaded.settings, warn=lambda _message: None, clock=StateClock(place.scheduler))
        self._place, self._loaded = place, loaded

    @cached_property
    def engine(self) -> Engine:
        way, server = self._place.way("state"), self._place.server
        engine = open_modelled(server, way) if server else open_state(self._place.folder / "state.db", way)
        self._open.callback(engine.dispose)
        return engine

    @cached_property
    def queue(self) -> RequestTable:
        return self.queue_type(self.engine)

    @cached_property
    def state_clock(self) -> StateClock:
        return StateClock(self._place.scheduler)

    @cached_property
    def profiles(self) -> SimProfiles:
        columns = self._loaded.settings.profiles.columns
        profiles = SimProfiles(self._place.folder / "profiles.db", columns, self._place.way("profiles"))
        self._open.callback(profiles.close)
        return profiles

    def open_shop(
        self, store: StoreSettings, *, check_shop: Callable[[str], None] | None = None, pace: Pace | None = None
    ) -> ShopClient:
        network = Network(self._place.world, self._place.way("shop"))
        network.seen = lambda _roots, _variables: self._place.seen()
        token = store.auth.access_token
        assert token is not None
        scheduler = self._place.scheduler
        return ShopClient(
            store.domain,
            auth=FixedToken(token.get_secret_value()),
            api_version=store.api_version,
            pace=Pace(clock=lambda: scheduler.now_s, signal=SimCondition(scheduler)),
            connections=CALLS_AT_ONCE,
            transport=network,
            check_shop=check_shop,
        )


class SimWebhookState(WebhookState):
    """On the engine of the replica, which never waits for a lock."""

    def __init__(self, connections: Connections) -> None:
        engine = connections.engine
        self.queue, self.state = connections.queue, connections.state
        self.console_reader, self.erasure = ConsoleTable(engine), Erasure(engine)
        self.profile_writes = ProfileWriteTable(engine)


class Replica:
    """Begins with `start`, and ends with its machine."""

    def __init__(
        self, place: Place, components: Callable[[Loaded, SimConnections], Components] = Components,
        connections: Callable[[Place, Loaded], SimConnections] = SimConnections,
    ) -> None:  # fmt: skip
        self._loaded = loaded = place.files.read()
        self.place, self.machine = place, place.machine
        self.connections = connections(place, loaded)
        self._scheduler, self._rhythm = place.scheduler, place.rhythm
        self._intervals = intervals = place.rhythm.intervals
        self._clock = clock = self.connections.state_clock
        self._threads = threads = SimThreads(place.scheduler, place.machine)
        self.running = RunningConfig(
            components(loaded, self.connections),
            workers=WORKERS,
            clerk_away_s=intervals.clerk_away_s,
            on_trouble=lambda _message: None,
        )
        metrics = Metrics(WORKERS)
        self._ended = False
        worker = Worker(
            self.running,
            self.connections.queue,
            self.connections.state.budgets,
            clock,
            self._note_refused,
            intervals.pauses,
        )
        self.dispatcher = Dispatcher(
            self.connections.queue, worker, clock, owner=place.machine.name, workers=WORKERS, caps=self.running.caps,
            on_worked=self._note_worked, intervals=intervals, threads=threads,
        )  # fmt: skip
        self.probes = Probes(
            self.running, clock, intervals, resumed=self._resumed, steady_s=threads.steady_s,
        )  # fmt: skip
        self._failing = FailingStores(self.running, clock)
        self.scans = ScheduledScans(
            self.running, clock, metrics, self.probes, self._failing, owner=place.machine.name,
            wake=self.dispatcher.wake, stopping=lambda: self._ended, interval_s=place.rhythm.resync_s, intervals=intervals,
        )  # fmt: skip
        self._acceptances = EndedAcceptances(self.running, clock, self.dispatcher.wake)
        self._parity = ParitySampler(self.running, clock)
        self._soon: dict[StoreName, Any] = {}
        self._scanning: set[StoreName] = set()
        self._components = components
        self._follower = RolloutFollower(
            self.running, lambda: self, FollowedFiles((), running="these"), place.machine.name, intervals
        )
        self.service = ManagerService(
            self.running, SimWebhookState(self.connections), clock, metrics, readiness=tuple,
            wake=self.dispatcher.wake, probe_soon=self._probe_soon, probe=self.probes.probe,
            follow_acts=lambda: None, owner=place.machine.name, config_problem=lambda: None,
            follow_rollout=self._follower.follow,
        )  # fmt: skip

    def start(self, *, alone: bool) -> None:
        """`alone`: no other one uses this state."""
        self._spawn("start", lambda: self._start(alone=alone))

    def close(self) -> None:
        """Close what is open in this process; the machine has ended."""
        self.running.close()
        self.connections.__exit__()

    def _start(self, *, alone: bool) -> None:
        """As `Manager.start`; what fails is begun again, as a supervisor does."""
        while True:
            try:
                self.running.read_pauses()
                self.running.begin_rollouts()
                if alone:
                    self.connections.queue.take_back(self._clock.now(), alone=True)
                    self.connections.state.leases.take_back_leases(LEASE, now=self._clock.now())
                stores = [store.name for store in self.running.stores()]
                break
            except ReconcilerError:
                self._scheduler.sleep(5.0)
        self.dispatcher.start()
        for name in stores:
            self._soon[name] = self._threads.event()
            self._spawn(f"full {name}", lambda name=name: self._scan_full(name))  # type: ignore[misc]
            self._spawn(f"changes {name}", lambda name=name: self._scan_changes(name))  # type: ignore[misc]
        self._every(self._intervals.scan_lease_s / 4, "scan leases", self.scans.renew)
        self._every(self._intervals.probe_every_s, "probes", self._probe)
        self._every(self._intervals.acceptances_s, "acceptances", self._acceptances.end)
        self._every(self._intervals.parity_s, "parity", self._parity.sample)
        self._every(self._rhythm.files_s, "files", self._follow_files)
        self._every(
            self._rhythm.tidy_s, "tidy", lambda: self.connections.state.housekeeping.tidy(now=self._clock.now())
        )

    def stop(self) -> None:
        """As SIGTERM does, in a task of this machine; then the machine ends."""

        def stop() -> None:
            self._ended = True
            self.dispatcher.stop(self._intervals.grace_s)
            self._scheduler.kill(self.machine)

        self._spawn("stop", stop)

    def _spawn(self, name: str, call: Callable[[], None]) -> None:
        self._scheduler.spawn(self.machine, name, call)

    def _every(self, seconds: float, name: str, call: Callable[[], object]) -> None:
        def work() -> None:
            while not self._ended:
                self._scheduler.sleep(seconds)
                self._safely(call)

        self._spawn(name, work)

    def _safely(self, call: Callable[[], object]) -> object:
        try:
            return call()
        except ReconcilerError:
            return "failed"

    def _scan_full(self, name: StoreName) -> None:
        """At the start, every hour, and when the store was resumed; one that was broken off is begun again."""
        pause_s = self._intervals.again_first_s
        while not self._ended:
            since, whole = self._clock.now(), self._soon[name].is_set()
            self._soon[name].clear()
            self._scanning.add(name)
            while True:
                ended = self._safely(lambda: self.scans.scan_full(name, since=since, whole=whole))  # noqa: B023
                if ended in {"done", "access", "left out"} or (ended == "elsewhere" and not whole):
                    break
                self._scheduler.sleep(pause_s)
                pause_s = min(pause_s * 2, self._intervals.again_last_s)
            self._scanning.discard(name)
            pause_s = self._intervals.again_first_s
            full_s = self._rhythm.full_s
            self._soon[name].wait(full_s - self._scheduler.now_s % full_s)

    def _scan_changes(self, name: StoreName) -> None:
        while not self._ended:
            self._scheduler.sleep(self._rhythm.resync_s * (0.9 + 0.2 * self._scheduler.dice.random()))
            while self._safely(lambda: self.scans.scan_changes(name)) == "failed":
                self._scheduler.sleep(self._intervals.again_first_s)

    def _probe(self) -> None:
        for name in self.probes.due():
            self.probes.probe(name)

    def _probe_soon(self, name: StoreName) -> None:
        def probe() -> None:
            self._safely(lambda: self.probes.probe(name))

        self._spawn(f"probe {name}", probe)

    def _resumed(self, name: StoreName) -> None:
        self.scan_soon(name)
        self.dispatcher.wake()

    # --- files and rollouts, as `ConfigReload` ------------------------------------------------------------------

    def _follow_files(self) -> None:
        """Take the files that are there now, and make the step of a rollout that is due."""
        read, before = self.place.files.read(), self._loaded
        if read is not before:
            self.running.replace(self._components(read, self.connections))
            self._loaded = read
            self._follower.note_load()
            for store, former in zip(read.stores, before.stores, strict=True):
                if store != former:
                    self.probes.resume(store.name)
                    self.scan_soon(store.name)
            self.dispatcher.wake()
        if self.place.files.edit.waves:
            self._follower.follow()

    def scan_soon(self, name: StoreName, *, since: datetime | None = None) -> None:
        if name in self._soon:
            self._soon[name].set()

    def has_full_resync(self, name: StoreName) -> bool:
        return name in self._scanning or (name in self._soon and self._soon[name].is_set())

    def is_full_scan_owed(self, name: StoreName) -> bool:
        """A scan that was broken off is begun again by the same task."""
        return False

    def _note_refused(self, store: StoreName, error: AccessError) -> None:
        self.probes.suspend(store, error)

    def _note_worked(self, claim: Claim, done: ReconcileResult, _seconds: float) -> None:
        self._failing.note_request(claim.store, done)
        self._scheduler.note(f"{claim.store} {claim.clerk_user_id} {done.result} {done.kind or ''}")
