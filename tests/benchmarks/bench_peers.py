"""The same people into the same kind of shop by other ways: what each claims, and what the shop really has.

    python -m tests.benchmarks.bench_peers [--rows 10000] [--peers PYTHON]

Each gets a fresh simulated shop (bounded, over loopback): some people are guests there already, the search index lags as
Shopify's does, and it throttles by Shopify's rules. Then the same once more, with nothing changed. drt-core and dlt are no
dependencies: they are installed into a folder that goes away, or taken from PYTHON; absent where that fails.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.scan.plan import scan_store
from tests.benchmarks import scratch
from tests.benchmarks.served import TOKEN, Served, served
from tests.clock import WallClock

ROWS_MAX = 100_000
RATE, SIZE = 1000.0, 2000.0
GUESTS = 20  # one person in so many has ordered before they signed up
SEARCH_LAG_S = 3.0
SLOW_ROWS = 200  # of drt as it comes: ten calls a second
HERE = Path(__file__).parent / "peers"
Party = Callable[[Served], dict[str, Any]]


def measure(rows: int = 1000, peers: Path | None = None) -> dict[str, Any]:
    """All figures, a party each."""
    rows = min(rows, ROWS_MAX)
    figures: dict[str, Any] = {
        "ours": _party(rows, lambda shop: _ours(shop, bulk=False)),
        "ours_by_bulk": _party(rows, lambda shop: _ours(shop, bulk=True)),
        "a_script": _party(rows, _script),
    }
    with scratch.scratch("drt-core", peers) as python:
        figures["drt"] = _party(rows, _drt(python, RATE)) if python else "absent"
        figures["drt_ten_a_second"] = _party(min(rows, SLOW_ROWS), _drt(python, 10)) if python else "absent"
    with scratch.scratch("dlt", peers) as python:
        figures["dlt"] = _party(rows, _dlt(python)) if python else "absent"
    return figures


def _party(rows: int, way: Party) -> dict[str, Any]:
    with _shop(rows) as shop:
        first = way(shop)
        had, mutations = _right(shop), shop.sim.mutations
        throttled = shop.sim.bucket.throttled
        shop.bucket(rate=RATE, size=SIZE)
        second = way(shop)
        return {
            "people": rows,
            **first,
            "right_in_the_shop": had,
            "throttled": throttled,
            "second_run_mutations": shop.sim.mutations - mutations,
            "second_run_claimed": second.get("claimed"),
            "right_after_the_second": _right(shop),
        }


@contextmanager
def _shop(rows: int) -> Iterator[Served]:
    with served(rows) as shop:
        for n in range(0, rows, GUESTS):
            shop.sim.staff("guest_checkout", email=f"person{n}@example.com")
        shop.sim.shop.search_lag_s = SEARCH_LAG_S
        shop.bucket(rate=RATE, size=SIZE)
        yield shop


def _right(shop: Served) -> int:
    """People with a customer that is there once, linked, with their name and tag."""
    found = {c.email: c for c in shop.sim.shop.people}
    return sum(
        (there := found.get(str(p.email))) is not None
        and there.first_name == p.first_name
        and "app-user" in there.tags
        and any(m.value == p.clerk_user_id for m in there.metafields)
        for p in shop.profiles.rows.values()
    )


def _ours(shop: Served, *, bulk: bool) -> dict[str, Any]:
    client = shop.client()
    context = shop.store_context(client, bulk=bulk)
    spent, began = shop.sim.bucket.spent, time.perf_counter()
    scan_result = scan_store(shop.store, context.readers, ObserveOptions(now=WallClock().now()))
    results = [o.result for o in apply_plan(scan_result, context, fresh=True)]
    client.close()
    failed = len(results) - results.count("applied")
    took_s = time.perf_counter() - began
    least_s = (shop.sim.bucket.spent - spent - SIZE) / RATE  # what the shop takes to give so many points
    return {
        "claimed": results.count("applied"),
        "claimed_failed": failed,
        "seconds": round(took_s, 1),
        "of_the_shops_limit": round(took_s / least_s, 2) if least_s > 1 else None,
    }


# --- a script as many have one: search, then create or update -----------------------------------------------------------

FIND = "query($q: String!) { customers(first: 1, query: $q) { nodes { id } } }"
CREATE = "mutation($i: CustomerInput!) { customerCreate(input: $i) { customer { id } userErrors { message } } }"
UPDATE = "mutation($i: CustomerInput!) { customerUpdate(input: $i) { customer { id } userErrors { message } } }"


def _script(shop: Served) -> dict[str, Any]:
    began = time.perf_counter()
    headers = {"X-Shopify-Access-Token": TOKEN}
    url = f"{shop.url}/admin/api/2026-10/graphql.json"

    def send(http: httpx.Client, query: str, **variables: Any) -> Any:
        response = http.post(url, json={"query": query, "variables": variables})
        response.raise_for_status()
        return response.json().get("data") or {}

    def some(people: list[Any]) -> int:
        claimed = 0
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as http:
            for person in people:
                found = send(http, FIND, q=f"email:{person.email}").get("customers") or {"nodes": []}
                fields = {
                    "email": person.email, "firstName": person.first_name, "lastName": person.last_name,
                    "tags": ["app-user"],
                    "metafields": [
                        {"namespace": "clerk", "key": "user_id", "value": person.clerk_user_id, "type": "id"}
                    ],
                }  # fmt: skip
                if found["nodes"]:
                    send(http, UPDATE, i={**fields, "id": found["nodes"][0]["id"]})
                else:
                    send(http, CREATE, i=fields)
                claimed += 1
        return claimed

    people = list(shop.profiles.rows.values())
    with ThreadPoolExecutor(4) as pool:
        claimed = sum(pool.map(some, [people[n::4] for n in range(4)]))
    return {"claimed": claimed, "claimed_failed": 0, "seconds": round(time.perf_counter() - began, 1)}


# --- programs of others ----------------------------------------------------------------------------------------------------


def _people(shop: Served) -> Path:
    path = shop.folder / "people.json"
    names = {"clerk_user_id", "email", "first_name", "last_name"}
    path.write_text(json.dumps([p.model_dump(mode="json", include=names) for p in shop.profiles.rows.values()]))
    return path


def _drt(python: Path, rate: float) -> Party:
    script = HERE / "with_drt.py"
    return lambda shop: scratch.run(python, script, str(_people(shop)), shop.url, TOKEN, str(rate))


def _dlt(python: Path) -> Party:
    return lambda shop: scratch.run(python, HERE / "with_dlt.py", str(_people(shop)), shop.url, TOKEN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--peers", type=Path)
    given = parser.parse_args()
    print(json.dumps(measure(given.rows, given.peers), indent=2))  # noqa: T201  its output


if __name__ == "__main__":
    main()
