"""Requests that wait although nothing keeps a replica from them: limits in virtual time.

A lease protects a request for an hour at most, and a request in progress may keep others waiting: while there is any, of
whatever store, no other one is judged. Beyond that, a replica that runs and reaches the state takes what is due.
A request that is taken and put off, as while the profiles are away, has not waited: each claim begins its time again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from reconciler.state.database.engine import reading
from reconciler.state.tables.requests import RequestRow
from tests.chaos.checker import Violation
from tests.simulation.replica import Replica

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

LOOKS = 6
"""So often one looks within the limit."""
PROTECTED_S = 3600.0
_request: Any = RequestRow.__table__
_ROWS = select(
    _request.c.store,
    _request.c.clerk_user_id,
    _request.c.fencing,
    _request.c.generation,
    _request.c.due_at,
    _request.c.owner,
)
Key = tuple[str, str, int]
"""Store, user, and the fencing token of the last claim: each claim makes another one of it."""


class Fairness:
    """`run` looks at the queue from time to time; what has waited for too long is in `found`."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation, self._scheduler = simulation, simulation.scheduler
        intervals = simulation.size.rhythm.intervals
        self.limit_s = 3 * intervals.idle_poll_s + intervals.away_s + intervals.lease_s + 60.0
        self.found: list[Violation] = []
        self._free: dict[Key, float] = {}
        """Since when a request is due and in progress nowhere, while nothing else is in progress either."""
        self._owned: dict[Key, float] = {}
        """Since when a request is due and claimed, and no replica knows of the claim."""
        self._begun: dict[str, float] = {}

    def run(self) -> None:
        while True:
            self._scheduler.sleep(self.limit_s / LOOKS)
            self._look()

    def _look(self) -> None:
        now = datetime.fromtimestamp(self._scheduler.now_s, UTC)
        with reading(self._simulation.engine) as connection:
            rows = connection.execute(_ROWS).all()
        running = {each.machine.name: each for each in self._simulation.replicas if not each.machine.dead}
        held = {
            (one.claim.store, one.claim.clerk_user_id)
            for each in running.values()
            for one in each.dispatcher.in_progress()
        }
        able = [(each, self._able_since(each)) for each in running.values() if not each.connections.state_clock.moved_s]
        due = [(row, (row.store, row.clerk_user_id, row.fencing)) for row in rows if row.due_at <= now]
        since = {key: self._since(row, able) for row, key in due}
        self._free = self._later(
            self._free, {key: since[key] for row, key in due if row.owner is None and not held}, self.limit_s
        )
        self._owned = self._later(
            self._owned,
            {key: since[key] for row, key in due if row.owner is not None and key[:2] not in held},
            PROTECTED_S + self.limit_s,
        )

    def _later(self, before: dict[Key, float], now: dict[Key, float | None], limit_s: float) -> dict[Key, float]:
        """Since when each of these waits, where a replica was able to take it all the time."""
        found: dict[Key, float] = {}
        for key, able_s in now.items():
            if able_s is None:
                continue
            found[key] = max(able_s, before.get(key, self._scheduler.now_s))
            if self._scheduler.now_s - found[key] > limit_s:
                store, user, _ = key
                what = f"due and not taken for {limit_s:.0f} s, beside a replica without work"
                self.found.append(Violation("kept waiting", f"{user} in {store}", what))
                found[key] = self._scheduler.now_s
        return found

    def _since(self, row: Any, able: list[tuple[Replica, float]]) -> float | None:
        """Since when some replica takes requests of this store; None: none does.

        A row with one add may be new, since a request that is done is deleted: it waits since it is due.
        """
        takes = [since for each, since in able if row.store not in each.running.suspensions()]
        new_s = row.due_at.timestamp() if row.generation == 1 else 0.0
        return max(new_s, min(takes)) if takes else None

    def _able_since(self, replica: Replica) -> float:
        machine, now_s = replica.machine, self._scheduler.now_s
        begun_s = self._begun.setdefault(machine.name, now_s)
        return max(begun_s, machine.frozen_until, machine.cut_until.get("state", 0.0))
