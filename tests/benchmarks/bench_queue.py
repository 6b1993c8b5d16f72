"""The queue of requests, measured: `python -m tests.benchmarks.bench_queue`.

Keys a second through it (claimed and done in batches, no-op looks) on SQLite and on Postgres with one and two processes;
how long a nudge waits for a worker that polls; a claim with many keys waiting; and, where procrastinate is installed
(it is no dependency), the same jobs through it on the same Postgres.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Request
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.queue import RequestTable, new_owner
from reconciler.state.schema import ensure_schema
from tests import servers
from tests.clock import WallClock

ACME = StoreName("acme")
KEYS = 20_000
BATCH = 200
NUDGES = 200
POLL_S = 0.02
WAITING = 200_000
JOBS_PEER = 300
ROOT = Path(__file__).parents[2]


def measure(*, waiting: int = WAITING) -> dict[str, Any]:
    """All figures; each engine in a fresh database."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        figures["sqlite"] = _figures(f"sqlite:///{folder}/queue.db", processes=(1,), waiting=waiting)
    with servers.postgres() as server:
        figures["postgres"] = _figures(server.url(server.create()), processes=(1, 2), waiting=waiting)
        figures["procrastinate"] = _procrastinate(server)
    return figures


def _figures(url: str, *, processes: tuple[int, ...], waiting: int) -> dict[str, Any]:
    with _opened(url) as engine:
        queue = RequestTable(engine)
        figures: dict[str, Any] = {f"keys_per_s_{n}": round(_throughput(queue, url, n)) for n in processes}
        figures["nudge_to_start_ms"] = _waits_ms(queue)
        began = time.perf_counter()
        queue.add_all(ACME, (ClerkUserId(f"user_{n}") for n in range(waiting)), WallClock().now(), interval_s=900)
        figures["resync_keys_added_per_s"] = round(waiting / (time.perf_counter() - began))
        figures["waiting"] = waiting
        figures["claim_8_with_waiting_ms"] = _claims_ms(queue)
        figures["nudge_to_start_with_waiting_ms"] = _waits_ms(queue)
    return figures


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    ensure_schema(engine)
    yield engine
    engine.dispose()


def _throughput(queue: RequestTable, url: str, processes: int) -> float:
    """Keys a second from the first claim to the empty queue; the processes are started before and wait."""
    helpers = [_helper(url) for _ in range(processes)]
    for helper in helpers:
        assert helper.stdout is not None
        assert helper.stdout.readline() == "ready\n"
    queue.add((Request(ACME, ClerkUserId(f"user_{n}")) for n in range(KEYS)), WallClock().now(), reason="bench")
    began = time.perf_counter()
    replies = [helper.communicate("go\n") for helper in helpers]
    took_s = time.perf_counter() - began
    total = sum(int(out) for out, _ in replies)
    if total != KEYS:
        raise RuntimeError(f"{KEYS} keys were asked for and {total} done")
    return KEYS / took_s


def _helper(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_queue", "--drain", url]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _drain(url: str) -> None:
    with _opened(url) as engine:
        queue, owner = RequestTable(engine), new_owner()
        queue.depth()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        sys.stdout.write(str(_looks(queue, owner)))


def _looks(queue: RequestTable, owner: str) -> int:
    ended = 0
    while True:
        now = WallClock().now()
        claims = queue.claim(owner, now, limit=BATCH, lease_s=30, stores={ACME: BATCH})
        if claims:
            ended += queue.done(claims, now).count("done")
        elif not queue.depth():
            return ended


def _waits_ms(queue: RequestTable) -> dict[str, float]:
    """From before the add to after the claim that gives it, by a worker that polls; one nudge at a time."""
    started: dict[str, float] = {}
    arrived, stop = threading.Event(), threading.Event()

    def work() -> None:
        owner = new_owner()
        while not stop.wait(POLL_S):
            claims = queue.claim(owner, WallClock().now(), limit=8, lease_s=30, stores={ACME: 8})
            at = time.perf_counter()
            started.update(dict.fromkeys((str(c.clerk_user_id) for c in claims), at))
            queue.done(claims, WallClock().now())
            if any(c.reason == "bench nudge" for c in claims):
                arrived.set()

    worker = threading.Thread(target=work)
    worker.start()
    waits = []
    for n in range(NUDGES):
        name = f"nudged_{n}"
        began = time.perf_counter()
        queue.add([Request(ACME, ClerkUserId(name))], WallClock().now(), reason="bench nudge")
        arrived.wait(30)
        arrived.clear()
        waits.append((started[name] - began) * 1000)
    stop.set()
    worker.join()
    return _percentiles(waits)


def _claims_ms(queue: RequestTable) -> dict[str, float]:
    took, owner = [], new_owner()
    for _ in range(NUDGES):
        began = time.perf_counter()
        claims = queue.claim(owner, WallClock().now(), limit=8, lease_s=30, stores={ACME: 8})
        took.append((time.perf_counter() - began) * 1000)
        queue.done(claims, WallClock().now())
    return _percentiles(took)


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": round(ordered[len(ordered) // 2], 2), "p99": round(ordered[int(len(ordered) * 0.99)], 2)}


def _procrastinate(server: servers.Server) -> dict[str, Any]:
    """The nearest ready-made peer with locks a key; `absent` where it isn't installed."""
    if importlib.util.find_spec("procrastinate") is None:
        return {"absent": "pip install procrastinate to compare"}
    peer: Any = importlib.import_module("procrastinate")
    dsn = server.url(server.create())
    figures = asyncio.run(_peer_run(peer, dsn))
    return figures | {"version": importlib.metadata.version("procrastinate")}


async def _peer_run(peer: Any, dsn: str) -> dict[str, Any]:
    app = peer.App(connector=peer.PsycopgConnector(conninfo=dsn))
    started: dict[str, float] = {}

    async def look(name: str) -> None:
        started[name] = time.perf_counter()

    task = app.task(look, name="look", queue="bench")
    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        async def ask(name: str) -> None:
            await task.configure(lock=name, queueing_lock=name).defer_async(name=name)

        for n in range(JOBS_PEER):
            await ask(f"user_{n}")
        began = time.perf_counter()
        await app.run_worker_async(queues=["bench"], wait=False, concurrency=8, install_signal_handlers=False)
        per_s = JOBS_PEER / (time.perf_counter() - began)
        worker = asyncio.create_task(app.run_worker_async(queues=["bench"], install_signal_handlers=False))
        waits = []
        for n in range(NUDGES):
            name = f"nudged_{n}"
            asked = time.perf_counter()
            await ask(name)
            while name not in started:  # noqa: ASYNC110  the worker lives in this loop; a tick is what it needs
                await asyncio.sleep(0.0005)
            waits.append((started[name] - asked) * 1000)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return {"keys_per_s_1": round(per_s), "nudge_to_start_ms": _percentiles(waits)}


def table(figures: dict[str, Any]) -> str:
    """The figures as lines to read."""
    lines = [f"{'':14} {'keys/s, 1 and 2':>18} {'nudge p50/p99 ms':>18} {'claim p50/p99 ms':>18} {'of waiting':>11}"]
    for name, row in figures.items():
        if "absent" in row:
            lines.append(f"{name:14} absent: {row['absent']}")
            continue
        speeds = " / ".join(str(row[key]) for key in ("keys_per_s_1", "keys_per_s_2") if key in row)
        nudge, claim = (row.get(key) for key in ("nudge_to_start_ms", "claim_8_with_waiting_ms"))
        cells = [f"{p['p50']} / {p['p99']}" if p else "" for p in (nudge, claim)]
        lines.append(f"{name:14} {speeds:>18} {cells[0]:>18} {cells[1]:>18} {row.get('waiting', ''):>11}")
    return "\n".join(lines)


def _main(arguments: list[str]) -> None:
    if arguments[:1] == ["--drain"]:
        _drain(arguments[1])
        return
    figures = measure()
    sys.stderr.write(table(figures) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
