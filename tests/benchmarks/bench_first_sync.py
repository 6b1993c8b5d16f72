"""The first sync of a shop: what it costs in points, by bulk operations and one by one, and how well the rate is used.

    python -m tests.benchmarks.bench_first_sync [--rows 100000] [--seconds 60]

Bounded, over loopback. Goals: by bulk below 0.1 points a user, mirror and plan included, in at most 1.3 times the shop's
own time, which is that of all lines by as many operations as run at the same time; one by one ten points (and a
bit for metafields, 25 of which go in one call); 95 % of the restore rate used over a minute; never a THROTTLED reply.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.mirror.reader import MirrorReader
from reconciler.controller.mirror.refresh import check_mirror, fill
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.scan.plan import scan_store
from reconciler.simulator.bulk.records import Operation
from tests.benchmarks.served import Served, backlinks, served

ROWS_MAX = 1_000_000
SECONDS_MAX = 600
RATE, SIZE = 100.0, 2000.0  # a Standard shop
SHOP_TIME_MAX = 1.3  # the time of `apply` in bulk, against the shop's own
LINES_A_S = 100.0  # of each of the shop's operations
AT_ONCE = 5  # of them
BURST_S = 3.0  # until what the bucket held is spent
AVATAR: dict[str, Any] = {"metafields": {"clerk.avatar": {"from": "image_url", "type": "url"}}}


def measure(rows: int = 2000, seconds: int = 60) -> dict[str, Any]:
    """All figures."""
    rows, seconds = min(rows, ROWS_MAX), min(seconds, SECONDS_MAX)
    with served(rows, work_clock=True, **AVATAR) as shop:
        bulk = measure_bulk(shop)
    with served(300, **AVATAR) as shop:
        metafields = _points_one_by_one(shop)
    with served(int(SIZE / 10 + (BURST_S + seconds) * RATE / 10 * 1.2)) as shop:
        paced = _paced(shop, seconds)
    paced["points_a_user_with_a_metafield"] = metafields
    met = {
        "bulk_below_0.1_points_a_user": bulk["points_a_user"] < 0.1,
        "one_by_one_ten_points_a_user": paced["points_a_user"] <= 10,
        "rate_used_95_percent": paced["share_of_rate"] >= 0.95,
        "never_throttled": bulk["throttled"] == paced["throttled"] == 0,
    }
    return {"bulk": bulk, "one_by_one": paced, "met": met}


def measure_bulk(shop: Served, lines_a_s: float = LINES_A_S) -> dict[str, Any]:
    """All of it: the mirror filled, the plan made by it, the writes.

    By the clock of what this thread computes and pauses: the shop answers as soon as it is asked, and works by its rate.
    """
    bucket, client = shop.bucket(rate=RATE, size=SIZE), shop.client()
    began = shop.clock.now()
    mirror = shop.mirror(client)
    fill(mirror)
    checked = check_mirror(mirror)
    if checked.as_of is None:
        raise RuntimeError(f"the mirror is not current: {checked.doubt}")
    context = shop.store_context(client, bulk=True)
    by_mirror = MirrorReader(shop.store, mirror.mirror, context.readers.customers)
    scan_result = scan_store(
        shop.store, replace(context.readers, by_mirror=by_mirror), ObserveOptions(now=shop.clock.now())
    )
    planned_s = (shop.clock.now() - began).total_seconds()
    before = len(shop.sim.shop.operations)
    shop.sim.shop.bulk_rows_per_s, shop.sim.shop.bulk_rows_per_look = lines_a_s, ROWS_MAX  # not by our questions
    began, planning = shop.clock.now(), bucket.spent
    results = [o.result for o in apply_plan(scan_result, context, fresh=True)]
    took_s = (shop.clock.now() - began).total_seconds()
    operations = list(shop.sim.shop.operations.values())[before:]
    own_s = _own_s(operations, lines_a_s)
    client.close()
    if results.count("applied") != len(results) or len(backlinks(shop.sim)) != len(results):
        raise RuntimeError(f"of {len(results)} users {results.count('applied')} were done")
    return {
        "users": len(results),
        "points": bucket.spent,
        "points_for_the_plan": planning,
        "points_a_user": round(bucket.spent / len(results), 4),
        "operations": len(shop.sim.shop.operations),
        "throttled": bucket.throttled,
        "of_the_shops_time": round(took_s / own_s, 2),
        "of_the_shops_time_with_the_plan": round((planned_s + took_s) / own_s, 2),
        "shop_s": round(own_s, 1),
        "plan_s": round(planned_s, 1),
        "apply_s": round(took_s, 1),
        "plan_after": shop.plan().plan.summary.actions,
    }


def _own_s(operations: Sequence[Operation], lines_a_s: float) -> float:
    """The shop's own time: that of all lines, by as many operations as run at the same time, none of which ever waits.

    Not the time in which they ran: where we are late, they are, too.
    """
    first = operations[0]
    at_once = sum(each.created_at < first.created_at + first.rows / lines_a_s for each in operations)
    return sum(each.rows for each in operations) / lines_a_s / min(at_once, AT_ONCE)


def _points_one_by_one(shop: Served) -> float:
    scan_result = shop.plan()
    bucket, client = shop.bucket(rate=100_000, size=100_000), shop.client()
    done = sum(
        o.result == "applied" for o in apply_plan(scan_result, shop.store_context(client, bulk=False), fresh=True)
    )
    client.close()
    return round(bucket.spent / done, 2)


def _paced(shop: Served, seconds: int) -> dict[str, Any]:
    """For so long; the share is of what the shop gave back once what the bucket held was spent."""
    scan_result = shop.plan()
    bucket, client = shop.bucket(rate=RATE, size=SIZE), shop.client()
    shop.sim.calls.clear()
    began = shop.sim.shop.clock()
    done = 0
    outcomes = apply_plan(scan_result, shop.store_context(client, bulk=False), fresh=True)
    for outcome in outcomes:
        done += outcome.result == "applied"
        if shop.sim.shop.clock() - began > BURST_S + seconds:
            break
    points = sum(call.cost for call in shop.sim.calls if call.kind == "mutation")
    made = sum(call.cost > 0 for call in shop.sim.calls if call.kind == "mutation")
    outcomes.close()  # type: ignore[attr-defined]  # a generator: its threads end here
    client.close()
    window = [call.cost for call in shop.sim.calls if BURST_S < call.at - began <= BURST_S + seconds]
    return {
        "users": done,
        "points_a_user": round(points / made, 2),
        "seconds": seconds,
        "share_of_rate": round(sum(window) / (RATE * seconds), 4),
        "users_a_second": round(len(window) / seconds, 2),
        "throttled": bucket.throttled,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    print(json.dumps(measure(given.rows, given.seconds), indent=2))  # noqa: T201  its output


if __name__ == "__main__":
    main()
