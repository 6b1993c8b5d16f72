"""A run in virtual time: a queue, processes with workers, a Postgres and shops with buckets, event by event.

It knows the inputs of the capacity model and none of its formulas. What it counts is compared with what the model
calculates.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from tests.benchmarks.capacity import Costs, Load, Machines, Shop

Kind = Literal["write", "echo", "elsewhere"]


@dataclass(slots=True)
class Server:
    """Cores that work on one thing after another. `busy_s` is what they worked."""

    cores: int
    free_at: list[float] = field(init=False)
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.free_at = [0.0] * self.cores

    def work(self, now: float, seconds: float) -> float:
        """When work that comes now is done."""
        done = max(now, heapq.heappop(self.free_at)) + seconds
        heapq.heappush(self.free_at, done)
        self.busy_s += seconds
        return done


@dataclass(slots=True)
class Bucket:
    """A shop's points, as a line that each call moves on; full at the beginning."""

    rate: float
    size: float
    spent: float = 0.0
    empty_until: float = 0.0

    def take(self, now: float, points: float) -> float:
        """When the call may be sent."""
        self.spent += points
        self.empty_until = max(self.empty_until, now - self.size / self.rate) + points / self.rate
        return max(now, self.empty_until)


@dataclass(frozen=True, slots=True)
class Counted:
    """What was seen from the end of the warm-up on: requests a second that came and that were done, and how busy all was."""

    came_a_s: float
    done_a_s: float
    run_cores: float
    postgres_cores: float
    workers_busy: float
    points_a_s: float
    waited_p99_s: float


class Run:
    """One run. `rate` times the load's own requests come, at random times and to random stores."""

    def __init__(
        self, load: Load, costs: Costs, shop: Shop, machines: Machines, *, rate: float = 1.0, seed: int = 1
    ) -> None:
        self._load, self._costs, self._shop, self._machines, self._rate = load, costs, shop, machines, rate
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._turns = count()
        self._queue: deque[tuple[float, Kind, int]] = deque()
        self._cpus = [Server(1) for _ in range(machines.processes)]
        self._free = deque(n for _ in range(machines.workers) for n in range(machines.processes))
        self._postgres = Server(machines.postgres_cores)
        self._buckets = [Bucket(shop.points_a_s, 20 * shop.points_a_s) for _ in range(load.stores)]
        self._came = self._done = 0
        self._worked_s = 0.0
        self._waits: list[float] = []

    def seconds(self, warm_up_s: float, measured_s: float) -> Counted:
        """Run for so long, and count what happens after the warm-up."""
        self._at(self._next_change(), self._change)
        self._until(warm_up_s)
        before = self._totals()
        self._waits.clear()
        self._until(warm_up_s + measured_s)
        came, done, run, postgres, workers, points = (
            (after - earlier) / measured_s for after, earlier in zip(self._totals(), before, strict=True)
        )
        waits = sorted(self._waits)
        return Counted(came, done, run, postgres, workers, points, waits[int(len(waits) * 0.99)] if waits else 0.0)

    def _totals(self) -> tuple[float, ...]:
        run_s, points = sum(cpu.busy_s for cpu in self._cpus), sum(bucket.spent for bucket in self._buckets)
        return self._came, self._done, run_s, self._postgres.busy_s, self._worked_s, points

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._turns), what))

    def _until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            when, _, what = heapq.heappop(self._events)
            what(when)

    def _next_change(self) -> float:
        return self._random.expovariate(self._load.changes_a_s * self._rate)

    def _change(self, now: float) -> None:
        """A user changes: Clerk's webhook comes to some process, and enqueues a request for each store that it asks."""
        self._at(now + self._next_change(), self._change)
        self._receive(now)
        wants = self._random.randrange(self._load.stores)
        self._enqueue(now, "write", wants)
        for n in range(self._load.asked - 1):
            self._enqueue(now, "elsewhere", (wants + n + 1) % self._load.stores)

    def _receive(self, now: float) -> None:
        self._random.choice(self._cpus).work(now, self._costs.webhook_run_ms / 1000)

    def _enqueue(self, now: float, kind: Kind, store: int) -> None:
        self._came += 1
        self._queue.append((now, kind, store))
        self._dispatch(now)

    def _dispatch(self, now: float) -> None:
        while self._queue and self._free:
            came, kind, store = self._queue.popleft()
            process = self._free.popleft()
            self._waits.append(now - came)
            self._reconcile(now, kind, store, process)

    def _reconcile(self, now: float, kind: Kind, store: int, process: int) -> None:
        """The CPU and the statements of a request before, between and after its calls, in equal parts."""
        costs, shop = self._costs, self._shop
        run_ms, postgres_ms, calls = {
            "write": (costs.write_run_ms, costs.write_postgres_ms, [shop.read_points, shop.write_points]),
            "echo": (costs.nothing_run_ms, costs.nothing_postgres_ms, [shop.read_points]),
            "elsewhere": (costs.stranger_run_ms, costs.stranger_postgres_ms, []),
        }[kind]
        postgres_ms += costs.claim_postgres_us_a_store * self._load.stores / 1000
        parts = len(calls) + 1

        def step(at: float, left: list[float]) -> None:
            at = self._postgres.work(at, postgres_ms / parts / 1000)
            self._at(at, lambda at: compute(at, left))

        def compute(at: float, left: list[float]) -> None:
            at = self._cpus[process].work(at, run_ms / parts / 1000)
            self._at(at, (lambda at: call(at, left)) if left else end)

        def call(at: float, left: list[float]) -> None:
            sent = self._buckets[store].take(at, left[0])
            answer_s = shop.answer_s * self._random.uniform(0.5, 1.5)
            self._at(sent + answer_s, lambda at: step(at, left[1:]))

        def end(at: float) -> None:
            self._worked_s += at - now
            self._done += 1
            self._free.append(process)
            if kind == "write":
                for _ in range(self._load.echoes):
                    self._at(at + 1.0, echo)
            self._dispatch(at)

        def echo(at: float) -> None:
            self._receive(at)
            self._enqueue(at, "echo", store)

        step(now, calls)
