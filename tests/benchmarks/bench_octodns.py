"""A plan for N users with nothing to do, beside octoDNS' for as many records.

    python -m tests.benchmarks.bench_octodns [--rows 10000] [--peers PYTHON]

Bounded, over loopback. Ours looks at every customer of a simulated shop over HTTP by point reads, with points enough;
octoDNS compares one YAML zone with another. octoDNS is no dependency: it is installed into a folder that goes away; absent
where that fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from reconciler.controller.apply import applied
from tests.benchmarks import scratch
from tests.benchmarks.served import AMPLE, served

ROWS_MAX = 100_000
HERE = Path(__file__).parent / "peers"


def measure(rows: int = 10_000, peers: Path | None = None) -> dict[str, Any]:
    """Seconds and megabytes of both."""
    rows = min(rows, ROWS_MAX)
    with served(rows) as shop:
        first = shop.plan()
        shop.bucket(rate=AMPLE, size=AMPLE)
        client = shop.client()
        done = sum(o.result == "applied" for o in applied(first, shop.hands(client, bulk=True), fresh=True))
        client.close()
        calls, began = len(shop.sim.calls), time.perf_counter()
        plan = shop.plan().plan
        took_s = time.perf_counter() - began
        ours = {
            "customers": done,
            "actions": plan.summary.actions,
            "in_sync": plan.summary.in_sync,
            "seconds": round(took_s, 2),
            "calls": len(shop.sim.calls) - calls,
            "points": shop.sim.bucket.spent,
            "peak_mb_with_the_simulator": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    with scratch.scratch("octodns", peers) as python, tempfile.TemporaryDirectory() as folder:
        theirs = scratch.run(python, HERE / "with_octodns.py", folder, str(rows)) if python else "absent"
    return {"ours": ours, "octodns": theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--peers", type=Path)
    given = parser.parse_args()
    print(json.dumps(measure(given.rows, given.peers), indent=2))  # noqa: T201  its output


if __name__ == "__main__":
    main()
