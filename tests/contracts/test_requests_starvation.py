"""No one starves: one worker, ten thousand keys of a resync, fifty nudges a second, in virtual time."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Priority, Request
from reconciler.ports import RequestQueue
from reconciler.state.requests.queue import RequestTable
from tests.contracts.queues import queue_database

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
ACME = StoreName("acme")
RESYNC_KEYS = 10_000
NUDGES_A_SECOND = 50
INTERVAL_S = 300.0
SHARE = 5  # in every run of the suite a fifth of the keys in a fifth of the time: as many reconciles a second
RECONCILE_S = 0.0115  # 87 reconciles a second; 83 a second are asked for
BATCH = 32


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class OneWorker:
    """Reconciles one key after another; the test nudges and resyncs beside it."""

    def __init__(self, queue: RequestQueue, *, share: int) -> None:
        self.queue = queue
        self.interval_s = INTERVAL_S / share
        self.users = [ClerkUserId(f"user_{n:05}") for n in range(RESYNC_KEYS // share)]
        self.now_s = 0.0
        self.nudged: dict[Request, float] = {}
        self.nudge_waits_s: list[float] = []
        self.resync_waits_s: list[float] = []
        self.resync_came: deque[float] = deque()
        self.resync_due: dict[ClerkUserId, float] = {}
        self._nudges = 0

    def enqueue_what_came(self) -> None:
        """Add what has been asked for by now."""
        if self.now_s >= len(self.resync_came) * self.interval_s:
            self.resync_came.append(self.now_s)
            self.queue.add_all(ACME, self.users, at(self.now_s), interval_s=self.interval_s)
            self.resync_due = dict.fromkeys(self.users, self.now_s) | self.resync_due
        wanted = int(self.now_s * NUDGES_A_SECOND) - self._nudges
        asked = [Request(ACME, ClerkUserId(f"nudged_{self._nudges + n}")) for n in range(wanted)]
        self.nudged |= {r: (self._nudges + n) / NUDGES_A_SECOND for n, r in enumerate(asked)}
        self._nudges += wanted
        self.queue.add(asked, at(self.now_s), reason="webhook")

    def works(self) -> None:
        claims = self.queue.claim("one", at(self.now_s), limit=BATCH, lease_s=30, stores={ACME: BATCH})
        for claim in claims:
            if claim.priority is Priority.NUDGE:
                self.nudge_waits_s.append(self.now_s - self.nudged.pop(claim.request))
            else:
                self.resync_waits_s.append(self.now_s - self.resync_due.pop(claim.clerk_user_id))
            self.now_s += RECONCILE_S
        assert set(self.queue.done(claims, at(self.now_s))) <= {"done"}
        if not claims:
            self.now_s += RECONCILE_S


@pytest.mark.parametrize("share", [SHARE, pytest.param(1, marks=pytest.mark.explore)])
def test_nudges_wait_under_two_seconds_and_the_oldest_resync_key_under_one_and_a_half_intervals(
    request: pytest.FixtureRequest, tmp_path: Path, share: int
) -> None:
    with queue_database(request, "sqlite", tmp_path) as engine:
        worker = OneWorker(RequestTable(engine), share=share)
        while worker.now_s < 1.5 * worker.interval_s:
            worker.enqueue_what_came()
            worker.works()
    waits = sorted(worker.nudge_waits_s)
    assert len(waits) > 1.4 * worker.interval_s * NUDGES_A_SECOND
    assert waits[int(len(waits) * 0.99)] < 2.0
    assert len(worker.resync_waits_s) >= len(worker.users)
    oldest_s = max(*worker.resync_waits_s, *(worker.now_s - due for due in worker.resync_due.values()))
    assert oldest_s < 1.5 * worker.interval_s
