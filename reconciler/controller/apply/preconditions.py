"""Whether a planned action still fits the world: what it rests on now, or why it does not fit any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from reconciler.controller.context import StoreContext
from reconciler.controller.observe import observe_users, subjects_of
from reconciler.controller.record import record_decisions
from reconciler.controller.step import Outcome, Step
from reconciler.core.decide.consent import with_addresses_only
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import is_wanted, spec_of, used_digest
from reconciler.core.model.action import Action, Hold
from reconciler.core.model.ids import UNIQUE, ClerkUserId
from reconciler.core.model.spec import Spec
from reconciler.core.model.view import Decision, Taken
from reconciler.core.plan.free_phones import phone_key_of, without_phone
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.guard import without_withheld_consents
from reconciler.core.plan.vacated import is_vacated
from reconciler.ports import CustomerReader

UNSEEN_FOR = timedelta(minutes=2)  # so long no other writer is expected to have made a customer that the plan creates


class Preconditions:
    """Checks one plan's actions. `fresh`: it was made just now, and its creates are not observed again while it is young.

    It remembers how far it has read the plan. Users who have `changed` since then are observed whatever is planned.
    With `by_mirror` creates are searched in the mirror, where that is current, and in the shop only where it can't tell.
    """

    def __init__(
        self,
        scan_result: ScanResult,
        context: StoreContext,
        *,
        fresh: bool,
        changed: Iterable[ClerkUserId] = (),
        by_mirror: Callable[[], CustomerReader | None] = lambda: None,
    ) -> None:
        self._context = context
        self._by_mirror = cache(by_mirror)
        self._since = context.clock.now()
        self._fresh = fresh
        self._unseen_until = self._since + UNSEEN_FOR if fresh else None
        self._seen = {*changed}
        self._holds = _HoldsOf(scan_result.plan.holds)

    def of(self, batch: Sequence[Action], *, parked: Container[ClerkUserId] = ()) -> list[Step | Outcome]:
        """Each action with what it rests on now, or why it does not fit any more."""
        young = self._unseen_until is not None and self._context.clock.now() < self._unseen_until
        planned = {
            a.clerk_user_id: a for a in batch if not (young and a.kind == "create") or a.clerk_user_id in self._seen
        }
        unseen = [a for a in batch if a.clerk_user_id not in planned]
        ready: list[Step | Outcome] = _creates(unseen, self._context, self._holds, self._since)
        held = self._holds.of(list(planned)) if planned else {}
        for found in self._observe(planned.values()):
            action = planned[found.subject.user]
            holds = held[action.clerk_user_id]
            step = _as_planned(_as_held(found, action, holds), action, holds)
            if _is_same(action, step.decision.action, parked=step.subject.user in parked) or _is_part(
                action, step.decision
            ):
                ready.append(step)
            else:
                ready.append(self._refuse(action, step, holds))
        return ready

    def _refuse(self, action: Action, step: Step, holds: Iterable[Hold]) -> Outcome:
        is_over = step.decision.action is None
        if is_over:
            record_decisions([step], self._context.store, self._context.state, self._context.clock.now())
        if self._fresh and _is_done(action, step.decision, holds):
            return Outcome(action, "done already", is_recorded=True)
        return Outcome(action, "refused", _moved_because(action, step.decision), is_recorded=is_over)

    def _observe(self, actions: Iterable[Action]) -> Iterator[Step]:
        creates: list[ClerkUserId] = []
        others: list[ClerkUserId] = []
        for action in actions:
            is_new = action.kind == "create" and action.clerk_user_id not in self._seen
            (creates if is_new else others).append(action.clerk_user_id)
        if creates:
            yield from observe_users(
                creates, self._context, explicit=self._context.explicit, by_mirror=self._by_mirror()
            )
        if others:
            yield from observe_users(others, self._context, explicit=self._context.explicit)


def still_turns(circle: Sequence[Action], steps: Sequence[Step]) -> bool:
    """Whether all users in a circle, and all who wait for it, wait as planned: otherwise it would stop half-way."""
    now = {s.subject.user: s for s in steps}
    return all(_still_waits(a, now[a.clerk_user_id]) for a in circle)


def _still_waits(action: Action, step: Step) -> bool:
    if not action.waits_for:
        return _is_same(action, step.decision.action, parked=False)
    if step.blocked is None:
        return False
    found = [step.blocked.decision_with(fields) for fields in (UNIQUE, UNIQUE[:1], UNIQUE[1:])]
    return any(spend_budget and _is_same(action, decision.action, parked=False) for decision, spend_budget in found)


def _as_held(step: Step, planned: Action, holds: Iterable[Hold]) -> Step:
    """The step without the phone that the plan holds, since it is also another user's, who need not have it yet."""
    held = next((h for h in holds if h.reason == "PhoneTaken" and h.field == "phone"), None)
    if held is None or phone_key_of(step.decision.action) is None or phone_key_of(planned) is not None:
        return step
    decision = without_phone(step.decision, held)
    return replace(step, action=decision.action or step.action, decision=decision)


def _as_planned(step: Step, planned: Action, holds: Iterable[Hold]) -> Step:
    """The step without the consents that the plan does not write, since a guard has withheld them."""
    decision = without_withheld_consents(step.decision, planned, holds)
    return (
        step if decision is step.decision else replace(step, action=decision.action or step.action, decision=decision)
    )


class _HoldsOf:
    """The holds of a few users at a time, read on from where those of the last few were: both are sorted by user."""

    def __init__(self, holds: Collection[Hold]) -> None:
        self._all = holds
        self._left: Iterator[Hold] = iter(())
        self._next: Hold | None = None
        self._upto: ClerkUserId | None = None

    def of(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, tuple[Hold, ...]]:
        if self._upto is None or min(users) <= self._upto:
            self._left = iter(self._all)
            self._next = next(self._left, None)
        self._upto = max(users)
        found: dict[ClerkUserId, tuple[Hold, ...]] = dict.fromkeys(users, ())
        while self._next is not None and self._next.clerk_user_id <= self._upto:
            if self._next.clerk_user_id in found:
                found[self._next.clerk_user_id] += (self._next,)
            self._next = next(self._left, None)
        return found


def _creates(batch: Sequence[Action], context: StoreContext, holds: _HoldsOf, since: datetime) -> list[Step | Outcome]:
    if not batch:
        return []
    held_of = holds.of([a.clerk_user_id for a in batch])
    subjects = {s.user: s for s in subjects_of([a.clerk_user_id for a in batch], context.store, context.readers)}
    ready: list[Step | Outcome] = []
    for action in batch:
        subject = subjects[action.clerk_user_id]
        if subject.profile is None or used_digest(subject.profile, context.store) != action.profile_digest:
            ready.append(Outcome(action, "refused", "the profile has changed since the plan was made"))
        elif not is_wanted(subject.profile, context.store):
            ready.append(Outcome(action, "refused", "the store does not want this user any more"))
        else:
            spec = spec_of(subject.profile, context.store)
            held = held_of[subject.user]
            decision = Decision(
                clerk_user_id=subject.user, action=action, holds=held, spec=spec, taken=_phone_awaited(spec, held)
            )
            ready.append(Step(action, subject, decision, seen_at=since))
    return ready


def _phone_awaited(spec: Spec, holds: Iterable[Hold]) -> tuple[Taken, ...]:
    """The phone that the user waits for, where the plan holds it as another's."""
    key = normalise.phone_key(spec.value("phone"))
    is_held = any(h.reason == "PhoneTaken" and h.field == "phone" for h in holds)
    return (Taken(field="phone", key=key),) if key is not None and is_held else ()


def _is_same(planned: Action, now: Action | None, *, parked: bool) -> bool:
    """Whether what is due now is what was planned; a customer that was parked is another than the plan saw.

    So has who takes the customer of a user who was to be released first: the release was checked against it.

    The name and email of the customer are for readers: `customer_digest` says whether the customer is the same.
    """
    if now is None:
        return False
    vacated = is_vacated(planned)
    if parked or vacated:
        but = {"tags"} if vacated else set()  # the release may have added one, which goes again
        if _ends(planned, but) != _ends(now, but):
            return False
    return _essence(planned, alone=parked or vacated) == _essence(now, alone=parked or vacated)


def _essence(action: Action, *, alone: bool) -> Action:
    """The action without what may differ in the same one; `alone`: also without its changes and its customer."""
    same = replace(action, waits_for=(), park=(), cost_points=0, email=None, name=None)
    return replace(same, customer_digest="", changes=()) if alone else same


def _is_part(planned: Action, decision: Decision) -> bool:
    """Whether what is due now is what was planned but for a value that was to become free, and has not: the rest goes."""
    now, taken = decision.action, {t.field for t in decision.taken}
    if now is None or not planned.waits_for or planned.park or not taken:
        return False
    changes = with_addresses_only(planned.changes, (c for c in planned.changes if c.field not in taken))
    return len(changes) < len(planned.changes) and _is_same(replace(planned, changes=changes), now, parked=False)


def _ends(action: Action, but: Container[str]) -> dict[str, object]:
    return {c.field: c.after for c in action.changes if c.field not in but}


def _is_done(planned: Action, now: Decision, holds: Iterable[Hold]) -> bool:
    """Whether all of the action was done, and nothing is held but what the plan holds of this user."""
    held = {(h.reason, h.field) for h in now.holds} - {(h.reason, h.field) for h in holds}
    done = {"released", "erased"} if planned.kind == "release" else {"in_sync", "held"}
    return now.action is None and not held and now.status in done


def _moved_because(planned: Action, decision: Decision) -> str:
    now = decision.action
    if now is None:
        reasons = ", ".join(sorted({h.reason for h in decision.holds}))
        return f"it is held now: {reasons}" if reasons else "there is nothing left to do"
    if now.profile_digest != planned.profile_digest:
        return "the profile has changed since the plan was made"
    if (now.customer_digest, now.customer_id) != (planned.customer_digest, planned.customer_id):
        return "the customer has changed in Shopify since the plan was made"
    return "another decision is due now"
