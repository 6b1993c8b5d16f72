"""From the decisions of one look to one store's plan: chains resolved, guards asked, everything counted and sorted.

Knows no reader: decisions come in, in any order, and the same ones give the same plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from reconciler.core import chains
from reconciler.core.desired import config_digest, is_wanted
from reconciler.core.forecast import forecast
from reconciler.core.guard import guarded
from reconciler.core.ids import ClerkUserId
from reconciler.core.mapping import Mapping
from reconciler.core.plan import Action, Hold, StorePlan, sorted_actions, sorted_holds, summed
from reconciler.core.record import after_look
from reconciler.core.store import Store
from reconciler.core.view import Decision, Subject


class Rows(Protocol):
    """Rows that lie outside of memory."""

    def batches(self, size: int) -> Iterator[list[Mapping]]:
        """All of them, so many at a time."""


@dataclass(slots=True)
class Swept:
    """What a look at one store found: its plan, what the guards withheld, and the rows that should be written.

    `whole`: everybody was looked at. `decisions` are kept only where they were asked for. Rows that were too many for
    memory are in `more`, and come before the others.
    """

    plan: StorePlan
    withheld: tuple[Action, ...] = ()
    rows: list[Mapping] = field(default_factory=list)
    profiles: int = 0
    whole: bool = True
    decisions: dict[ClerkUserId, tuple[Subject, Decision]] = field(default_factory=dict)
    more: Rows | None = None


class Gathered:
    """Takes decisions one by one, holds on to those that act or wait, and gives the plan at the end."""

    def __init__(self, store: Store, *, now: datetime, keep_all: bool = False) -> None:
        self._store = store
        self._now = now
        self._keep_all = keep_all
        self._acting: dict[ClerkUserId, tuple[Subject, Decision]] = {}
        self._blocked: dict[ClerkUserId, tuple[Subject, chains.Blocked]] = {}
        self._holds: list[Hold] = []
        self._rows: list[Mapping] = []
        self._all: dict[ClerkUserId, tuple[Subject, Decision]] = {}
        self._profiles = 0
        self._in_sync = 0

    def passed_over(self, count: int) -> None:
        """So many more who are wanted and equal, and were not looked at because nothing of theirs has moved."""
        self._profiles += count
        self._in_sync += count

    def taken_rows(self) -> list[Mapping]:
        """The rows so far, which are the caller's from now on: they are as many as there are users."""
        rows, self._rows = self._rows, []
        return rows

    def add(self, subject: Subject, decision: Decision, if_free: Decision | None = None) -> None:
        """One user's decision; `if_free` is the one that would hold if her new address were nobody's."""
        self._profiles += is_wanted(subject.profile, self._store) is not False
        if decision.blocked_by is not None and if_free is not None:
            self._blocked[subject.user] = (subject, chains.Blocked(as_is=decision, if_free=if_free))
        else:
            self._settle(subject, decision)

    def swept(self, *, mappings: int, restore_rate: float, whole: bool, guards: bool = True) -> Swept:
        """The plan. `mappings` is what the guards' percentages are taken of; `guards` False leaves them out."""
        moved = self._moved()
        for user, decision in moved.items():
            self._settle(self._blocked[user][0], decision)
        withheld = self._guarded(moved, mappings) if guards else ()
        for subject, decision in self._acting.values():
            self._holds.extend(decision.holds)
            self._keep(subject, decision)
        actions = sorted_actions([d.action for _, d in self._acting.values() if d.action is not None])
        holds = sorted_holds(self._holds)
        plan = StorePlan(
            store=self._store.name,
            shop=self._store.shop,
            summary=summed(actions, holds, self._in_sync),
            actions=actions,
            holds=holds,
            forecast=forecast(actions, restore_rate),
            config_digest=config_digest(self._store),
        )
        return Swept(plan, withheld, self._rows, self._profiles, whole, self._all)

    def _moved(self) -> dict[ClerkUserId, Decision]:
        freed = {user: given for user, (_, d) in self._acting.items() if (given := chains.gives_up(d)) is not None}
        return chains.resolved({user: blocked for user, (_, blocked) in self._blocked.items()}, freed)

    def _guarded(self, moved: dict[ClerkUserId, Decision], mappings: int) -> tuple[Action, ...]:
        """Hold what is above a ceiling, and with it whoever waits for one of those."""
        actions = sorted_actions([d.action for _, d in self._acting.values() if d.action is not None])
        guard = guarded(actions, self._store, mappings=mappings)
        gone = frozenset(a.clerk_user_id for a in guard.withheld)
        for hold in guard.holds:
            subject, decision = self._acting.pop(hold.clerk_user_id)
            held = decision.model_copy(update={"action": None, "holds": (hold, *decision.holds), "status": "held"})
            self._settle(subject, held)
        blocked = {user: b for user, (_, b) in self._blocked.items()}
        for user, decision in chains.without(moved, blocked, gone).items():
            if user in self._acting:
                subject, _ = self._acting.pop(user)
                self._settle(subject, decision)
        return guard.withheld

    def _settle(self, subject: Subject, decision: Decision) -> None:
        if decision.action is not None:
            self._acting[subject.user] = (subject, decision)
            return
        self._holds.extend(decision.holds)
        self._in_sync += decision.status == "in_sync"
        row = after_look(subject.mapping, decision, subject.profile, self._store, now=self._now, row_fp=subject.row_fp)
        if row is not None:
            self._rows.append(row)
        self._keep(subject, decision)

    def _keep(self, subject: Subject, decision: Decision) -> None:
        if self._keep_all:
            self._all[subject.user] = (subject, decision)


def approved(swept: Swept) -> Swept:
    """The same with what the guards withheld let go: somebody has approved exactly this."""
    if not swept.withheld:
        return swept
    actions = sorted_actions([*swept.plan.actions, *swept.withheld])
    holds = tuple(h for h in swept.plan.holds if h.reason != "GuardExceeded")
    summary = summed(actions, holds, swept.plan.summary.in_sync)
    cost = forecast(actions, swept.plan.forecast.restore_rate)
    plan = swept.plan.model_copy(update={"actions": actions, "holds": holds, "summary": summary, "forecast": cost})
    return replace(swept, plan=plan, withheld=())
