"""One simulated shop over real HTTP and our own half of the world before it, in real time: what benchmarks run on."""

from __future__ import annotations

import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from reconciler.controller.bulk.context import BulkContext
from reconciler.controller.context import StoreContext
from reconciler.controller.mirror.reader import MirrorReader
from reconciler.controller.mirror.refresh import MirrorContext
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.readers import Readers
from reconciler.controller.scan.plan import scan_store
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.plan.gather import ScanResult
from reconciler.ports import Clock
from reconciler.shopify.api.auth import FixedToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.bulk.reader import ShopBulkReader
from reconciler.shopify.bulk.writer import ShopBulkWriter
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.listing import ShopCustomerLists
from reconciler.shopify.setup import ShopSetup
from reconciler.simulator.graphql.costs import Bucket
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import SimShop, World
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from tests.clock import WallClock, WorkClock
from tests.core.people import store
from tests.inprocess import Rows
from tests.state_store import StateStore

DOMAIN = ShopDomain("acme.myshopify.com")
TOKEN = "shpat_bench"
AMPLE = 100_000.0


@dataclass
class Served:
    """The shop as it is (`sim`), the table of profiles, and the state in a file."""

    sim: SimShop
    url: str
    folder: Path
    engine: Engine
    profiles: Rows
    store: Store
    clock: Clock
    sleep: Callable[[float], None]

    def client(self) -> ShopClient:
        tls = ssl.create_default_context()
        return ShopClient(DOMAIN, auth=FixedToken(TOKEN), api_version="2026-10", admin_url=self.url, ssl_context=tls)

    def add(self, count: int) -> None:
        """So many people in the table, all of them verified."""
        for n in range(count):
            values: dict[str, Any] = {
                "clerk_user_id": f"user_{n:07}",
                "email": f"person{n}@example.com",
                "email_verified": True,
                "first_name": f"Person {n}",
                "last_name": "Bench",
                "image_url": f"https://img.example.com/{n}.png",
            }
            profile = Profile.model_validate(values)
            self.profiles.rows[profile.clerk_user_id] = profile

    def bucket(self, *, rate: float, size: float) -> Bucket:
        """Another bucket for the shop, full: what was spent before does not count."""
        self.sim.bucket = Bucket(self.sim.shop.clock, size=size, restore_rate=rate)
        return self.sim.bucket

    def store_context(self, client: ShopClient, *, bulk: bool) -> StoreContext:
        customers, state = ShopCustomers(client, self.store), StateStore(self.engine)
        context = StoreContext(
            store=self.store,
            readers=Readers(self.profiles, customers, state),
            writer=customers,
            state=state,
            clock=self.clock,
            warn=lambda said: print(said, file=sys.stderr),  # noqa: T201  its words
        )
        if not bulk:
            return context
        shop = ShopBulkWriter(client, self.store)
        customers_by_mirror = MirrorReader(self.store, state, customers)
        return replace(
            context,
            bulk=BulkContext(shop, state, state, sleep=self.sleep, always=True, by_mirror=lambda: customers_by_mirror),
        )

    def mirror(self, client: ShopClient) -> MirrorContext:
        """What keeps the shop's mirror."""

        def wait(seconds: float) -> bool:
            self.sleep(seconds)
            return True

        return MirrorContext(
            store=self.store,
            mirror=StateStore(self.engine),
            bulk=ShopBulkReader(client, self.store),
            lists=ShopCustomerLists(client, self.store),
            customers=ShopCustomers(client, self.store),
            clock=self.clock,
            wait=wait,
        )

    def plan(self) -> ScanResult:
        """A whole look, with points enough; the table's guards are wide."""
        self.bucket(rate=AMPLE, size=AMPLE)
        client = self.client()
        try:
            scan_result = scan_store(
                self.store, self.store_context(client, bulk=False).readers, ObserveOptions(now=self.clock.now())
            )
        finally:
            client.close()
        if scan_result.plan.error is not None:
            raise RuntimeError(scan_result.plan.error)
        return scan_result


@contextmanager
def served(people: int, *, work_clock: bool = False, **policy: Any) -> Iterator[Served]:
    """An empty shop with what `bootstrap` makes, and so many people who should be in it; in real time, or by a WorkClock."""
    clock: WorkClock | WallClock = WorkClock() if work_clock else WallClock()
    guards = {kind: {"max": 10_000_000} for kind in ("create", "update", "adopt")}
    one = store(**{"name": "acme", "shop": DOMAIN, "guards": guards, "tags": ["app-user"], **policy})
    world = World(clock=lambda: clock.now().timestamp())
    sim = world.add_shop(DOMAIN, access_token=TOKEN)
    with tempfile.TemporaryDirectory() as folder, SimulatorServer(world) as server:
        engine = open_engine(f"sqlite:///{folder}/state.db")
        ensure_schema(engine)
        made = Served(
            sim,
            server.url(DOMAIN),
            Path(folder),
            engine,
            Rows(),
            one,
            clock,
            clock.sleep if isinstance(clock, WorkClock) else time.sleep,
        )
        made.add(people)
        made.bucket(rate=AMPLE, size=AMPLE)
        client = made.client()
        ShopSetup(client).create_definition(one.backlink.namespace, one.backlink.key)
        client.close()
        try:
            yield made
        finally:
            engine.dispose()


def backlinks(sim: SimShop) -> set[ClerkUserId]:
    """The users that have a customer."""
    return {ClerkUserId(m.value) for c in sim.shop.people for m in c.metafields if m.key == "user_id"}
