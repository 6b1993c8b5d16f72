"""All benchmarks: one table on stdout, and the raw figures as JSON in a file.

    python -m tests.benchmarks [--full] [--out FILE] [--only scan,queue,…]

Each figure is a ratio, a share or a count measured within one run. Quick sizes by default; `--full` takes those of the
goals, and the better part of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    bench_first_sync,
    bench_nudge,
    bench_octodns,
    bench_peers,
    bench_plan,
    bench_plan_memory,
    bench_queue,
    bench_reconcile,
    bench_scan,
    bench_start,
)

GOAL_ROWS = 1_000_000
OUT = Path("var/benchmarks.json")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table. `met` is None where no goal is set."""

    work: str
    figure: str
    goal: str = ""
    met: bool | None = None


Found = dict[str, Any]


def _scan(full: bool) -> Found:  # noqa: FBT001  one switch for all
    rows = 1_000_000 if full else 50_000
    found = {backend: bench_scan.measure(rows, backend, 1) for backend in ("sqlite", "postgres")}
    small = bench_scan.measure(rows // 10, "sqlite", 1)
    ten = bench_scan.measure(rows // 10, "sqlite", 10)
    return {**found, "tenth": small, "ten_shops": ten}


def _scan_lines(found: Found) -> Iterator[Line]:
    for backend in ("sqlite", "postgres"):
        one = found[backend]
        rows = f"{one['rows']:,} profiles, {backend}"
        yield Line(f"full look, nothing to do, {rows}: CPU", f"{one['cpu_ratio']}x fetch", "≤ 3", one["cpu_ratio"] <= 3)
        peak = one["scan"]["peak_mb"]
        yield Line("  peak memory", f"{peak:.0f} MB", "< 150 MB", peak < 150)
        share = one["changes_share"]
        met = share < 0.01 if one["rows"] >= GOAL_ROWS else None  # a small shop's full look is hardly longer
        yield Line("  look at 100 changes", f"{100 * share:.2f} % of a full look", f"< 1 % at {GOAL_ROWS:,}", met)
    times = found["sqlite"]["changes"]["cpu_s"] / found["tenth"]["changes"]["cpu_s"]
    yield Line("  look at 100 changes, against a tenth of the rows", f"{times:.2f}x")
    growth = found["sqlite"]["scan"]["peak_mb"] / found["tenth"]["scan"]["peak_mb"]
    yield Line("  memory against a tenth of the rows", f"{growth:.2f}x", "≤ 1.2", growth <= 1.2)
    shops = found["ten_shops"]["scan"]["cpu_s"] / found["tenth"]["scan"]["cpu_s"]
    yield Line(f"  10 shops, {found['tenth']['rows']:,} profiles", f"{shops:.1f}x one shop", "< 4", shops < 4)


def _plan_memory(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_plan_memory.measure(100_000 if full else 20_000)


def _plan_memory_lines(found: Found) -> Iterator[Line]:
    for work in bench_plan_memory.WORK:
        row = found[work]
        peak, growth = row["peak_mb"], row["growth"]
        met = peak < bench_plan_memory.PEAK_MB_MAX and growth <= bench_plan_memory.GROWTH_MAX
        told = f"{peak:.0f} MB, {growth}x that of a tenth"
        yield Line(f"memory of `{work}`, {row['users']:,} creates", told, "< 150 MB, ≤ 1.2x", met)


def _first_sync(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_first_sync.measure(100_000 if full else 2000, 60 if full else 20)


def _first_sync_lines(found: Found) -> Iterator[Line]:
    bulk, paced = found["bulk"], found["one_by_one"]
    each = bulk["points_a_user"]
    yield Line(
        f"first sync by bulk, mirror and plan included, {bulk['users']:,} users",
        f"{each} points a user",
        "< 0.1",
        each < 0.1,
    )
    times = bulk["of_the_shops_time"]
    most, rate = bench_first_sync.SHOP_TIME_MAX, bench_first_sync.LINES_A_S
    yield Line(
        f"  `apply` against the shop's own time, {rate:g} lines a second each",
        f"{times}x",
        f"≤ {most:g}",
        times <= most,
    )
    each = paced["points_a_user"]
    yield Line("first sync one by one", f"{each} points a user", "10", each <= 10)
    share = paced["share_of_rate"]
    yield Line("  of the shop's rate in use", f"{100 * share:.1f} %", "≥ 95 %", share >= 0.95)
    throttled = paced["throttled"] + bulk["throttled"]
    yield Line("  THROTTLED replies", f"{throttled}", "0", throttled == 0)


def _peers(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_peers.measure(10_000 if full else 500)


def _peers_lines(found: Found) -> Iterator[Line]:
    for name, row in found.items():
        if row == "absent":
            yield Line(f"peer {name}", "absent")
            continue
        people, right = row["people"], row["right_in_the_shop"]
        said = f"claimed {row.get('claimed', '?')} of {people}, right in the shop {right}"
        figure = f"{said}, second run {row['second_run_mutations']} mutations"
        ours = name.startswith("ours")
        met = (right == people and row["second_run_mutations"] == 0) if ours else None
        yield Line(f"same shop: {name}", figure, "all, then 0" if ours else "", met)
        if (times := row.get("of_the_shops_limit")) is not None and name == "ours":
            yield Line("  time against the shop's own limit", f"{times}x", "≤ 1.1", times <= 1.1)


def _plan(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_plan.measure(GOAL_ROWS, 10_000) if full else bench_plan.measure()


def _plan_lines(found: Found) -> Iterator[Line]:
    ratio, goal = found["creates_ratio"], bench_plan.CREATES_MAX
    yield Line(
        f"plan of {found['rows']:,} creates",
        f"{ratio}x the CPU of a plan of as many with nothing to do",
        f"≤ {goal:g}",
        ratio <= goal,
    )
    ratio, peak = found["stores_ratio"], found["all_stores"]["peak_mb"]
    yield Line(
        f"plan of {found['stores']} stores of {found['store_rows']:,} users, nothing to do",
        f"{ratio}x the CPU of one; {peak:.0f} MB",
        f"< {bench_plan.STORES_MAX:g}; < {bench_plan.STORES_PEAK_MB_MAX} MB",
        ratio < bench_plan.STORES_MAX and peak < bench_plan.STORES_PEAK_MB_MAX,
    )


OCTODNS_MIN = {2000: 1.5, 10_000: 7.0}  # times its speed, by the mirror
LIVE_MIN, SLOPE_MIN = 3.0, 25.0


def _octodns(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_octodns.measure((2000, 10_000) if full else (2000, 4000))


def _octodns_lines(found: Found) -> Iterator[Line]:
    for size in found["sizes"]:
        rows, theirs = size["rows"], size["octodns"]
        work = f"plan, {rows:,}, nothing to do"
        if theirs == "absent" or "error" in theirs:
            yield Line(work, f"{size['by_mirror']['cpu_s']} s of CPU; octodns absent")
            continue
        for way, name, least in (
            ("by_mirror", "by the mirror", OCTODNS_MIN.get(rows)),
            ("live", "each customer read from the shop", LIVE_MIN if rows >= max(OCTODNS_MIN) else None),
            ("live_first", "the same by a state that knows no fingerprints yet", None),
        ):
            cpu, wall = (round(theirs[key] / size[way][key], 1) for key in ("cpu_s", "wall_s"))
            figure = f"{cpu}x octodns' speed by CPU, {wall}x by the clock"
            yield Line(f"{work}, {name}", figure, *((f"≥ {least:g}", cpu >= least) if least is not None else ()))
    if (slope := found["slope"]) is not None:
        met = slope >= SLOPE_MIN if found["sizes"][-1]["rows"] >= max(OCTODNS_MIN) else None
        yield Line("  CPU that more users add, by the mirror", f"{slope}x less than octodns'", f"≥ {SLOPE_MIN:g}", met)


def _queue(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_queue.measure(waiting=200_000 if full else 20_000)


def _queue_lines(found: Found) -> Iterator[Line]:
    for name, row in found.items():
        if "absent" in row:
            yield Line(f"queue: {name}", "absent")
            continue
        speeds = [
            f"{row[key]:,} with {count}"
            for count, key in (("one process", "keys_per_s_1"), ("two", "keys_per_s_2"))
            if key in row
        ]
        yield Line(f"queue: {name}, keys/s", ", ".join(speeds))
        yield Line("  from a nudge to its look", _percentiles(row["nudge_to_start_ms"]))
        if "waiting" in row:
            waiting = f"with {row['waiting']:,} keys waiting"
            yield Line("  keys/s of a resync added", f"{row['resync_keys_added_per_s']:,}")
            yield Line(f"  from a nudge to its look, {waiting}", _percentiles(row["nudge_to_start_with_waiting_ms"]))
            yield Line(f"  a claim of 8, {waiting}", _percentiles(row["claim_8_with_waiting_ms"]))


def _percentiles(times_ms: Found) -> str:
    return f"p50 {times_ms['p50']} ms; p99 {times_ms['p99']} ms"


def _nudge(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_nudge.measure() if full else bench_nudge.measure(samples=30, burst=30)


def _nudge_lines(found: Found) -> Iterator[Line]:
    service = found["webhooks"]
    p50, p99, goal = (round(service[key] * 1000, 1) for key in ("p50_s", "p99_s", "goal_p99_s"))
    answers = (
        f"{service['answers_per_s_and_core']:,}/s and core; p50 {p50} ms; p99 {p99} ms at {service['rate_per_s']}/s"
    )
    yield Line("webhooks answered", answers, f"p99 < {goal:g} ms", service["met"])
    for name in ("sqlite", "postgres"):
        row = found[name]
        one, goal = row["one_by_one_ms"], row["one_by_one_goal_ms"]
        told = f"{_percentiles(one)}; the shop answers in {row['shop_answer_ms']} ms"
        yield Line(f"webhook to mutation, {name}: one by one", told, f"p50 ≤ {goal} ms", one["p50"] <= goal)
        many, goal = row["burst_ms"], row["burst_goal_ms"]
        yield Line(f"  {many['of']} together", _percentiles(many), f"p99 ≤ {goal} ms", many["p99"] <= goal)
    beside = found["beside_a_hanging_shop"]
    yield Line("webhook to mutation, beside a shop that answers", _percentiles(beside["well_ms"]))
    ratio = f"{beside['p50_ratio']}x; {beside['p99_ratio']}x"
    yield Line("  beside one that hangs", f"{_percentiles(beside['hanging_ms'])} ({ratio})")


def _reconcile(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_reconcile.measure(batches=9 if full else 3)


def _reconcile_lines(found: Found) -> Iterator[Line]:
    most = bench_reconcile.GOAL
    for name, row in found.items():
        figure = f"{row['ratio']}x one httpx call and two SQL statements"
        yield Line(f"a nudge with nothing to do, {name}: CPU", figure, f"≤ {most:g}", row["ratio"] <= most)


def _start(full: bool) -> Found:  # noqa: FBT001  one switch for all
    return bench_start.measure(10 if full else 3)


def _start_lines(found: Found) -> Iterator[Line]:
    for work, against, ratio, most in (
        (f"start: `{found['slowest_help']}`, the slowest", "click", found["help_ratio"], bench_start.HELP_MAX),
        ("start: `status`, nothing in the state", "sqlmodel", found["status_ratio"], bench_start.STATUS_MAX),
    ):
        yield Line(work, f"{ratio}x the CPU of `import {against}`", f"≤ {most:g}", ratio <= most)


BENCHES: dict[str, tuple[Callable[[bool], Found], Callable[[Found], Iterator[Line]]]] = {
    "scan": (_scan, _scan_lines),
    "plan_memory": (_plan_memory, _plan_memory_lines),
    "first_sync": (_first_sync, _first_sync_lines),
    "peers": (_peers, _peers_lines),
    "plan": (_plan, _plan_lines),
    "octodns": (_octodns, _octodns_lines),
    "queue": (_queue, _queue_lines),
    "reconcile": (_reconcile, _reconcile_lines),
    "nudge": (_nudge, _nudge_lines),
    "start": (_start, _start_lines),
}


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.machine()}


def main() -> None:
    """Run them one after another, print the table, write the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of the goals")
    parser.add_argument("--only", default=",".join(BENCHES), help="names, with commas between")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    lines: list[Line] = []
    for name in given.only.split(","):
        measure, told = BENCHES[name]
        sys.stderr.write(f"{name} …\n")
        figures[name] = measure(given.full)
        lines += told(figures[name])
    at = datetime.now(UTC).strftime("%Y-%m-%d")  # noqa: TID251  the day that is printed beside the figures
    given.out.parent.mkdir(parents=True, exist_ok=True)
    body = {"at": at, "full": given.full, "machine": machine(), "figures": figures}
    given.out.write_text(json.dumps(body, indent=1, default=str) + "\n", encoding="utf-8")
    marks = {True: "met", False: "missed", None: ""}
    sys.stdout.write(f"| work ({at}, {machine()['cores']} cores) | measured | goal | |\n|---|---|---|---|\n")
    sys.stdout.writelines(f"| {x.work} | {x.figure} | {x.goal} | {marks[x.met]} |\n" for x in lines)
    sys.stderr.write(f"raw figures: {given.out}\n")


if __name__ == "__main__":
    main()
