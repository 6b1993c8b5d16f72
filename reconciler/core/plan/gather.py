"""From the decisions of one scan to a store's plan: resolve chains, apply guards, count and sort.

Decisions may come in any order: the same ones give the same plan. Only what the plan and the rows of withheld actions
need is kept of a decision, in series, which may be larger than memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.core.decide.consent import (
    DIRECTIONS,
    Direction,
    decided_without_consent,
    directions_of,
    without_consent,
)
from reconciler.core.decide.record import is_news, observed_row
from reconciler.core.fields.desired import config_digest, is_wanted
from reconciler.core.model.action import KINDS, AcceptedDrift, Action, Hold, Kind, action_order, hold_order
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision, Subject
from reconciler.core.plan import chains
from reconciler.core.plan.forecast import costs_of, forecast_of
from reconciler.core.plan.free_phones import (
    FreePhones,
    keys_of,
    phone_hold,
    phone_key_of,
    phone_taken_message,
    resolve_with_phones,
    without_phone,
)
from reconciler.core.plan.guard import (
    GUARDS,
    Guard,
    consent_hold,
    consents_beside,
    guard_hold,
    guard_of,
    guards_of,
    kinds_above,
)
from reconciler.core.plan.plan import StorePlan, Summary, summary_of
from reconciler.core.plan.series import (
    ListBuilder,
    NewSeries,
    SeriesBuilder,
    chain_of,
    kept,
    last_of_each,
    merge_of,
    with_each,
)

UPDATES: tuple[Guard, ...] = ("update", *DIRECTIONS)


@dataclass(slots=True)
class ScanResult:
    """The result of scanning one store: its plan, the withheld actions, and the mapping rows to write.

    `whole`: the scan covered all users. `decisions` are kept only on request. `by_mirror` counts the users that were
    decided by the shop's mirror.
    """

    plan: StorePlan
    withheld: Collection[Action] = ()
    rows: Collection[Mapping] = ()
    profiles: int = 0
    whole: bool = True
    decisions: dict[ClerkUserId, tuple[Subject, Decision]] = field(default_factory=dict)
    by_mirror: int = 0


@frozen(kw_only=True)
class _Freed:
    """The values that the action of a user frees."""

    clerk_user_id: ClerkUserId
    frees: chains.Frees
    kind: Guard


@frozen(kw_only=True)
class _Row:
    """The new row of a user, and the known row to compare it with.

    In `if_withheld`, the message lacks the guard's part.
    """

    row: Mapping
    known: Mapping | None

    def saying(self, message: str) -> _Row:
        return replace(self, row=replace(self.row, message=message))


@frozen(kw_only=True)
class _Outcome:
    """One user's part of a plan: the action, with the row if a guard withholds it; or the row without an action."""

    action: Action | None
    holds: tuple[Hold, ...]
    in_sync: bool
    row: _Row | None = None
    if_withheld: _Row | None = None
    frees: chains.Frees = chains.NOTHING_FREED

    def held_for(self, first: ClerkUserId) -> _Outcome:
        """The outcome with the user who gets the phone in its last hold, that of the phone."""
        named = replace(self.holds[-1], message=phone_taken_message(first))
        holds = (*self.holds[:-1], named)
        message = "; ".join(h.message for h in holds)
        return replace(
            self,
            holds=holds,
            row=self.row.saying(message) if self.row is not None else None,
            if_withheld=self.if_withheld.saying(f"; {message}") if self.if_withheld is not None else None,
        )


@frozen(kw_only=True)
class _Late:
    """The outcomes of a user with a phone that another user of the plan may claim: alone, and held."""

    user: ClerkUserId
    key: str
    alone: _Outcome
    held: _Outcome


class PlanBuilder:
    """Builds a store's plan from decisions, added one by one. `guards` False: without guards.

    `keeps_withheld` False: without the rows that say of users that a guard withholds them.
    """

    def __init__(
        self,
        store: Store,
        *,
        now: datetime,
        guards: bool = True,
        keeps_withheld: bool = True,
        keep_all: bool = False,
        new_series: NewSeries = ListBuilder,
    ) -> None:
        self._store = store
        self._now = now
        self._guards = guards
        self._keeps_withheld = guards and keeps_withheld
        self._actions: dict[Guard, SeriesBuilder[Action]] = {kind: new_series(Action, action_order) for kind in GUARDS}
        self._costs: Counter[Guard] = Counter()
        self._beside: dict[Direction, Counter[Guard]] = {each: Counter() for each in DIRECTIONS}
        self._if_withheld: dict[Guard, SeriesBuilder[_Row]] = {kind: new_series(_Row) for kind in GUARDS}
        self._holds: SeriesBuilder[Hold] = new_series(Hold, hold_order)
        self._rows: SeriesBuilder[Mapping] = new_series(Mapping)
        self._freed: SeriesBuilder[_Freed] = new_series(_Freed)
        self._phones = FreePhones(new_series)
        self._late: SeriesBuilder[_Late] = new_series(_Late, lambda late: (late.key, late.user))
        self._blocked: dict[ClerkUserId, tuple[Subject, chains.Blocked]] = {}
        self._all: dict[ClerkUserId, tuple[Subject, Decision]] | None = {} if keep_all else None
        self._all_late: dict[ClerkUserId, Decision] = {}
        self._profiles = 0
        self._in_sync = 0
        self._accepted: list[AcceptedDrift] = []

    def count_in_sync(self, count: int) -> None:
        """Count wanted users in sync that the scan skipped because nothing has changed."""
        self._profiles += count
        self._in_sync += count

    def add(self, subject: Subject, decision: Decision, blocked: chains.Blocked | None = None) -> None:
        """Add one user's decision; `blocked`: the alternatives where other users have the new email or phone."""
        self._profiles += is_wanted(subject.profile, self._store) is not False
        self._accepted += decision.accepted
        if blocked is not None:
            self._blocked[subject.user] = (subject, blocked)
        elif self._phones.note_phone(decision):
            self._postpone(subject, decision)
        else:
            self._keep(subject, decision)
            outcome = self._outcome(subject, decision)
            self._settle(outcome)
            self._note_freed(subject.user, outcome)

    def result(self, *, mappings: int, restore_rate: float, whole: bool) -> ScanResult:
        """The finished plan. `mappings` is the base of the guards' percentages."""
        self._settle_late()
        over = self._settle_blocked(mappings)
        found = {kind: series.whole() for kind, series in self._actions.items()}
        for kind, message in over.items():
            self._withhold(kind, found[kind], message)
        entire: list[Collection[Action]] = []
        messages = {each: over[each] for each in DIRECTIONS if each in over}
        for kind in (
            kind for kind in GUARDS if kind not in over and any(kind in self._beside[each] for each in messages)
        ):
            entire.append(kept(found[kind], lambda action: not directions_of(action).isdisjoint(messages)))
            found[kind] = self._withhold_consents(kind, found[kind], messages)
        holds = self._holds.whole()
        going: dict[Kind, Collection[Action]] = {kind: found[kind] for kind in KINDS if kind not in over}
        costs: Counter[Kind] = Counter({kind: self._costs[kind] for kind in going if kind in self._costs})
        for each in (each for each in DIRECTIONS if each not in over and found[each]):
            going["update"] = merge_of([going.get("update", ()), found[each]], action_order)
            costs["update"] += self._costs[each]
        counts = {kind: len(actions) for kind, actions in going.items()}
        plan = StorePlan(
            store=self._store.name,
            shop=self._store.domain,
            summary=Summary(**counts, hold=len(holds), in_sync=self._in_sync),
            actions=chain_of(going[kind] for kind in KINDS if kind in going),
            holds=holds,
            accepted=tuple(sorted(self._accepted, key=lambda each: (each.clerk_user_id, each.field))),
            forecast=forecast_of(costs, restore_rate),
            config_digest=config_digest(self._store),
        )
        withheld = chain_of(found[kind] for kind in KINDS if kind in over and kind != "update")
        updates = merge_of([found[guard] for guard in UPDATES if guard in over], action_order)
        withheld = merge_of([withheld, updates, *entire], action_order)
        return ScanResult(plan, withheld, self._rows.whole(), self._profiles, whole, self._all or {})

    # --- phones of several users ------------------------------------------------------------------------------------

    def _postpone(self, subject: Subject, decision: Decision) -> None:
        key = phone_key_of(decision.action)
        assert key is not None
        held = without_phone(decision, phone_hold(decision, subject.user))
        late = _Late(
            user=subject.user, key=key, alone=self._outcome(subject, decision), held=self._outcome(subject, held)
        )
        self._late.add(late)
        if self._all is not None:
            self._all[subject.user], self._all_late[subject.user] = (subject, decision), held

    def _settle_late(self) -> None:
        """Settle the users who may have come late for a phone, since the first ones are known now."""
        for late, (user, first) in zip(self._late.whole(), self._phones.firsts(), strict=True):
            assert late.user == user
            outcome = late.alone if first == user else late.held.held_for(first)
            self._settle(outcome)
            self._note_freed(user, outcome)
            if self._all is not None and first != user:
                decision = replace(self._all_late[user], holds=outcome.holds)
                self._all[user] = (self._all[user][0], decision)

    # --- chains -----------------------------------------------------------------------------------------------------

    def _settle_blocked(self, mappings: int) -> dict[Guard, str]:
        """Settle the blocked users; return the kinds above their ceilings, with messages.

        A user who waits for a withheld action is blocked again.
        """
        blocked = {user: case for user, (_, case) in self._blocked.items()}
        awaited = {t.place for case in blocked.values() for d in case.decisions.values() for t in d.taken}
        given = (f for f in self._freed.whole() if not awaited.isdisjoint(f.frees.places)) if blocked else ()
        freed = {f.clerk_user_id: f for f in given}
        frees = {user: f.frees for user, f in freed.items()}
        moved, blocked = resolve_with_phones(blocked, frees, self._phones.holders(keys_of(blocked)))
        actions = {user: decision.action for user, decision in moved.items() if decision.action is not None}
        moving = {user: guard_of(action) for user, action in actions.items()}
        counts: Counter[Guard] = Counter({kind: len(series) for kind, series in self._actions.items()})
        counts.update(guard for action in actions.values() for guard in guards_of(action))
        counts.update({each: beside.total() for each, beside in self._beside.items()})
        over = kinds_above(counts, self._store, mappings=mappings) if self._guards else {}
        kinds = moving | {user: f.kind for user, f in freed.items()}
        gone = frozenset(user for user, kind in kinds.items() if kind in over)
        for user, decision in chains.resolve_without(moved, blocked, frees, gone).items():
            subject = self._blocked[user][0]
            self._keep(subject, decision)
            self._settle(self._outcome(subject, decision))
        return over

    # --- one user -----------------------------------------------------------------------------------------------------

    def _keep(self, subject: Subject, decision: Decision) -> None:
        if self._all is not None:
            self._all[subject.user] = (subject, decision)

    def _outcome(self, subject: Subject, decision: Decision) -> _Outcome:
        action, known = decision.action, subject.mapping
        if action is None:
            row = observed_row(subject, decision, self._store, now=self._now)
            return _Outcome(
                action=None,
                holds=decision.holds,
                in_sync=decision.status == "in_sync",
                row=_Row(row=row, known=known) if row is not None else None,
            )
        withheld = None
        if self._keeps_withheld:
            unsaid = _held(decision, hold(subject.user, known, "GuardExceeded", ""))
            row = observed_row(subject, unsaid, self._store, now=self._now)
            assert row is not None
            withheld = _Row(row=row, known=known if known is not None and known.status == "held" else None)
        return _Outcome(
            action=action,
            holds=decision.holds,
            in_sync=False,
            if_withheld=withheld,
            frees=chains.frees(decision),
        )

    def _settle(self, outcome: _Outcome) -> None:
        for each in outcome.holds:
            self._holds.add(each)
        self._in_sync += outcome.in_sync
        if (row := outcome.row) is not None and is_news(row.known, row.row, now=self._now):
            self._rows.add(row.row)
        if (action := outcome.action) is None:
            return
        guard = guard_of(action)
        self._actions[guard].add(action)
        self._costs[guard] += action.cost_points
        for direction in consents_beside(action):
            self._beside[direction][guard] += 1
        if outcome.if_withheld is not None:
            self._if_withheld[guard].add(outcome.if_withheld)

    def _note_freed(self, user: ClerkUserId, outcome: _Outcome) -> None:
        if outcome.action is not None and outcome.frees.places:
            self._freed.add(_Freed(clerk_user_id=user, frees=outcome.frees, kind=guard_of(outcome.action)))

    # --- guards -----------------------------------------------------------------------------------------------------

    def _withhold_consents(
        self, kind: Guard, actions: Collection[Action], messages: dict[Direction, str]
    ) -> Collection[Action]:
        """The actions without these consents. An approval lets the whole ones go; the next plan shows the consents alone."""
        for action in actions:
            directions = directions_of(action)
            held = [consent_hold(action, each, message) for each, message in messages.items() if each in directions]
            for each in held:
                self._holds.add(each)
            self._costs[kind] += without_consent(action, messages).cost_points - action.cost_points
            if self._all is not None:
                subject, decision = self._all[action.clerk_user_id]
                self._all[action.clerk_user_id] = (
                    subject,
                    decided_without_consent(decision, *held, directions=messages),
                )
        return with_each(actions, lambda action: without_consent(action, messages))

    def _withhold(self, kind: Guard, actions: Collection[Action], message: str) -> None:
        for action in actions:
            held = guard_hold(action, message)
            self._holds.add(held)
            if self._all is not None:
                subject, decision = self._all[action.clerk_user_id]
                self._all[action.clerk_user_id] = (subject, _held(decision, held))
        for each in self._if_withheld[kind].whole():
            row = replace(each.row, message=message + (each.row.message or ""))
            if is_news(each.known, row, now=self._now):
                self._rows.add(row)


def _held(decision: Decision, by: Hold) -> Decision:
    return replace(decision, action=None, holds=(by, *decision.holds), status="held")


def _action_key(action: Action) -> tuple[int, ClerkUserId, str]:
    """What one action of a plan is known by: `undo` may have two updates of a user, of two customers."""
    return (*action_order(action), action.customer_id or "")


def with_withheld(scan_result: ScanResult) -> ScanResult:
    """The scan result with the withheld actions in its plan, after an operator's approval.

    A withheld action that the plan has without its consents replaces that one.
    """
    if not scan_result.withheld:
        return scan_result
    actions = last_of_each(merge_of([scan_result.plan.actions, scan_result.withheld], action_order), _action_key)
    holds = kept(scan_result.plan.holds, lambda h: h.reason != "GuardExceeded")
    summary = summary_of(actions, holds, scan_result.plan.summary.in_sync)
    cost = forecast_of(costs_of(actions), scan_result.plan.forecast.restore_rate)
    plan = replace(scan_result.plan, actions=actions, holds=holds, summary=summary, forecast=cost)
    return replace(scan_result, plan=plan, withheld=())
