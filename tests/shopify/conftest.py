"""One simulated shop over real HTTP, and our client to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.store import MetafieldRule, Store
from reconciler.shopify.api.auth import FixedToken, TokenSource
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.pace import Pace
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.setup import ShopSetup
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import SimShop, World

DOMAIN = ShopDomain("acme.myshopify.com")
TOKEN = "shpat_fixed"
SSL = ssl.create_default_context()  # making one takes longer than most tests
ADA = ClerkUserId("user_ada")
STORE = Store(
    name=StoreName("acme"),
    shop=DOMAIN,
    metafields={"clerk.avatar_url": MetafieldRule.model_validate({"from": "image_url", "type": "url"})},
)


@dataclass
class Acme:
    """The shop as Shopify has it (`sim`) and as we see it."""

    world: World
    sim: SimShop
    url: str
    warnings: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    open: list[ShopClient] = field(default_factory=list)

    def client(self, auth: TokenSource | None = None, **more: Any) -> ShopClient:
        settings: dict[str, Any] = {
            "api_version": "2026-10",
            "admin_url": self.url,
            "ssl_context": SSL,
            "on_warning": self.warnings.append,
        }
        client = ShopClient(DOMAIN, auth=auth or FixedToken(TOKEN), **(settings | more))
        self.open.append(client)
        return client

    def customers(self, client: ShopClient | None = None, store: Store = STORE) -> ShopCustomers:
        return ShopCustomers(client or self.client(), store, sleep=self.slept.append)

    def customer(self, customer_id: CustomerId | str) -> Any:
        return self.sim.shop.customer(id=customer_id)

    def made(self, **fields: Any) -> CustomerId:
        """A customer made behind our back."""
        return CustomerId(self.sim.staff("create", **fields)["id"])


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    """One server for a whole module: its shop is replaced for each test."""
    world = World()
    world.add_shop(DOMAIN)
    with SimulatorServer(world) as server:
        yield world, server.url(DOMAIN)


@pytest.fixture
def acme(served: tuple[World, str]) -> Iterator[Acme]:
    world, url = served
    del world.shops[DOMAIN]
    sim = world.add_shop(
        DOMAIN, access_token=TOKEN, client_id="app", client_secret="hush", refresh_token="r1", restore_rate=1000,
        bucket_size=20_000,
    )  # fmt: skip
    acme = Acme(world, sim, url)
    try:
        yield acme
    finally:
        for client in acme.open:
            client.close()


@pytest.fixture
def ready(acme: Acme) -> Acme:
    """The same with the back-link's definition in place."""
    ShopSetup(acme.client(pace=Pace())).create_definition("clerk", "user_id")
    return acme
