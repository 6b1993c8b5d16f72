"""How fast a change reaches the shop: webhooks answered a second, and from a signed webhook to the mutation at the shop.

    python -m tests.benchmarks.bench_nudge

One replica of `run` with its ordinary pauses beside a simulated shop without delays, so that what is measured is ours:
the webhook, the queue, the look with its reads, and the write. Bounded, over loopback.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from reconciler.manager.intervals import Intervals
from tests import servers
from tests.benchmarks import bench_webhooks
from tests.clock import WallClock
from tests.manager.harness import EU, US, RunHarness, Running, run_harness, until, user_event

SAMPLES: Final = 150
BURST: Final = 60
RATE: Final = 200
SECONDS: Final = 5
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
    ordinary = {name: getattr(Intervals(), name) for name in ("poll_s", "idle_poll_s", "lease_s", "beat_s", "files_s")}
    with run_harness(folder, state_url=state_url) as harness:
        for n in range(max(samples, burst)):
            harness.person(f"user_{n}", first_name="Before")
        with harness.replica(**ordinary) as run:
            run.scanned_all()
            one_by_one = sorted(_one(harness, run, n) for n in range(samples))
            together = sorted(_burst(harness, run, burst))
    return {"one_by_one_ms": _percentiles(one_by_one), "burst_ms": {"of": burst, **_percentiles(together)}}


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


def _burst(harness: RunHarness, run: Running, count: int) -> list[float]:
    """The same for webhooks that come as fast as one sender sends them; the n-th mutation ends the n-th wait."""
    seen = len(_mutations(harness))
    began = [_compare_rows(harness, run, number) for number in range(count)]
    until(lambda: len(_mutations(harness)) >= seen + count, "all mutations have come")
    return [at - since for since, at in zip(began, sorted(_mutations(harness)[seen:]), strict=False)]


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
