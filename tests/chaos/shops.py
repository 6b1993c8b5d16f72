"""The simulated shops: what staff and guests do in them, and a biography of every customer there ever was."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from reconciler.simulator.customers.records import SimCustomer, rare
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.webhooks.delivery import Deliverer, Weather
from reconciler.simulator.world import ALL_SCOPES, SimShop, World, wall_clock
from tests.chaos.checker import Customer, Life
from tests.chaos.consent import CHANNELS, Channel, Consents
from tests.chaos.people import SHOPS, Bystander
from tests.clock import WallClock

LOOK_S = 0.1
SECRET = "the-app-secret"
TOPICS = (
    "CUSTOMERS_CREATE", "CUSTOMERS_UPDATE", "CUSTOMERS_DELETE", "CUSTOMERS_MERGE",
    "CUSTOMERS_EMAIL_MARKETING_CONSENT_UPDATE",
)  # fmt: skip
GID = "gid://shopify/Customer/"


def domain(shop: str) -> str:
    return f"{shop}.myshopify.com"


def wall_s() -> float:
    return WallClock().now().timestamp()


@dataclass(slots=True)
class Shops:
    """Both shops. `lives` grows with each `look`."""

    world: World
    now: Callable[[], float] = wall_s
    lives: dict[tuple[str, str], Life] = field(default_factory=dict)
    consents: dict[Channel, Consents] = field(default_factory=lambda: {each: Consents(each) for each in CHANNELS})
    touched: dict[tuple[str, str], float] = field(default_factory=dict)
    """When staff or the customer changed a customer last, by shop and customer id."""
    _known: dict[tuple[str, str], tuple[str | None, str | None]] = field(default_factory=dict)

    def sim(self, shop: str) -> SimShop:
        return self.world.shops[domain(shop)]

    def staff(self, shop: str, action: str, **details: Any) -> Any:
        """What staff or customers do in Shopify."""
        sim = self.sim(shop)
        with sim.lock:
            self._look_at_consents(shop)
            done = sim.staff(action, **details)
            self.touched[shop, str(details.get("id", ""))] = self.now()
            self._look_at_consents(shop, by_shop=True)
        return done

    def _look_at_consents(self, shop: str, *, by_shop: bool = False) -> None:
        for consents in self.consents.values():
            consents.look(shop, self.sim(shop).shop.people, _owner, by_shop=by_shop)

    def add(
        self, shop: str, *, guest: bool, email: str, first: str, last: str, orders: int = 0, **more: Any
    ) -> Bystander:
        """A customer that nothing of ours has made."""
        sim = self.sim(shop)
        with sim.lock:
            made = sim.staff("create", email=email, first_name=first, last_name=last, **more)
            if orders:
                sim.staff("order", id=made["id"], count=orders)
            customer = self.find(shop, made["id"])
        assert customer is not None
        return Bystander(
            shop, customer.id, customer.email or "", first, last, customer.note, customer.tags, orders, guest=guest
        )

    def find(self, shop: str, customer_id: str) -> Customer | None:
        return next((each for each in self.customers(shop) if each.id == customer_id), None)

    def owned_by(self, shop: str, user: str) -> Customer | None:
        return next((each for each in self.customers(shop) if each.owner == user), None)

    def customers(self, shop: str) -> list[Customer]:
        sim = self.sim(shop)
        with sim.lock:
            return [_plain(shop, record) for record in sim.shop.people]

    def mutations(self) -> int:
        return sum(sim.mutations for sim in self.world.shops.values())

    def calls_of(self, since: dict[str, Counter[str]]) -> str:
        """Root fields of mutations that ran since then."""
        said = []
        for shop in SHOPS:
            more = Counter(self.sim(shop).counts) - since[shop]
            said += [f"{shop} {name} {n}" for name, n in sorted(more.items())]
        return ", ".join(said)

    def counts(self) -> dict[str, Counter[str]]:
        return {shop: Counter(self.sim(shop).counts) for shop in SHOPS}

    def subscribe(self) -> None:
        """Let the shops tell of their customers."""
        for shop in SHOPS:
            sim = self.sim(shop)
            for topic in TOPICS:
                uri = f"https://hooks.example.com/webhooks/shopify/{shop}"
                with sim.lock:
                    answer = sim.shop.webhook_subscription_create(topic, {"uri": uri})
                assert not answer["userErrors"], answer

    def look(self) -> None:
        at = self.now()
        for shop in SHOPS:
            sim = self.sim(shop)
            with sim.lock:
                now = {(shop, GID + str(r.number)): (_owner(r), r.email) for r in sim.shop.people}
                erased = {
                    (shop, GID + str(r.number)) for r in sim.shop.people if rare(r).erasure_requested_at is not None
                }
                self._look_at_consents(shop)
            for key, state in now.items():
                if self._known.get(key, ("", "")) != state:
                    self.lives.setdefault(key, Life(*key)).steps.append((at, *state))
            for key in erased:
                life = self.lives[key]
                life.erased_at = at if life.erased_at is None else life.erased_at
            for key in [key for key in self._known if key[0] == shop and key not in now]:
                self.lives[key].gone_at = at
                del self._known[key]
            self._known.update(now)


@dataclass(slots=True, kw_only=True)
class ServedShops(Shops):
    """Both shops over HTTP."""

    server: SimulatorServer

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Look at every customer ten times a second."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(LOOK_S):
                self.look()

        thread = threading.Thread(target=run, name="biographer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.look()

    @contextmanager
    def webhooks(self, urls: dict[str, str], seed: int) -> Iterator[dict[str, Deliverer]]:
        """Deliver what the shops tell, unreliably, to these addresses."""
        weather = Weather(drop=0.1, duplicate=0.1, shuffle=True, delay_s=0.5)
        made: dict[str, Deliverer] = {}
        self.subscribe()
        for shop, url in urls.items():
            sim = self.sim(shop)
            routes = {"https://hooks.example.com": url}
            made[shop] = Deliverer(sim.shop, secret=SECRET, routes=routes, weather=weather, seed=seed)
        for each in made.values():
            each.__enter__()
        try:
            yield made
        finally:
            for each in made.values():
                each.__exit__(None, None, None)


def _owner(record: SimCustomer) -> str | None:
    link = record.metafield(("clerk", "user_id"))
    return link.value if link else None


def _plain(shop: str, r: SimCustomer) -> Customer:
    avatar, moved = r.metafield(("clerk", "avatar_url")), r.metafield(("clerk", "moved_to"))
    return Customer(
        shop, GID + str(r.number), r.email, r.first_name, r.last_name, r.phone, r.note, tuple(r.tags), r.orders,
        _owner(r), avatar.value if avatar else None, moved.value if moved else None,
    )  # fmt: skip


def make_world(seed: int, *, strange: bool = False, clock: Callable[[], float] = wall_clock) -> World:
    """Both shops; `strange`: they show every value in another spelling, the same for the same value."""
    world = World(clock)
    for shop in SHOPS:
        sim = world.add_shop(
            domain(shop), access_token=f"token-{shop}", restore_rate=1000, bucket_size=20_000, scopes=set(ALL_SCOPES),
            seed=seed,
        )  # fmt: skip
        sim.shop.habits.strange = seed if strange else None
        definition = {
            "ownerType": "CUSTOMER", "namespace": "clerk", "key": "user_id", "name": "Clerk user", "type": "id",
            "pin": True,
        }  # fmt: skip
        with sim.lock:
            made = sim.shop.metafield_definition_create(definition)
        assert not made["userErrors"], made
    return world


@contextmanager
def open_shops(seed: int, *, strange: bool = False) -> Iterator[ServedShops]:
    """Both shops while they are served."""
    world = make_world(seed, strange=strange)
    for sim in world.shops.values():
        sim.latency_s = 0.01
    with SimulatorServer(world) as server:
        yield ServedShops(world, server=server)
