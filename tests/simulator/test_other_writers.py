"""Who else changes a shop: an identity provider that imports claims, and the merchant who renames it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import SimShop, World
from tests.simulator.domain import Clock
from tests.simulator.harness import SimulatorHarness

OLD, NEW = "acme.myshopify.com", "acme-group.myshopify.com"


def test_an_import_overwrites_names_phone_and_all_tags(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com", phone="+16135550100", tags=["ours", "vip"], note="kept")
    sim.shop.staff_claim_import(email="ADA@example.com", first_name="Augusta", tags=["claims"])
    found = sim.find(id=made["id"])
    assert (found["firstName"], found["lastName"], found["phone"]) == ("Augusta", None, None)
    assert (found["tags"], found["note"], found["email"]) == (["claims"], "kept", "ada@example.com")


def test_an_import_makes_who_is_not_there(sim: SimulatorHarness) -> None:
    sim.shop.staff_claim_import(email="new@example.com", last_name="Hopper")
    assert sim.find(emailAddress="new@example.com")["lastName"] == "Hopper"
    with pytest.raises(ValueError, match="there is no customer"):
        sim.shop.staff_claim_import("gid://shopify/Customer/404")


def changes(seed: int, minutes: int = 30) -> list[tuple[Any, ...]]:
    """The people as they are after so many minutes of an import each."""
    sim = SimulatorHarness()
    for number in range(5):
        sim.set(email=f"p{number}@example.com", tags=["ours"])
    sim.shop.staff_claims(60, seed)
    for _ in range(minutes):
        sim.clock.now += 60
        sim.find(emailAddress="p0@example.com")
    found = [sim.find(emailAddress=f"p{number}@example.com") for number in range(5)]
    return [(each["firstName"], each["lastName"], each["phone"], *each["tags"]) for each in found]


def test_the_rhythm_follows_from_its_seed() -> None:
    assert changes(1) == changes(1) != changes(2)
    assert any("ours" not in each for each in changes(1))


def test_the_rhythm_ends_and_makes_up_for_a_leap_of_the_clock(sim: SimulatorHarness) -> None:
    sim.set(email="ada@example.com")
    sim.shop.staff_claims(10)
    sim.clock.now += 35
    sim.find(emailAddress="ada@example.com")
    schedule = sim.shop.schedule
    assert schedule is not None
    assert (schedule.done, schedule.next_at) == (3, sim.clock.now + 5)
    sim.clock.now += 1e9
    sim.find(emailAddress="ada@example.com")
    assert schedule.done == 1003
    sim.shop.staff_claims(0)
    assert sim.shop.schedule is None
    with pytest.raises(ValueError, match="not below 0"):
        sim.shop.staff_claims(-1)


def test_no_one_to_import_is_no_error(sim: SimulatorHarness) -> None:
    sim.shop.staff_claims(1)
    sim.clock.now += 5
    assert sim.find(emailAddress="ada@example.com") is None


@pytest.fixture
def served() -> Iterator[tuple[World, SimShop, httpx.Client]]:
    world = World(Clock())
    sim = world.add_shop(OLD, access_token="token")
    world.add_shop("other.myshopify.com", access_token="other")
    sim.shop.webhook_secret = "secret"
    with SimulatorServer(world) as server, httpx.Client(base_url=server.url(OLD)) as client:
        yield world, sim, client


def test_a_shop_changes_its_name_and_keeps_its_gid(served: tuple[World, SimShop, httpx.Client]) -> None:
    world, shop, client = served

    def ask(host: str) -> Any:
        reply = client.post(
            "/admin/api/2026-07/graphql.json",
            json={"query": "{ shop { id myshopifyDomain } }"},
            headers={"X-Shopify-Access-Token": "token", "Host": host},
        )
        return reply.json()["data"]["shop"]

    before = ask(OLD)
    assert client.post(f"/_sim/{OLD}/rename", json={"domain": NEW}).json() == {"domain": NEW}
    assert before["myshopifyDomain"] == OLD
    assert ask(NEW) == ask(OLD) == {"id": before["id"], "myshopifyDomain": NEW}
    assert world.find_shop(OLD) is world.find_shop(NEW) is shop
    assert (world.url(OLD), list(world.shops)) == (world.url(NEW), [NEW, "other.myshopify.com"])
    told = [event for event in shop.shop.outbox if event.topic == "SHOP_UPDATE"]
    assert [event.payload["myshopify_domain"] for event in told] == [NEW]


def test_a_name_belongs_to_one_shop(served: tuple[World, SimShop, httpx.Client]) -> None:
    world, _, client = served
    taken = client.post(f"/_sim/{OLD}/rename", json={"domain": "other.myshopify.com"})
    assert (taken.status_code, taken.json()) == (400, {"error": "shop other.myshopify.com is there already"})
    world.rename_shop(OLD, NEW)
    with pytest.raises(ValueError, match="there already"):
        world.add_shop(OLD)
    with pytest.raises(ValueError, match="there is no shop"):
        world.rename_shop("unknown.myshopify.com", "new.myshopify.com")
