"""What a plan costs: of as many creates beside as many users with nothing to do, and of many stores beside one.

    python -m tests.benchmarks.bench_plan [--rows 20000] [--store-rows 1000] [--stores 60]

Each measurement runs in a process of its own, and counts its CPU and peak memory. With nothing to do, the world is that of
`scan`; with creates, that of `plan_memory`: the shop is empty, and the guards let all of it pass.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import bench_plan_memory, bench_scan

CREATES_MAX: Final = 4.0  # times the CPU of a plan with nothing to do
STORES: Final = 60
STORES_MAX: Final = 20.0  # times the CPU of one store
STORES_PEAK_MB_MAX: Final = 200


def measure(rows: int = 20_000, store_rows: int = 1000, stores: int = STORES) -> dict[str, Any]:
    """All of it."""
    nothing, creates = _nothing_to_do(rows, 1), _creates(rows)
    one, all_stores = _nothing_to_do(store_rows, 1), _nothing_to_do(store_rows, stores)
    return {
        "rows": rows,
        "nothing": nothing,
        "creates": creates,
        "creates_ratio": round(creates["cpu_s"] / nothing["cpu_s"], 1),
        "store_rows": store_rows,
        "stores": stores,
        "one_store": one,
        "all_stores": all_stores,
        "stores_ratio": round(all_stores["cpu_s"] / one["cpu_s"], 1),
    }


def _nothing_to_do(rows: int, stores: int) -> dict[str, Any]:
    with bench_scan.open_place(rows, "sqlite", stores) as place:
        bench_scan.build(place)
        return bench_scan.timed("scan", place)


def _creates(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench_plan_memory.build(folder, rows)
        return bench_plan_memory.timed(folder, "plan", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--store-rows", type=int, default=1000)
    parser.add_argument("--stores", type=int, default=STORES)
    given = parser.parse_args()
    print(json.dumps(measure(given.rows, given.store_rows, given.stores), indent=2))  # noqa: T201  its output


if __name__ == "__main__":
    main()
