"""Workers, stores and a queue in virtual time: how long others wait beside a shop that hangs, decided as `run` decides.

The queue, the caps and the share of slow stores are the product's own; a reconcile is a duration. Nothing waits and no
clock is read, so the same seed gives the same figures on any machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.controller.worker import cap_of
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Claim, Request
from reconciler.manager.dispatcher import InProgress, effective_caps
from reconciler.manager.intervals import Intervals
from reconciler.ports import RequestQueue

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
STEP_S = 0.05
WORKERS = 8
Took = Callable[[random.Random], float]


@dataclass(frozen=True, slots=True)
class Latencies:
    """When each was asked for, and seconds until it was done, over all stores but the sick one."""

    seconds: tuple[tuple[float, float], ...]

    def percentile(self, part: float, *, since: float = 0.0) -> float:
        ordered = sorted(took for asked, took in self.seconds if asked >= since)
        return ordered[min(int(len(ordered) * part / 100), len(ordered) - 1)]


def simulated(
    queue: RequestQueue,
    durations: Mapping[StoreName, Took],
    *,
    sick: StoreName,
    seconds: float,
    per_second: float,
    seed: int,
    shared_out: bool = True,
) -> Latencies:
    """Each store is asked for users at random moments; what was asked for by then is worked off to the end.

    `shared_out` False: any store may take all workers, to see what it costs.
    """
    arrivals = random.Random(seed)
    asked: list[tuple[float, Request]] = []
    for name in sorted(durations):
        at = arrivals.expovariate(per_second)
        while at < seconds:
            asked.append((at, Request(name, ClerkUserId(f"user_{len(asked)}"))))
            at += arrivals.expovariate(per_second)
    asked.sort(reverse=True)
    owed = sum(request.store != sick for _, request in asked)
    since = {request: at for at, request in asked}
    held: dict[Request, tuple[Claim, float, float]] = {}
    took: dict[StoreName, tuple[float, float]] = {}
    done: list[tuple[float, float]] = []
    caps = dict.fromkeys(durations, cap_of(WORKERS, len(durations)) if shared_out else WORKERS)
    slow_s = Intervals().slow_s if shared_out else float("inf")
    step = 0
    while len(done) < owed:
        step += 1
        now = step * STEP_S
        changed = False
        for request, (claim, began, ends) in list(held.items()):
            if ends <= now:
                changed = True
                del held[request]
                queue.done([claim], _at(now))
                took[request.store] = (now, now - began)
                if request.store != sick:
                    done.append((since[request], now - since[request]))
        while asked and asked[-1][0] <= now:
            changed = True
            at, request = asked.pop()
            queue.add([request], _at(at), reason="clerk")
        if not (changed or any(now - began > slow_s for _, began, _ in held.values())):
            continue
        in_progress = tuple(InProgress(claim, began) for claim, began, _ in held.values())
        given = effective_caps(caps, in_progress, took, workers=WORKERS, slow_s=slow_s, now=now)
        free = WORKERS - len(held)
        if free and given:
            for claim in queue.claim("one", _at(now), limit=free, lease_s=3600, stores=given):
                held[claim.request] = (
                    claim,
                    now,
                    now + durations[claim.store](random.Random(f"{seed} {claim.clerk_user_id}")),
                )
    return Latencies(tuple(done))


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)
