"""How fast webhooks are answered: signed Clerk events at a steady rate, each written to a durable SQLite queue.

    python -m tests.benchmarks.bench_webhooks [rate a second] [seconds]

Bounded, over loopback. The load comes from a process of its own, at its own pace (an answer that is late does not slow the
next request), and times run from the moment a request was due, so that waiting in line counts.
"""

from __future__ import annotations

import gc
import http.client
import json
import multiprocessing
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from reconciler.clerk.webhook import ClerkEvent
from reconciler.cli.main import COLLECT_EVERY
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Request
from reconciler.server.app import make_app
from reconciler.server.run import ServerThread
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.queue import RequestTable
from reconciler.state.schema import ensure_schema
from tests.clerk.sender import event, headers, user
from tests.server.services import EU, US, MemoryService, options, wall_clock

GOAL_P99_S: Final = 0.010
CONNECTIONS: Final = 16
RATE_MAX: Final = 1000
SECONDS_MAX: Final = 60


class QueueService(MemoryService):
    """Writes to the real queue."""

    def __init__(self, table: RequestTable) -> None:
        super().__init__()
        self.table = table

    def accept_clerk_event(self, event: ClerkEvent) -> None:
        assert event.user_id is not None
        self.nudge_user(event.user_id, reason=event.type, wants_updated_at=event.updated_at)

    def nudge_user(
        self,
        user: ClerkUserId,
        *,
        reason: str,
        wants_updated_at: datetime | None = None,
        stores: Collection[StoreName] | None = None,
    ) -> None:
        requests = [Request(store, user) for store in stores or (US, EU)]
        self.table.add(requests, wall_clock(), reason=reason, wants_updated_at=wants_updated_at)


def send_load(url: str, rate: int, seconds: int, out: Any) -> None:
    """In a process of its own: so many requests a second, and how long each took from when it was due."""
    total = rate * seconds
    bodies = [event(data=user(f"user_{n}")) for n in range(total)]
    signed = [headers(body, at=wall_clock(), message_id=f"msg_{n}") for n, body in enumerate(bodies)]
    due: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    took: list[float] = []
    statuses: dict[int, int] = {}
    lock = threading.Lock()
    begin = time.perf_counter() + 0.5

    def sender() -> None:
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)) as client:
            while (n := due.get()) is not None:
                client.request("POST", "/webhooks/clerk", bodies[n], signed[n])
                response = client.getresponse()
                response.read()
                status = response.status
                lasted = time.perf_counter() - (begin + n / rate)
                with lock:
                    took.append(lasted)
                    statuses[status] = statuses.get(status, 0) + 1

    senders = [threading.Thread(target=sender) for _ in range(CONNECTIONS)]
    for thread in senders:
        thread.start()
    for n in range(total):
        pause = begin + n / rate - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        due.put(n)
    for _ in senders:
        due.put(None)
    for thread in senders:
        thread.join()
    out.put((sorted(took), statuses))


def run(rate: int = 200, seconds: int = 5) -> dict[str, Any]:
    """The figures: percentiles in seconds, answers by status, and how many requests the queue holds."""
    rate, seconds = min(rate, RATE_MAX), min(seconds, SECONDS_MAX)
    gc.set_threshold(COLLECT_EVERY)  # as the program does
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{Path(folder) / 'state.db'}")
        ensure_schema(engine)
        service = QueueService(RequestTable(engine))
        with ServerThread(make_app(service, options()), "127.0.0.1", 0) as server:
            out = context.Queue()
            load = context.Process(target=send_load, args=(server.url, rate, seconds, out), daemon=True)
            load.start()
            spent = time.process_time()
            took, statuses = out.get(timeout=seconds * 4 + 60)
            spent = time.process_time() - spent
            load.join(20)
        depth = service.table.depth()
        engine.dispose()
    return {
        "rate_per_s": rate,
        "requests": len(took),
        "statuses": statuses,
        "queued": depth,
        "server_cpu_s_per_request": spent / len(took),
        "p50_s": took[len(took) // 2],
        "p95_s": took[int(len(took) * 0.95)],
        "p99_s": took[int(len(took) * 0.99)],
        "max_s": took[-1],
        "goal_p99_s": GOAL_P99_S,
        "met": took[int(len(took) * 0.99)] < GOAL_P99_S,
    }


if __name__ == "__main__":
    print(json.dumps(run(*(int(word) for word in sys.argv[1:3])), indent=2))  # noqa: T201  its output
