"""Every way to fail, on demand, and the control API by which another process asks for it."""

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest

from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.shop import Shop
from reconciler.simulator.world import SimShop, World
from tests.simulator.domain import Clock, TinyShop

DOMAIN = "tiny.myshopify.com"
SET = "mutation($i: CustomerSetInput!) { customerSet(input: $i) { customer { id } userErrors { message } } }"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    world = World(Clock())
    world.add_shop(DOMAIN, access_token="tok", shop=cast("Shop", TinyShop(DOMAIN)))
    with SimulatorServer(world) as server:
        yield world, server.url(DOMAIN)


@pytest.fixture
def http(served: tuple[World, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served[1], headers={"X-Shopify-Access-Token": "tok"}) as http:
        yield http


@pytest.fixture
def sim(served: tuple[World, str]) -> SimShop:
    sim = served[0].shops[DOMAIN]
    sim.faults.clear()
    sim.status = None
    cast("Any", sim.shop).people.clear()
    return sim


def post(http: httpx.Client, text: str = SET, email: str = "ada@example.com") -> httpx.Response:
    variables = {"i": {"email": email}} if text == SET else {}
    return http.post("/admin/api/2026-10/graphql.json", json={"query": text, "variables": variables})


def people(sim: SimShop) -> int:
    return len(cast("Any", sim.shop).people)


def test_lost_before_does_nothing_and_lost_after_does_the_work(http: httpx.Client, sim: SimShop) -> None:
    sim.faults.add("lost_before", on="customerSet")
    with pytest.raises(httpx.TransportError):
        post(http)
    assert people(sim) == 0
    sim.faults.add("lost_after", on="customerSet")
    with pytest.raises(httpx.TransportError):
        post(http)
    assert people(sim) == 1
    assert post(http).status_code == 200


def test_a_fault_waits_for_its_root_field_and_its_turn(http: httpx.Client, sim: SimShop) -> None:
    fault = sim.faults.add("status", on="customerSet", status=503, after=1, times=2)
    assert post(http, "{ __typename }").status_code == 200
    assert [post(http).status_code for _ in range(4)] == [200, 503, 503, 200]
    assert (fault.hits, sim.faults.pending()) == (2, 0)


def test_a_fault_can_look_at_the_variables(http: httpx.Client, sim: SimShop) -> None:
    sim.faults.add("internal_error", times=None, when=lambda given: given.get("i", {}).get("email") == "b@example.com")
    assert post(http, email="a@example.com").json()["data"]["customerSet"]["customer"]
    assert post(http, email="b@example.com").json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert post(http, email="b@example.com").json()["data"] is None


@pytest.mark.parametrize("status", [401, 403, 423, 429, 430, 500, 502, 503])
def test_any_status_can_be_asked_for_with_retry_after(http: httpx.Client, sim: SimShop, status: int) -> None:
    sim.faults.add("status", status=status, retry_after_s=2.5)
    response = post(http)
    assert (response.status_code, response.headers["Retry-After"]) == (status, "2.5")
    assert people(sim) == 0


def test_a_page_half_a_reply_and_an_empty_payload(http: httpx.Client, sim: SimShop) -> None:
    sim.faults.add("html")
    page = post(http)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    sim.faults.add("truncated")
    with pytest.raises(ValueError, match=r"."):
        post(http).json()
    assert people(sim) == 1
    sim.faults.add("null_payload")
    assert post(http).json()["data"] == {"customerSet": None}
    assert people(sim) == 1
    sim.faults.add("internal_error_after")
    assert post(http).json()["data"] is None
    assert people(sim) == 2
    sim.faults.add("status", status=502, body="gateway")
    assert post(http).text == "gateway"


def test_throttled_and_denied_on_demand(http: httpx.Client, sim: SimShop) -> None:
    sim.faults.add("throttled")
    assert post(http).json()["errors"][0]["extensions"]["code"] == "THROTTLED"
    sim.faults.add("missing_scope")
    denied = post(http).json()
    assert (denied["data"], denied["errors"][0]["extensions"]["code"]) == ({"customerSet": None}, "ACCESS_DENIED")
    assert people(sim) == 0


def test_a_slow_answer_comes_with_the_other_faults(http: httpx.Client, sim: SimShop) -> None:
    sim.faults.add("slow", seconds=0.2)
    sim.faults.add("status", status=500)
    start = time.monotonic()
    assert post(http).status_code == 500
    assert time.monotonic() - start >= 0.2


def test_a_call_that_is_held_continues_once_the_faults_are_cleared(http: httpx.Client, sim: SimShop) -> None:
    held = sim.faults.add("slow", on="customerSet", seconds=3600.0)
    answers: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(post(http).status_code))
    slow.start()
    while not held.hits:
        assert post(http, "{ __typename }").status_code == 200  # no one else waits
    assert people(sim) == 0
    sim.faults.clear()
    slow.join(60)
    assert (answers, people(sim)) == ([200], 1)


def test_an_unknown_fault_is_named(sim: SimShop) -> None:
    with pytest.raises(ValueError, match="unknown fault 'gremlin'"):
        sim.faults.add(cast("Any", "gremlin"))


def test_another_process_steers_the_shop_by_the_control_api(http: httpx.Client, sim: SimShop) -> None:
    post(http)
    there = f"/_sim/{DOMAIN}"
    assert http.post(f"{there}/faults", json={"kind": "status", "status": 503}).json() == {"pending": 1}
    assert http.post(f"{there}/faults", json={"clear": True}).json() == {"pending": 0}
    assert http.post(f"{there}/faults", json={"kind": "gremlin"}).status_code == 400
    edited = http.post(f"{there}/edit", json={"id": "gid://shopify/Customer/1", "firstName": "Ada"}).json()
    assert edited["firstName"] == "Ada"
    assert "metafield" not in edited
    assert [each["firstName"] for each in http.get(f"{there}/customers").json()] == ["Ada"]
    assert http.get(f"{there}/calls").json()[-1]["roots"] == ["customerSet"]
    assert http.get("/_sim/stats").json()[DOMAIN]["counts"]["customerSet"] >= 1
    assert http.post(f"{there}/status", json={"status": 402}).json() == {"status": 402}
    assert post(http).status_code == 402
    assert http.post(f"{there}/neighbour", json={"points_per_s": 0}).json() == {"points_per_s": 0}
    assert http.post(f"{there}/dance").status_code == 404
    assert http.post(f"{there}/edit", json={"unknown": 1}).status_code == 400
    for path in ("/_sim/unknown.myshopify.com/customers", "/_sim/unknown.myshopify.com/calls"):
        assert http.get(path).status_code == 404
    assert http.post("/_sim/unknown.myshopify.com/edit").status_code == 404


def test_the_server_stops_immediately_and_gives_its_ports_back() -> None:
    world = World()
    world.add_shop(DOMAIN, access_token="tok", shop=cast("Shop", TinyShop(DOMAIN)))
    with SimulatorServer(world) as server:
        url = server.url(DOMAIN)
        assert httpx.get(f"{url}/_sim/stats").status_code == 200
        start = time.monotonic()
    assert time.monotonic() - start < 15  # it does not wait until the client closes the connection
    assert world.ports == {}
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/_sim/stats")
