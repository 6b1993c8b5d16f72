"""One run: replicas, people and faults for some hours of virtual time, all from one seed; then calm, and the verdict."""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from sqlalchemy import select

from reconciler.core.model.ids import ShopDomain
from reconciler.core.model.request import ADDRESS
from reconciler.manager.http.service import ManagerService
from reconciler.settings import Loaded
from reconciler.state.database.engine import open_engine, reading
from reconciler.state.requests.queue import RequestTable
from reconciler.state.tables.requests import RequestRow
from reconciler.wiring import Components
from tests.chaos.checker import Life, Violation, check, erased_users
from tests.chaos.consent import consent_differences, consent_violations
from tests.chaos.people import EU, SHOPS, Population
from tests.chaos.shops import Shops, domain, make_world
from tests.chaos.stream import WEIGHTS, Stream
from tests.simulation import bulk, redactions, undo
from tests.simulation.fairness import Fairness
from tests.simulation.faults import FAULTS, ROLLOUT, Faults
from tests.simulation.outside import ShopHooks, SimApp, SimClerk
from tests.simulation.person import Person
from tests.simulation.postgres import DEADLOCK, Server
from tests.simulation.replica import Place, Replica, SimConnections
from tests.simulation.retention import left_over
from tests.simulation.scheduler import START, Machine, Scheduler, Stuck
from tests.simulation.sizes import HOUR_S, NORMAL, Size
from tests.simulation.waves import ALONE, Edit, Files, operate, wave_violations
from tests.simulation.ways import NO_TURNS, Luck
from tests.state_store import StateStore
from tests.states import state_template

MUTATIONS_PER_CHANGE = 60
DENSITIES = {0.12: (0.2, 0.4), 0.3: (0.4, 1.0), 0.6: (1.0,), 0.9: (1.0,)}
"""Of all kinds of faults, so many are in a run, and of the usual pauses so much: few kinds come one after the other."""
CLOCK = "clock moved"
"""Where one replica has the state for itself: with others, or on Postgres, the time is the database's."""
AT_LEAST = {CLOCK: 0.7, "slow shop": 0.5}
"""Of the runs that may have it: it takes several of these to find what they show."""
OFTEN = 30
MULTIPLES = (0.3, 1.0, 5.0)
ERASES = "on_leave: erase"
ERASES_SHARE = 0.3
KEPT_TABLE = frozenset({"table empty", "most rows missing", "most rows unfilled"})
"""Not with `erase`: of the users of that shop, too few for its guard may be without a row for longer than the grace."""
FOR_GOOD = frozenset({"taken over", "deleted although there"})  # what no time heals


@dataclass(slots=True)
class Outcome:
    """All of one run. It has passed when there is no violation."""

    seed: int
    violations: list[Violation] = field(default_factory=list)
    hours: float = 0.0
    points: int = 0
    changes: int = 0
    mutations: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    digest: str = ""
    orders: frozenset[tuple[str, ...]] = frozenset()
    trace: tuple[str, ...] = ()
    stories: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variant:
    """What the product of a run is made of, and which faults it meets: `history.py` puts faults of the past back."""

    components: Callable[[Loaded, SimConnections], Components] = Components
    connections: Callable[[Place, Loaded], SimConnections] = SimConnections
    faults: tuple[str, ...] | None = None
    """None: the seed chooses some kinds, and how often calls are lost."""
    without: frozenset[str] = frozenset()
    """Of the kinds that the seed chooses, these are left out; so are `lost calls` and `slow calls`."""
    gap_share: float = 1.0
    """Of the pauses between faults."""
    luck: float = 1.0
    """How often a call to the state is lost, as a multiple."""
    often: tuple[str, ...] = ()
    """Changes that come more often than others (`tests/chaos/stream.py`)."""
    postgres: bool = False
    """The state is on a modelled Postgres."""


PRODUCT = Variant()
LOST_CALLS, SLOW_CALLS = "lost calls", "slow calls"


def simulate(seed: int, size: Size = NORMAL, variant: Variant = PRODUCT) -> Outcome:
    """One run from this seed."""
    with TemporaryDirectory(prefix="simulation-") as folder, in_simulation():
        return Simulation(seed, Path(folder), size, variant).run()


class Simulation:
    """The world of one run."""

    def __init__(self, seed: int, folder: Path, size: Size, variant: Variant) -> None:
        (folder / "state.db").write_bytes(state_template())
        self.seed, self.folder, self.size, self.variant = seed, folder, size, variant
        self.scheduler = scheduler = Scheduler(seed)
        self.luck = Luck(scheduler)
        self.luck.state *= variant.luck
        self.gap_share = variant.gap_share
        self.replicas_first = 1 + seed % 3
        self.kinds = self._kinds()
        self.files = Files(size.rhythm, auto=seed % 2 == 0, edits=[Edit(erases=ERASES in self.kinds)])
        self.server = Server(folder / "state.db", scheduler) if variant.postgres else None
        strange = seed % 4 == 3
        self.world = make_world(seed, strange=strange, clock=lambda: scheduler.now_s)
        self.shops = Shops(self.world, lambda: scheduler.now_s)
        self.shops.subscribe()
        self.outside = Machine("outside")
        self.app = SimApp(folder / "profiles.db", scheduler)
        self.clerk = SimClerk(scheduler, self.outside, self.app, self.anyone)
        self.population = Population(respelt=strange, erases={EU} if ERASES in self.kinds else set())
        weights = {**WEIGHTS, "app's own metadata": 0, "to a guest": 4, "address left behind": 4}
        weights |= dict.fromkeys(variant.often, OFTEN)
        self.stream = Stream(
            seed, self.population, self.app, self.clerk, self.shops, now=lambda: scheduler.now_s, weights=weights
        )
        self.replicas: list[Replica] = []
        self.closed: list[Replica] = []
        self.persons: list[Person] = []
        self.machines = 0
        self.engine = open_engine(f"sqlite:///{folder / 'state.db'}").execution_options(**NO_TURNS)
        self.queue, self.state = RequestTable(self.engine), StateStore(self.engine)
        self.undone: set[tuple[str, str]] = set()
        """By user and shop: what the product wrote there was taken back at some time."""
        self.redactions: list[redactions.Redaction] = []
        self.half_undone: set[tuple[str, str]] = set()
        """Customers, by shop and id, of which no one recorded that their back-link was taken back."""
        self.found: list[Violation] = []
        """What is found on the way."""
        self.storm_over = self.begun = False

    def _kinds(self) -> tuple[str, ...]:
        """The kinds of faults of this run: with all of them, few of each would come. Sets how often calls are lost, too."""
        variant, chosen = self.variant, self.variant.faults
        if chosen is None:
            swarm = random.Random(f"swarm {self.seed}")
            density = swarm.choice(list(DENSITIES))
            self.gap_share *= swarm.choice(DENSITIES[density])
            shares = {kind: max(density, AT_LEAST.get(kind, 0.0)) for kind in FAULTS}
            chosen = tuple(kind for kind in FAULTS if swarm.random() < shares[kind]) or (swarm.choice([*FAULTS]),)
            chosen += (ERASES,) if swarm.random() < ERASES_SHARE else ()
            self.luck.state *= swarm.choice(MULTIPLES)
            self.luck.shop *= swarm.choice(MULTIPLES)
            self.scheduler.slow *= swarm.choice(MULTIPLES)
        if LOST_CALLS in variant.without:
            self.luck.state = self.luck.shop = self.luck.profiles = 0.0
        if SLOW_CALLS in variant.without:
            self.scheduler.slow = 0.0
        out = variant.without | ({CLOCK} if variant.postgres or self.replicas_first > 1 else set())
        out |= set(ALONE) if ROLLOUT in chosen and (variant.faults or self.seed % 3 == 1) else {ROLLOUT}
        out |= {ERASES} if ROLLOUT in chosen and ROLLOUT not in out else set()
        out |= KEPT_TABLE if ERASES in chosen and ERASES not in out else set()
        return tuple(kind for kind in chosen if kind not in out)

    def anyone(self) -> tuple[Machine, ManagerService] | None:
        """A replica that takes a webhook: any that runs, frozen or not."""
        some = [replica for replica in self.replicas if not replica.machine.dead]
        if not some:
            return None
        chosen = self.scheduler.dice.choice(some)
        return chosen.machine, chosen.service

    def add_replica(self) -> None:
        self.machines += 1
        replica = Replica(self._place(f"replica-{self.machines}"), self.variant.components, self.variant.connections)
        replica.start(alone=self.server is None and not self.replicas)
        self.replicas.append(replica)

    def look(self) -> None:
        """Note what has changed in the shops."""
        self.shops.look()
        self.files.look(self.shops, self.scheduler.now_s)

    def _place(self, name: str) -> Place:
        return Place(
            self.scheduler,
            self.luck,
            Machine(name),
            self.folder,
            self.world,
            self.look,
            self.size.rhythm,
            self.files,
            self.server,
        )

    def add_person(self, *, by_bulk: bool = False) -> Person:
        self.machines += 1
        person = Person(
            self._place(f"person-{self.machines}"), self.variant.components, self.variant.connections, by_bulk=by_bulk
        )
        self.persons.append(person)
        return person

    def drop(self, replica: Replica) -> None:
        """Its machine has ended, or ends now."""
        if not replica.machine.dead:
            self.scheduler.kill(replica.machine)
        self.replicas.remove(replica)
        self.closed.append(replica)

    def run(self) -> Outcome:
        outcome = Outcome(self.seed)
        try:
            first_sync = bulk.KIND in self.kinds
            self.scheduler.spawn(self.outside, "begin", lambda: self._begin_replicas(late=first_sync))
            hooks = ShopHooks(
                self.scheduler, self.outside, self.shops, self.anyone, self.size.rhythm.hooks_s,
                redacted=lambda shop, event: redactions.note_accepted(self, shop, event),
            )  # fmt: skip
            self.scheduler.spawn(self.outside, "hooks", hooks.run)
            self.scheduler.spawn(self.outside, "people", self._people)
            if ROLLOUT in self.kinds:
                self.scheduler.spawn(self.outside, "operator", lambda: operate(self))
            fairness = Fairness(self)
            self.scheduler.spawn(self.outside, "fairness", fairness.run)
            faults = Faults(self)
            self.scheduler.spawn(self.outside, "faults", faults.run)
            self.scheduler.run(START + 10 * self.size.storm_s, lambda: self.storm_over and faults.over)
            self.luck.calm()
            bulk.resume(self)
            if undo.KIND in self.kinds:
                self.scheduler.spawn(self.outside, "resume", lambda: undo.resume(self))
            outcome.violations += self._settle() or self._quiet()
            if deadlocks := self.luck.injected[DEADLOCK]:
                self.found.append(Violation("not settled", "state", f"{deadlocks} deadlocks: all lock in one order"))
            outcome.violations += self.found + fairness.found
            outcome.violations += left_over(self.engine, self._now(), self.size.rhythm)
        except Stuck as error:
            outcome.violations.append(Violation("ended by itself", "scheduler", str(error)))
            raise
        finally:
            self.scheduler.end()
            self._tell(outcome)
            for replica in [*self.replicas, *self.closed]:
                replica.close()
            for person in self.persons:
                person.close()
            self.app.close()
            self.engine.dispose()
        return outcome

    def _begin_replicas(self, *, late: bool) -> None:
        """`late`: the first sync is an `apply` by bulk, and the replicas are started beside it."""
        if late:
            bulk.begin(self)
        for _ in range(self.replicas_first):
            self.scheduler.sleep(bulk.AWAY_MAX_S * self.scheduler.dice.random() if late else 0.0)
            self.add_replica()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.scheduler.now_s, UTC)

    def _people(self) -> None:
        """Changes until the storm is over."""
        self.stream.begin(self.size.people)
        self.shops.look()
        until_s = START + self.size.storm_s
        while self.scheduler.now_s < until_s:
            self.scheduler.sleep(2 * self.size.step_s * self.scheduler.dice.random())
            self.scheduler.note(f"people: {self.stream.step() or 'nothing'}")
            self.shops.look()
        self.storm_over = True

    def _settle(self) -> list[Violation]:
        """Let time pass until nothing is left to do; what is left when it is up."""
        full_s = self.size.rhythm.full_s
        end_s, least_s = self.scheduler.now_s + self.size.rhythm.settles_s, self.scheduler.now_s + full_s
        while True:
            self.scheduler.run(self.scheduler.now_s + full_s / 60)
            left = self.violations_now()
            if self.scheduler.now_s >= least_s and not left:
                return []
            if self.scheduler.now_s >= end_s or any(each.kind in FOR_GOOD for each in left):
                return left

    def _quiet(self) -> list[Violation]:
        """Nothing may be sent any more."""
        before, counts = self.shops.mutations(), self.shops.counts()
        self.scheduler.run(self.scheduler.now_s + self.size.quiet_s)
        found = self.violations_now()
        if more := self.shops.mutations() - before:
            found.append(Violation("quiet mutation", f"{more} mutations", self.shops.calls_of(counts)))
        if before > MUTATIONS_PER_CHANGE * (sum(self.stream.done.values()) + self.size.people):
            found.append(Violation("quiet mutation", "altogether", f"{before} mutations"))
        return found

    def violations_now(self) -> list[Violation]:
        """What is not as it should be now, in shops, queue and mappings."""
        customers = {shop: self.shops.customers(shop) for shop in SHOPS}
        found = check(self.population, customers, self._lives(), grace_s=1.2 * self.size.rhythm.grace_s)
        kept = self._kept_by_rule()
        found = [
            each
            for each in found
            if each.kind != "not released" or tuple(each.who.split(" in ")) not in kept | self.undone
        ]
        erased = {shop: erased_users(self.shops.lives.values(), shop) for shop in SHOPS}
        gone = {shop: {*erased[shop].values(), *(c for s, c in self.population.emptied if s == shop)} for shop in SHOPS}
        customers = {shop: [c for c in some if c.id not in gone[shop]] for shop, some in customers.items()}
        found += redactions.redaction_violations(self)
        found += wave_violations(self.population, self.shops, self.files)
        for consents in self.shops.consents.values():
            found += consent_violations(self.population, consents)
            found += consent_differences(self.population, consents, customers)
        with reading(self.engine) as connection:
            for left in connection.execute(select(RequestRow.__table__)):
                waits = self.population.users.get(left.clerk_user_id)
                if left.reason == ADDRESS and waits is not None and waits.blocked & self.population.erases:
                    continue  # the address is free when Shopify has erased the customer, which no one tells
                if (left.clerk_user_id, left.store) in kept:
                    continue
                due_s = (left.due_at - self._now()).total_seconds()
                what = f"due in {due_s:.0f} s, {left.reason}, {left.attempts} attempts, owner {left.owner}"
                found.append(Violation("queue left over", f"{left.clerk_user_id} in {left.store}", what))
        if self.clerk.waiting:
            found.append(Violation("not settled", "clerk", f"{self.clerk.waiting} webhooks"))
        for shop in SHOPS:
            for row in (m for chunk in self.state.scan(ShopDomain(domain(shop))) for m in chunk):
                user = self.population.users.get(row.clerk_user_id)
                left_out = user is None or not user.wanted(shop) or shop in user.blocked or user.id in erased[shop]
                left_out = left_out or (row.clerk_user_id, shop) in self.population.redacted
                if user is not None and not left_out and row.status != "in_sync":
                    what = f"{row.status} {row.reason} {row.message}"
                    found.append(Violation("not in sync", f"{user.id} in {shop}", what))
        return found

    def _lives(self) -> Iterator[Life]:
        """Every customer; with the user that they still have by the state, where taking that back was broken off."""
        for key, life in self.shops.lives.items():
            is_half = key in self.half_undone and life.owner is None and len(life.steps) > 1
            yield replace(life, steps=life.steps[:-1]) if is_half else life

    def _kept_by_rule(self) -> set[tuple[str, str]]:
        """Users who have left, in shops in which half of all have: an operator has to confirm that (rule 1)."""
        found = set()
        for shop in SHOPS:
            rows = [m for chunk in self.state.scan(ShopDomain(domain(shop))) for m in chunk]
            rows = [row for row in rows if row.status not in {"released", "erased"}]
            users = [self.population.users.get(row.clerk_user_id) for row in rows]
            gone = [user.id for user in users if user is not None and not user.here]
            found |= {(name, shop) for name in gone if 2 * len(gone) >= len(rows)}
        return found

    def _tell(self, outcome: Outcome) -> None:
        outcome.hours = (self.scheduler.now_s - START) / HOUR_S
        outcome.points = self.scheduler.points.total()
        outcome.changes = sum(self.stream.done.values())
        outcome.mutations = self.shops.mutations()
        outcome.injected = self.luck.injected
        if runs := sum(self.shops.sim(shop).counts["bulkOperationRunMutation"] for shop in SHOPS):
            outcome.injected["bulk operations run"] += runs
        outcome.digest, outcome.orders = self.scheduler.digest, frozenset(self.scheduler.orders)
        outcome.trace = tuple(self.scheduler.trace)
        named = {each.who.split()[0] for each in outcome.violations} & self.population.users.keys()
        users = (self.population.users[name] for name in sorted(named))
        outcome.stories = {u.id: f"{u.source}, {u.email}, {sorted(u.shops)}: " + ", ".join(u.story) for u in users}


@contextmanager
def in_simulation() -> Iterator[None]:
    """Without logs, since the trace has more, and without garbage collection at any moment."""
    before = structlog.get_config()

    def drop(_logger: object, _name: str, _event: object) -> str:
        raise structlog.DropEvent

    gc.collect()
    gc.freeze()  # what is there stays: to look through all modules takes longer than a virtual hour
    gc.disable()  # the scheduler collects after so many turns
    structlog.configure(processors=[drop])
    try:
        yield
    finally:
        structlog.configure(**before)
        gc.unfreeze()
        gc.enable()
