"""Run, settle, keep quiet, check: one soak from beginning to end."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos import plan
from tests.chaos.app import App
from tests.chaos.calm import Calm
from tests.chaos.checker import Violation, check, row_violations
from tests.chaos.clerk import GIVES_UP_S, Sender
from tests.chaos.cluster import Cluster, open_cluster, start_all
from tests.chaos.consent import consent_differences, consent_violations
from tests.chaos.directory import open_directory
from tests.chaos.faults import World
from tests.chaos.people import SHOPS, Population
from tests.chaos.report import Outcome
from tests.chaos.shops import open_shops
from tests.chaos.stream import Stream
from tests.chaos.watch import Watch

SAY_S = 30.0
SETTINGS = Path(__file__).parents[2] / "config" / "schema" / "reconciler.schema.json"


@dataclass(frozen=True, slots=True)
class Profile:
    """How long, how many, how fast. `intervals` None: the command as it is.

    As many changes as `seconds` have pauses, and every fault of their plan: on a busy machine they take longer. `settle_s`
    bounds the wait for quiet (`calm.py`), and no more than that depends on it.
    """

    seconds: float
    people: int
    pause_s: float
    scale: float
    settle_s: float
    quiet_s: float
    grace_s: float
    resync_s: float
    cron: str
    intervals: Mapping[str, Any] | None = None
    restarts: bool = False
    """One replica is restarted when the storm is over: the resync at its start replaces the nightly one."""
    lanes: tuple[str, ...] = tuple(plan.LANES)
    """Changes that do not happen."""

    def controller(self) -> dict[str, Any]:
        known = json.loads(SETTINGS.read_text())["$defs"]["ControllerSettings"]["properties"]
        found = {
            "workers": 8, "resync_s": self.resync_s, "full_resync_cron": self.cron, "absence_grace_s": self.grace_s,
        }  # fmt: skip
        return {name: value for name, value in found.items() if name in known}


def long(minutes: float) -> Profile:
    """The command as it is, with its own leases and pauses."""
    return Profile(
        seconds=minutes * 60, people=120, pause_s=0.4, scale=1.0, settle_s=1200, quiet_s=60, grace_s=20, resync_s=10,
        cron="*/2 * * * *",
    )  # fmt: skip


QUICK = {
    "lease_s": 3.0, "poll_s": 0.05, "idle_poll_s": 0.1, "away_s": 0.3, "grace_s": 5.0, "beat_s": 0.3, "files_s": 0.3,
    "removal_settles_s": 1.0,
    "stale_beats_s": 10.0, "scan_lease_s": 4.0, "again_first_s": 0.5,
    "again_last_s": 2.0, "probe_every_s": 0.3, "probe_first_s": 0.3, "probe_last_s": 2.0,
    "pauses": {"early_first_s": 0.1, "early_last_s": 0.5, "waiting_first_s": 0.5, "waiting_next_s": 0.5, "away_s": 0.2,
               "permanent_first_s": 1.0},
}  # fmt: skip
SHORT = Profile(
    seconds=12, people=30, pause_s=0.15, scale=0.12, settle_s=900, quiet_s=3, grace_s=5, resync_s=2, cron="* * * * *",
    intervals=QUICK, restarts=True,
)  # fmt: skip


@dataclass(slots=True)
class Soak:
    """One soak."""

    seed: int
    profile: Profile
    folder: Path
    population: Population = field(default_factory=Population)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Outcome:
        profile, outcome = self.profile, Outcome(self.seed, self.profile.seconds)
        self.population.respelt = self._is_strange()
        with ExitStack() as stack:
            shops = stack.enter_context(open_shops(self.seed, strange=self._is_strange()))
            directory, asked = stack.enter_context(open_directory(self.population))
            cluster = stack.enter_context(
                open_cluster(
                    self.folder,
                    shops,
                    controller=profile.controller(),
                    intervals=profile.intervals,
                    clerk=asked if self._asks_clerk() else {},
                )
            )
            app = App(cluster.postgres.url("owner"), self.stop)
            app.make()
            if self._has_hints():
                app.tell(cluster.outbox_sql)
            stack.enter_context(shops.recording())
            clerk = Sender(cluster.urls, self.seed)
            stream = Stream(self.seed, self.population, app, clerk, shops)
            start_all(cluster)
            urls = dict(zip(SHOPS, cluster.urls(), strict=False))
            stack.enter_context(shops.webhooks(urls, self.seed))
            clerk.start()
            stack.callback(clerk.close)
            watch = Watch(cluster)
            watch.start()
            stack.callback(watch.close)
            stream.begin(profile.people)
            world = World(cluster, app, self.population, self.stop, directory=directory)
            self._storm(world, stream, outcome)
            since = cluster.postgres.scalar("SELECT now()")
            calm = Calm(cluster, clerk, since, lambda: self._state(cluster, app))
            settled_s = self._settle(cluster, calm)
            outcome.violations += self._quiet(cluster, calm)
            watch.close()
            outcome.violations += [*watch.found, *watch.grown()]
            outcome.violations += [Violation("fault not ended", "soak", said) for said in world.trouble]
            outcome.violations += self._processes(cluster, clerk)
            outcome.facts |= self._facts(world, stream, watch, clerk, settled_s)
            outcome.stories = self._stories(outcome.violations)
        return outcome

    def _asks_clerk(self) -> bool:
        """Odd seeds let Clerk's API confirm who was deleted; in the others time is the only proof."""
        return self.seed % 2 == 1

    def _is_strange(self) -> bool:
        """In one of four seeds both shops show every value in a spelling of their own."""
        return self.seed % 4 == 3

    def _has_hints(self) -> bool:
        """Two of three seeds have an outbox; in the others changes are found by the resyncs alone."""
        return self.seed % 3 != 0

    def _stories(self, violations: list[Violation]) -> dict[str, str]:
        """What happened to each user with something wrong."""
        named = {each.who.split()[0] for each in violations} & self.population.users.keys()
        users = (self.population.users[name] for name in sorted(named))
        return {u.id: f"{u.source}, {u.email}, {sorted(u.shops)}: " + ", ".join(u.story) for u in users}

    # --- the storm ------------------------------------------------------------------------------------------------

    def _storm(self, world: World, stream: Stream, outcome: Outcome) -> None:
        """All lanes of faults, and the stream of changes, side by side until the time is up."""
        faults = plan.faults(self.seed, self.profile.seconds, scale=self.profile.scale)
        began = time.monotonic()
        failed: list[str] = []

        def lane(name: str) -> None:
            for fault in (f for f in faults if f.lane == name):
                self.stop.wait(max(0.0, began + fault.at - time.monotonic()))
                try:
                    world.run(fault)
                except (AssertionError, OSError, psycopg.Error, TimeoutError) as error:
                    failed.append(f"{fault.kind} at {fault.at:.0f} s: {error}")

        threads = [threading.Thread(target=lane, args=(name,), name=name) for name in self.profile.lanes]
        for thread in threads:
            thread.start()
        for step in range(round(self.profile.seconds / self.profile.pause_s)):
            self.stop.wait(max(0.0, began + step * self.profile.pause_s - time.monotonic()))  # held up: made up for
            try:
                stream.step()
            except TimeoutError as error:
                failed.append(f"{stream.what}: {error}")
        for thread in threads:
            thread.join()
        world.trouble += failed

    # --- afterwards -----------------------------------------------------------------------------------------------

    def _settle(self, cluster: Cluster, calm: Calm) -> float:
        """Wait until nothing is left to do, or the time for it is up; gives the seconds it took."""
        began = time.monotonic()
        if self.profile.restarts:
            cluster.replicas[-1].end()
            cluster.replicas[-1].start()
        said_at = began
        while time.monotonic() < began + self.profile.settle_s:
            with suppress(TimeoutError, psycopg.Error):
                left = calm.left()
                if not left:
                    break
                if time.monotonic() > said_at + SAY_S:
                    said_at = time.monotonic()
                    some = "; ".join(f"{v.kind}: {v.who}: {v.what}"[:200] for v in left[:5])
                    say(f"  {said_at - began:.0f} s after the storm {len(left)} are left: {some}")
            time.sleep(1.0)
        return time.monotonic() - began

    def _state(self, cluster: Cluster, app: App) -> list[Violation]:
        """What is not as it should be now, in shops, profiles and queue."""
        customers = {shop: cluster.shops.customers(shop) for shop in SHOPS}
        lives = list(cluster.shops.lives.values())
        found = check(self.population, customers, lives, grace_s=self.profile.grace_s + 15)
        for consents in cluster.shops.consents.values():
            found += consent_violations(self.population, consents)
            found += consent_differences(self.population, consents, customers)
        found += row_violations(self.population, app.rows())
        left = cluster.postgres.rows(
            "SELECT store, clerk_user_id, due_at - now(), attempts, owner FROM reconciler.reconciler_request"
        )
        found += [Violation("queue left over", f"{user} in {store}", f"{rest}") for store, user, *rest in left]
        kept = cluster.postgres.rows(
            "SELECT store, clerk_user_id, status, reason, message FROM reconciler.reconciler_mapping"
        )
        for store, user, status, reason, message in kept:
            truth = self.population.users.get(user)
            if truth is not None and truth.wanted(store) and status != "in_sync":
                found.append(Violation("not in sync", f"{user} in {store}", f"{status} {reason} {message}"))
        return found

    def _quiet(self, cluster: Cluster, calm: Calm) -> list[Violation]:
        """Nothing changes for a while, and nothing may be sent; then the verdict."""
        before, counts = cluster.shops.mutations(), cluster.shops.counts()
        time.sleep(self.profile.quiet_s)
        try:
            found = calm.left()
        except (TimeoutError, psycopg.Error) as error:
            found = [Violation("fault not ended", "checker", str(error))]
        if (more := cluster.shops.mutations() - before) > 0:
            found.append(Violation("quiet mutation", f"{more} mutations", cluster.shops.calls_of(counts)))
        return found

    def _processes(self, cluster: Cluster, clerk: Sender) -> list[Violation]:
        """How the replicas are, end, and what they have logged."""
        found = []
        for replica in cluster.replicas:
            if (status := replica.answers("/readyz", 10)) != 200:
                found.append(Violation("not ready", replica.name, f"/readyz gave {status}"))
            found += [Violation("ended by itself", replica.name, said) for said in replica.died]
            if (code := replica.end()) != 0:
                found.append(Violation("fault not ended", replica.name, f"ended with {code} at the end"))
            found += [Violation("log line", replica.name, line[:200]) for line in _odd_lines(replica.log)]
        found += [
            Violation("webhook answer", "clerk", f"{n} x {status}")
            for status, n in clerk.answers.items()
            if status.isdigit() and status not in {"202", "503", "401"}
        ]
        late = [took for took in clerk.slow if took > GIVES_UP_S]
        if late:
            found.append(Violation("webhook answer", "clerk", f"{len(late)} took longer than {GIVES_UP_S:g} s"))
        return found

    def _facts(self, world: World, stream: Stream, watch: Watch, clerk: Sender, settled_s: float) -> dict[str, str]:
        some = sorted(clerk.slow) or [0.0]
        return {
            "Clerk's API, outbox, strange shops": ", ".join(
                _yes(each) for each in (self._asks_clerk(), self._has_hints(), self._is_strange())
            ),
            "users, there": f"{len(self.population.users)}, {len(self.population.current())}",
            "changes": f"{sum(stream.done.values())}: " + ", ".join(f"{k} {n}" for k, n in sorted(stream.done.items())),
            "faults": f"{sum(world.done.values())}: " + ", ".join(f"{k} {n}" for k, n in sorted(world.done.items())),
            "faults that never came": ", ".join(
                kind for lane in self.profile.lanes for kind in plan.LANES[lane] if kind not in world.done
            ),
            "settled after": f"{settled_s:.0f} s",
            "webhook answers": ", ".join(f"{n} x {status}" for status, n in sorted(clerk.answers.items())),
            "webhook answer, p50 and longest": f"{some[len(some) // 2]:.2f} s, {some[-1]:.2f} s",
            "longest seen": ", ".join(f"{name} {s:.1f} s" for name, s in sorted(watch.longest.items())),
            "app's slowest write": f"{world.app.slowest_s:.1f} s",
            "starved of CPU": f"{watch.starved.total_s():.0f} s",
            **watch.thirds(),
        }


def _yes(is_so: bool) -> str:  # noqa: FBT001  a word for it
    return "yes" if is_so else "no"


def _odd_lines(log: Path) -> list[str]:
    """Lines that are no JSON objects. A start that was refused says why in two lines of text, as every command does."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(("error: ", "hint: ")) and not _is_json(line)]


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
