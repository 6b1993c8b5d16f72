"""Faults that last: which comes when, and for how long, is drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.errors import ReconcilerError
from reconciler.manager.http.service import ManagerService
from tests.chaos.checker import Violation
from tests.chaos.people import SHOPS
from tests.chaos.shops import domain
from tests.simulation import bulk, redactions, saved, undo, waves
from tests.simulation.outside import deliver
from tests.simulation.reloads import RELOADS
from tests.simulation.scheduler import START

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.simulation import Simulation

SHOP_KINDS = (
    "lost_before", "lost_after", "throttled", "html", "truncated", "missing_scope", "internal_error",
    "internal_error_after", "null_payload",
)  # fmt: skip
ROOTS = (None, "customerSet", "customerUpdate", "customerByIdentifier", "customer", "tagsAdd", "metafieldsSet")
STATUSES = (401, 402, 403, 404, 423, 500, 502, 503)
ACCEPTED = "Accepted"
ROLLOUT = "rollout"
REPLICAS_MAX = 4
LOOKS = 100
RELOAD_MAX_S = 200.0  # with the time in which the rows come back, less than the grace: no one has left


class Faults:
    """One fault after the other, some at the same time; `over` when all have ended."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.kinds = simulation, tuple(kind for kind in simulation.kinds if kind in FAULTS)
        self.gap_s = simulation.size.gap_s * simulation.gap_share
        self.dice = random.Random(f"faults {simulation.seed}")
        self.running = 0
        self.applying = False
        self.begun_all = False

    @property
    def over(self) -> bool:
        return self.begun_all and not self.running

    def run(self) -> None:
        scheduler = self.simulation.scheduler
        until_s = START + self.simulation.size.storm_s - 2 * self.gap_s
        while scheduler.now_s < until_s and self.kinds:
            scheduler.sleep(2 * self.gap_s * self.dice.random())
            kind = self.dice.choice(self.kinds)
            self.simulation.luck.injected[kind] += 1
            self.running += 1
            scheduler.spawn(self.simulation.outside, f"fault {kind}", lambda kind=kind: self._one(kind))  # type: ignore[misc]
        self.begun_all = True

    def _one(self, kind: str) -> None:
        self.simulation.scheduler.note("begins")
        FAULTS[kind](self)
        self.simulation.scheduler.note("ends")
        self.running -= 1

    def lasts(self, shortest_s: float, longest_s: float) -> float:
        multiple = self.simulation.size.rhythm.faults
        return self.dice.choice((shortest_s, multiple * self.dice.uniform(shortest_s, longest_s)))

    def sleep(self, seconds: float) -> None:
        self.simulation.scheduler.sleep(seconds)

    # --- replicas ---------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        some = [r for r in self.simulation.replicas if not r.machine.dead]
        if some:
            self.simulation.drop(self.dice.choice(some))
            self.sleep(self.lasts(1, 90))
            self.simulation.add_replica()

    def _strike_at_work(self, replica: Replica, what: str) -> None:
        """Strike when a worker next has a request. A machine that was to end does so at last."""
        replica.machine.at_work = what
        for _ in range(LOOKS):
            if replica.machine.at_work and not replica.machine.dead:
                self.sleep(2 * self.simulation.size.rhythm.resync_s / LOOKS)
        replica.machine.at_work = ""
        if what == "ends" and replica in self.simulation.replicas:
            self.simulation.drop(replica)
            self.simulation.add_replica()

    def restart(self) -> None:
        some = [r for r in self.simulation.replicas if not r.machine.dead]
        if some:
            replica = self.dice.choice(some)
            replica.stop()
            while not replica.machine.dead:
                self.sleep(1)
            if replica in self.simulation.replicas:
                self.simulation.drop(replica)
                self.simulation.add_replica()

    def freeze(self, seconds: float) -> None:
        if self.simulation.replicas:
            machine = self.dice.choice(self.simulation.replicas).machine
            machine.frozen_until = max(machine.frozen_until, self.simulation.scheduler.now_s + seconds)
            self.sleep(seconds)

    def freeze_for_days(self) -> None:
        """A replica is back after days, with all that it knew. Another one is there meanwhile."""
        if len(self.simulation.replicas) < REPLICAS_MAX:
            self.simulation.add_replica()
        self.freeze(self.lasts(200, 14_400))

    # --- ways -------------------------------------------------------------------------------------------------------

    def cut(self, to: str, *, everybody: bool) -> None:
        seconds = self.lasts(3, 240)
        some = self.simulation.replicas
        chosen = some if everybody or not some else [self.dice.choice(some)]
        for replica in chosen:
            replica.machine.cut_until[to] = self.simulation.scheduler.now_s + seconds
        self.sleep(seconds)

    # --- people -----------------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Who applies a plan has read it: no table is being reloaded meanwhile, and no second plan is applied."""
        if self.applying or self.simulation.app.reloading:
            return
        self.applying = True
        person, over = self.simulation.add_person(), []

        def work() -> None:
            try:
                person.apply()
            except ReconcilerError as error:
                self.simulation.scheduler.note(f"apply failed: {type(error).__name__}")
            finally:
                over.append(True)

        self.simulation.scheduler.spawn(person.machine, "apply", work)
        while not over:
            self.sleep(5)
        self.applying = False

    def accept(self) -> None:
        """Staff change a name, and an operator accepts that for a while: it must stay so long, and be healed then.

        Not while another name is on its way to the row: it would end the acceptance.
        """
        simulation, shop = self.simulation, self.dice.choice(SHOPS)
        some = [u for u in simulation.population.current() if u.wanted(shop) and not u.drifted and not u.entangled]
        some = [u for u in some if simulation.app.has_name_of(u)]
        user = self.dice.choice(some) if some else None
        customer = simulation.shops.owned_by(shop, user.id) if user else None
        found = simulation.anyone()
        if user is None or customer is None or found is None:
            return
        user.drifted, steps = user.drifted + 1, len(user.story)
        simulation.shops.staff(shop, "edit", id=customer.id, first_name=ACCEPTED)
        seconds = self.lasts(200, 6000)
        until = datetime.fromtimestamp(simulation.scheduler.now_s + seconds, UTC)
        operator = Actor("operator", "console")
        named = StoreName(shop), ClerkUserId(user.id), ["first_name"]

        def accept(service: ManagerService) -> None:
            service.accept(*named, until=until, actor=operator)

        if not deliver(simulation.scheduler, lambda: found, "accept", accept):
            return
        simulation.luck.injected["accepted"] += 1
        self.sleep(seconds / 10)
        known = simulation.shops.find(shop, customer.id)
        self.sleep(seconds * 0.8)
        now = simulation.shops.find(shop, customer.id)
        if known == now or known is None or now is None or len(user.story) > steps or known.first != ACCEPTED:
            return
        if now.first != ACCEPTED and now.owner == user.id:
            what = f"{now.first!r} instead of the accepted {ACCEPTED!r}"
            simulation.found.append(Violation("wrong", f"{user.id} in {shop}", what))

    # --- the table --------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        if not self.simulation.app.reloading and not self.applying:
            self.simulation.app.reloaded(self.lasts(2, RELOAD_MAX_S), self.dice.choice((0.1, 0.3, 0.6, 1.0)))

    def away(self) -> None:
        if not self.simulation.app.reloading:
            self.simulation.app.away(self.lasts(2, 300))

    # --- the shops --------------------------------------------------------------------------------------------------

    def shop(self) -> None:
        sim = self.simulation.shops.sim(self.dice.choice(SHOPS))
        kind, on = self.dice.choice(SHOP_KINDS), self.dice.choice(ROOTS)
        self.simulation.luck.injected[f"shop: {kind}"] += 1
        sim.faults.add(kind, on=on, times=None)  # type: ignore[arg-type]  # one of the simulator's names
        self.sleep(self.lasts(5, 240))
        sim.faults.clear()

    def status(self) -> None:
        sim = self.simulation.shops.sim(self.dice.choice(SHOPS))
        sim.status = self.dice.choice(STATUSES)
        self.sleep(self.lasts(5, 240))
        sim.status = None

    def slow(self) -> None:
        """One shop, or both, answer each call after seconds."""
        some = self.dice.choice(((self.dice.choice(SHOPS),), SHOPS, SHOPS))
        slow = self.simulation.luck.slow_shops
        for shop in some:
            slow[domain(shop)] = self.dice.choice((2.0, 8.0))
        self.sleep(self.lasts(20, 600))
        for shop in some:
            slow.pop(domain(shop), None)

    def neighbour(self) -> None:
        sim = self.simulation.shops.sim(self.dice.choice(SHOPS))
        sim.bucket.neighbour(980)
        self.sleep(self.lasts(5, 240))
        sim.bucket.neighbour(0)

    # --- clocks -----------------------------------------------------------------------------------------------------

    def clock(self) -> None:
        """Where one replica has the state for itself, its time is that of its own clock.

        It is set right while the replica runs, or the replica ends in the middle of its work and the next one has the right
        time, or the state is away in the middle of the work, and the time is right when it is back.
        """
        if len(self.simulation.replicas) == 1:
            replica, now_s = self.simulation.replicas[0], self.simulation.scheduler.now_s
            clock, jumps_s = replica.connections.state_clock, self.simulation.size.rhythm.jumps_s
            over_s = START + self.simulation.size.storm_s
            some = [jump_s for jump_s in jumps_s if now_s + jump_s < over_s]
            clock.moved_s = self.dice.choice((max(some), self.dice.choice(some)))  # what is far ahead does most harm
            self.sleep(self.lasts(5, 240))
            if what := self.dice.choice(("", "ends", "cut")):
                self._strike_at_work(replica, what)
            clock.moved_s = 0.0


FAULTS: Mapping[str, Callable[[Faults], None]] = {
    "crash": Faults.crash,
    "restart": Faults.restart,
    "freeze": lambda faults: faults.freeze(faults.lasts(5, 180)),
    "long freeze": Faults.freeze_for_days,
    "state away": lambda faults: faults.cut("state", everybody=True),
    "state cut": lambda faults: faults.cut("state", everybody=False),
    "profiles away": lambda faults: faults.cut("profiles", everybody=True),
    "apply": Faults.apply,
    bulk.KIND: bulk.apply,
    saved.KIND: saved.save_and_apply,
    undo.KIND: undo.undo,
    redactions.KIND: redactions.redact,
    redactions.UNINSTALLED: redactions.uninstall,
    "accept": Faults.accept,
    "table reloaded": Faults.reload,
    "table away": Faults.away,
    **RELOADS,
    ROLLOUT: waves.edit,
    "shop fault": Faults.shop,
    "shop status": Faults.status,
    "slow shop": Faults.slow,
    "busy neighbour": Faults.neighbour,
    "clock moved": Faults.clock,
}
