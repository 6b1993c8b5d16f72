"""Plans for N users with nothing to do, beside octoDNS' for as many records: whole programs, from start to end.

    python -m tests.benchmarks.bench_octodns [--rows 2000 10000] [--peers PYTHON]

Bounded, over loopback. Ours is `reconciler plan` against a simulated shop over HTTP with points enough: with every customer
read from the shop by a state that knows no fingerprints yet; by the shop's mirror, filled before by `backfill shopify`,
a day after anybody was touched; and with every customer read from the shop again. octoDNS compares one YAML zone with
another and asks no one. Each runs three times in the same few variables, and its best counts. octoDNS is no
dependency: it is installed into a folder that goes away; absent where that fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks import scratch
from tests.benchmarks.served import AMPLE, DOMAIN, TOKEN, Served, served

ROWS_MAX = 100_000
TIMES = 3
DAY_S = 86_400.0
COLUMNS = ("clerk_user_id", "email", "email_verified", "first_name", "last_name", "image_url")
HERE = Path(__file__).parent / "peers"


def measure(sizes: Sequence[int] = (2000, 10_000), peers: Path | None = None) -> dict[str, Any]:
    """CPU and wall seconds of all, for each size, and how the CPU of the mirror's plan and octoDNS' grows in between."""
    with scratch.scratch("octodns", peers) as python:
        found = [_measure(min(rows, ROWS_MAX), python) for rows in sizes]
    small, large = found[0], found[-1]
    slope = None
    if isinstance(theirs := large["octodns"], dict) and "error" not in theirs:
        grown = [large[way]["cpu_s"] - small[way]["cpu_s"] for way in ("octodns", "by_mirror")]
        slope = round(grown[0] / max(grown[1], 0.01), 1)  # what is below a clock tick is one
    return {"sizes": found, "slope": slope}


def _measure(rows: int, python: Path | None) -> dict[str, Any]:
    with served(rows) as shop:
        command = _files(shop)
        shop.bucket(rate=AMPLE, size=AMPLE)
        _ours(command, "apply", "--yes", "--bulk", "always")
        for customer in shop.sim.shop.people:  # it was all done yesterday
            before = {"updated_at": customer.updated_at - DAY_S, "created_at": customer.created_at - DAY_S}
            shop.sim.shop.people.change(customer, before)
        first = _planned(shop, command, "--live")
        _ours(command, "backfill", "shopify")
        _ours(command, "plan")  # a first one, which remembers which customers it finds equal
        mirror = _planned(shop, command)
        live = _planned(shop, command, "--live")
    theirs: Any = "absent"
    if python is not None:
        said, used = _used(partial(_theirs, python, rows))
        theirs = {**said, **used}
    return {"rows": rows, "live_first": first, "live": live, "by_mirror": mirror, "octodns": theirs}


def _planned(shop: Served, command: list[str], *options: str) -> dict[str, Any]:
    calls = len(shop.sim.calls)
    said, used = _used(lambda: _ours(command, "plan", "--output", "json", *options))
    summary = json.loads(said)["summary"]
    return {"in_sync": summary.pop("in_sync"), "others": sum(summary.values()), **used,
            "calls": (len(shop.sim.calls) - calls) // TIMES}  # fmt: skip


def _theirs(python: Path, rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return scratch.run(python, HERE / "with_octodns.py", folder, str(rows))


def _ours(command: list[str], *words: str) -> str:
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, env=scratch.QUIET)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr}")
    return done.stdout


def _used(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What it gives, and what the programs it started took at best, of each kind of seconds."""
    found: Any = None
    cpu_s, wall_s = [], []
    for _ in range(TIMES):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        found = work()
        wall_s.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return found, {"cpu_s": round(min(cpu_s), 2), "wall_s": round(min(wall_s), 2)}


def _files(shop: Served) -> list[str]:
    """The people in a table and both settings files, and the command that reads them."""
    folder = shop.folder
    with closing(sqlite3.connect(folder / "profiles.db")) as connection:
        connection.execute(f"create table customers (clerk_user_id text primary key, {', '.join(COLUMNS[1:])})")
        rows = ([getattr(p, column) for column in COLUMNS] for p in shop.profiles.rows.values())
        connection.executemany(f"insert into customers values ({', '.join('?' * len(COLUMNS))})", rows)
        connection.commit()
    settings, stores = folder / "reconciler.yaml", folder / "stores.yaml"
    columns = {column: column for column in COLUMNS}
    profiles = {"url": f"sqlite:///{folder}/profiles.db", "table": "customers", "columns": columns}
    settings.write_text(
        json.dumps({"version": 1, "state": {"url": f"sqlite:///{folder}/plan.db"}, "profiles": profiles})
    )
    one = {"name": "acme", "shop": DOMAIN, "admin_url": shop.url, "auth": {"access_token": TOKEN}, "tags": ["app-user"],
           "guards": {"create": {"max": ROWS_MAX}}}  # fmt: skip
    stores.write_text(json.dumps({"version": 1, "stores": [one]}))
    program = Path(sys.executable).with_name("reconciler")
    return [str(program), "--config", str(settings), "--stores", str(stores)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 10_000])
    parser.add_argument("--peers", type=Path)
    given = parser.parse_args()
    print(json.dumps(measure(given.rows, given.peers), indent=2))  # noqa: T201  its output


if __name__ == "__main__":
    main()
