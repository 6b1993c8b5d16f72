"""How fast a change reaches the shop: webhooks answered a second, and from a signed webhook to the mutation at the shop.

    python -m tests.benchmarks.bench_nudge

One replica of `run` with its ordinary pauses, in a process of its own, beside a simulated shop without delays, so that what
is measured is ours: the webhook, the queue, the reconcile with its reads, and the write. The shop's own answer time is
measured between the nudges, by a plain client. A burst of nudges needs two calls each, and the shop answers no faster than
that over the connections that `run` has. Bounded, over loopback.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx

from reconciler.manager.intervals import Intervals
from reconciler.shopify.api.client import CONNECTIONS
from reconciler.state.requests.queue import RequestTable
from tests import servers
from tests.benchmarks import bench_webhooks
from tests.benchmarks.bench_reconcile import closing_engine, plain_shop, running
from tests.clerk import sender
from tests.clock import WallClock
from tests.manager.harness import EU, US, WAIT_S, RunHarness, Running, run_harness, until, user_event

SAMPLES: Final = 150
BURST: Final = 60
RATE: Final = 200
SECONDS: Final = 5
CALLS: Final = 2
"""Of a nudge at the shop: a read and a mutation."""
HANGS_S: Final = 8.0  # each call of a shop that hangs


def measure(*, samples: int = SAMPLES, burst: int = BURST) -> dict[str, Any]:
    """All figures; times in milliseconds."""
    webhooks = bench_webhooks.run(RATE, SECONDS)
    webhooks["answers_per_s_and_core"] = round(1 / webhooks["server_cpu_s_per_request"])
    figures: dict[str, Any] = {"webhooks": webhooks}
    with tempfile.TemporaryDirectory() as folder:
        figures["sqlite"] = _figures(Path(folder), "", samples, burst)
    with tempfile.TemporaryDirectory() as folder:
        figures["beside_a_hanging_shop"] = _beside(Path(folder), samples)
    with servers.postgres() as server, tempfile.TemporaryDirectory() as folder:
        figures["postgres"] = _figures(Path(folder), server.url(server.create()), samples, burst)
    return figures


def _figures(folder: Path, state_url: str, samples: int, burst: int) -> dict[str, Any]:
    with run_harness(folder, state_url=state_url) as harness, ExitStack() as stack:
        for n in range(max(samples, burst)):
            harness.person(f"user_{n}", first_name="Before")
        run = stack.enter_context(running(harness))
        queue = RequestTable(stack.enter_context(closing_engine(harness.state_url)))
        until(lambda: len(_mutations(harness)) >= max(samples, burst) and not queue.depth(), "all have customers")
        app = stack.enter_context(httpx.Client(base_url=run.url, timeout=WAIT_S))
        shop = stack.enter_context(plain_shop(harness))
        one_by_one, answers = [], []
        for n in range(samples):
            seen = len(_mutations(harness))
            began = _send(harness, app, n)
            until(lambda seen=seen: len(_mutations(harness)) > seen, "the mutation has come")  # type: ignore[misc]
            one_by_one.append(_mutations(harness)[seen] - began)
            until(lambda: not queue.depth(), "the queue is worked off")
            answers.append(shop())
        seen = len(_mutations(harness))
        sent = [_send(harness, app, n) for n in range(burst)]
        until(lambda: len(_mutations(harness)) >= seen + burst, "all mutations have come")
        together = [at - since for since, at in zip(sent, sorted(_mutations(harness)[seen:]), strict=False)]
    return _judged(sorted(one_by_one), sorted(together), sorted(answers))


def _judged(one_by_one: list[float], together: list[float], answers: list[float]) -> dict[str, Any]:
    """The figures, and what the goals allow: twice the shop's answer and 5 ms; twice what 30 nudges need of the shop."""
    answer_ms = answers[len(answers) // 2] * 1000
    one, many = _percentiles(one_by_one), _percentiles(together)
    shops_ms = len(together) * CALLS / CONNECTIONS * answer_ms
    return {
        "shop_answer_ms": round(answer_ms, 1),
        "one_by_one_ms": one,
        "one_by_one_goal_ms": round(2 * answer_ms + 5, 1),
        "burst_ms": {"of": len(together), **many},
        "burst_goal_ms": round(2 * shops_ms, 1),
    }


def _send(harness: RunHarness, app: httpx.Client, number: int) -> float:
    """Change a user and send the webhook; gives when."""
    at, user = WallClock().now(), f"user_{number}"
    harness.person(user, first_name=f"At {at.timestamp()}")
    body = sender.event("user.updated", user_event(user, updated_at=at))
    began = WallClock().now()
    headers = sender.headers(body, message_id=harness.new_id(), at=began)
    assert app.post("/webhooks/clerk", content=body, headers=headers).status_code == 202
    return began.timestamp()


def _beside(folder: Path, samples: int) -> dict[str, Any]:
    """The same beside another shop, which every webhook concerns as well: while it answers, and while it hangs."""
    ordinary = {name: getattr(Intervals(), name) for name in ("poll_s", "idle_poll_s", "lease_s", "slow_s")}
    with run_harness(folder, US, EU) as harness:
        harness.settings["controller"]["workers"] = 8
        for n in range(samples):
            harness.person(f"user_{n}", first_name="Before")
        with harness.replica(**ordinary) as run:
            run.scanned_all()
            well = sorted(_one(harness, run, n) for n in range(samples))
            harness.shop(EU).faults.add("slow", seconds=HANGS_S, times=None)
            ill = sorted(_one(harness, run, n, settled=False) for n in range(samples))
            harness.shop(EU).faults.clear()
    one, other = _percentiles(well), _percentiles(ill)
    ratios = {f"{part}_ratio": round(other[part] / one[part], 2) for part in one}
    return {"well_ms": one, "hanging_ms": other, **ratios}


def _one(harness: RunHarness, run: Running, number: int, *, settled: bool = True) -> float:
    """Seconds from sending the webhook to the mutation at the shop."""
    seen = _mutations(harness)
    began = _compare_rows(harness, run, number)
    until(lambda: len(_mutations(harness)) > len(seen), "the mutation has come")
    if settled:
        run.settled()
    return _mutations(harness)[len(seen)] - began


def _compare_rows(harness: RunHarness, run: Running, number: int) -> float:
    at = WallClock().now()
    harness.person(f"user_{number}", first_name=f"At {at.timestamp()}")
    began = WallClock().now().timestamp()
    assert run.clerk("user.updated", user_event(f"user_{number}", updated_at=at)) == 202
    return began


def _mutations(harness: RunHarness) -> list[float]:
    return [call.at for call in list(harness.shop().calls) if call.kind == "mutation"]


def _percentiles(took: list[float]) -> dict[str, float]:
    return {f"p{part}": round(took[len(took) * part // 100] * 1000, 1) for part in (50, 99)}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))  # noqa: T201  its output
