"""One request, from its name to its status: observe, decide, execute, record; then say what follows.

Writes only to the customer of the user it was called for: users who must move first are nudged, and reconciled in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from reconciler.controller import wait_circles
from reconciler.controller.context import StoreContext
from reconciler.controller.execute import execute
from reconciler.controller.leaving.handover import Overtaken
from reconciler.controller.observe import observe_users
from reconciler.controller.record import record_decision
from reconciler.controller.step import Outcome, ReconcileResult, Step, verdict_of
from reconciler.controller.wait_circles import park
from reconciler.core.decide.actions import without_action
from reconciler.core.decide.consent import decided_without_consent
from reconciler.core.decide.leaving.absence import AGAIN_FIRST_S, absence_hold, absent_row, is_absent, is_living
from reconciler.core.decide.record import is_news
from reconciler.core.decide.stale_row import STALE, STALE_AGAIN_S
from reconciler.core.model.action import Action
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import DESTRUCTIVE
from reconciler.core.plan import chains
from reconciler.core.plan.guard import (
    Guard,
    budget_message,
    ceiling_now,
    consent_hold,
    consents_beside,
    guard_of,
    guards_of,
)
from reconciler.errors import AccessError, AnswerLost, TemporaryError
from reconciler.ports import Budgets, MappingReader


def reconcile(
    user: ClerkUserId,
    context: StoreContext,
    budgets: Budgets,
    *,
    wants_updated_at: datetime | None = None,
    is_gone: Callable[[ClerkUserId], bool | None] = lambda _user: None,
) -> ReconcileResult:
    """Observe one user, decide, execute within the hour's budget, and record.

    `wants_updated_at`: the row should be at least this new. `is_gone`: asked of a user without a row; True if Clerk
    no longer has the user, None if that can't be said.
    """
    step = observe_users([user], context, explicit=context.explicit)[0]
    if step.decision.absent and step.subject.profile is None and is_gone(user):
        context = context.after_deletion(user)
        step = observe_users([user], context, explicit=context.explicit)[0]
    if _is_missing(step, wants_updated_at):
        return ReconcileResult("early", early=True)
    if (absent := _absent(step, context)) is not None:
        return absent
    result = _act(step, context, budgets)
    successor = step.decision.successor
    others = [
        *([successor] if successor is not None else []),
        *_rivals_left(step, context),
        *_waiting_on_left_customer(step, context),
    ]
    result = replace(result, nudge=(*result.nudge, *(u for u in others if u not in result.nudge)))
    return replace(result, early=True) if _is_older(step.subject.profile, wants_updated_at) else result


def _rivals_left(step: Step, context: StoreContext) -> tuple[ClerkUserId, ...]:
    """Who waits for a value that this user waited for as well, and does not claim any more."""
    row = step.subject.mapping
    left = {*row.awaited_keys} - {taken.key for taken in step.decision.taken} if row is not None else set()
    return _others(step, *context.readers.mappings.waiting_for(context.store.shop, left))


def _waiting_on_left_customer(step: Step, context: StoreContext) -> tuple[ClerkUserId, ...]:
    """Who waits for a value on the customer of a user who has left just now, and may adopt or take it."""
    customer, mapping = step.decision.customer, step.subject.mapping
    leaves = step.decision.status == "released" or step.decision.successor is not None
    if customer is None or not is_living(mapping) or not leaves:
        return ()
    return _others(step, *context.readers.mappings.waiting_for(context.store.shop, customers=[customer.id]))


def _act(step: Step, context: StoreContext, budgets: Budgets) -> ReconcileResult:
    step, is_late = _with_consent_in_budget(step, context, budgets)
    result = _act_in_budget(step, context, budgets)
    return replace(result, over_budget=True) if is_late and result.error is None else result


def _act_in_budget(step: Step, context: StoreContext, budgets: Budgets) -> ReconcileResult:
    if step.blocked is not None:
        return _act_on_rest(step, context, budgets)
    action = step.decision.action
    if action is None:
        record_decision(step, context)
        return _nothing_to_do(step)
    return _spend(step, context, budgets) or _result_of(_execute(step, context, budgets), step, context)


def _absent(step: Step, context: StoreContext) -> ReconcileResult | None:
    """Decide about a user with an absent row; None where it is there, or the user is known to have left.

    A read counts only while the table appears whole otherwise: SourceError where it has no row at all.
    """
    subject, absence, now = step.subject, context.readers.absence, context.clock.now()
    mapping = subject.mapping
    if mapping is None or not is_absent(subject.profile, mapping, context.store) or subject.user in absence.gone:
        return None
    by_where = subject.profile is not None
    found = context.samples.of(subject.user, context.store, context.readers, now, by_where=by_where)
    if found.looks_whole and not step.decision.absent:
        return None
    held = absence_hold(subject.user, subject.profile, mapping, absence, now)
    if not found.looks_whole:
        held = replace(held, message=found.message)
    since = (absence.first_seen(mapping, now) or now) if found.looks_whole else None
    row = absent_row(mapping, subject.profile, held, context.store, now=now, since=since)
    if is_news(mapping, row, now=now):
        context.state.put_unchanged([(subject.read, row)])
    again_s = absence.again_s(mapping, now) if found.looks_whole else max(absence.grace_s or 0.0, AGAIN_FIRST_S)
    return ReconcileResult("held", reasons=(held.reason,), again_s=again_s)


def _is_older(profile: Profile | None, wanted: datetime | None) -> bool:
    """Whether the row does not show yet what the event reports. It is used all the same: it may never show it."""
    return wanted is not None and profile is not None and profile.updated_at is not None and profile.updated_at < wanted


def _is_missing(step: Step, wanted: datetime | None) -> bool:
    """Whether an event is about a user without a row so far: that releases no user."""
    if wanted is None or step.subject.profile is not None:
        return False
    return step.subject.mapping is None or step.subject.mapping.status not in {"released", "erased"}


def _nothing_to_do(step: Step) -> ReconcileResult:
    if reasons := _reasons(step):
        return ReconcileResult("held", reasons=reasons, again_s=STALE_AGAIN_S if STALE in reasons else None)
    if step.decision.status == "pending" and step.decision.successor is not None:
        return ReconcileResult("waiting")  # what `on_leave` deletes is due after all if the successor goes, too
    return ReconcileResult("in_sync" if step.decision.status == "in_sync" else "nothing")


def _spend(step: Step, context: StoreContext, budgets: Budgets, count: int = 1) -> ReconcileResult | None:
    """Spend this hour's budget for so many actions of the step's kind; where it is not enough, what becomes of the request.

    Then nothing is spent, and the action is held until the next hour.
    """
    message = _spend_of(guard_of(step.action), context, budgets, count)
    if message is None:
        return None
    for guard in consents_beside(step.action):  # spent before
        budgets.give_back(context.store.shop, guard, context.clock.now(), 1)
    held = hold(step.subject.user, step.decision.customer, "GuardExceeded", message, action=step.action)
    record_decision(Step(step.action, step.subject, without_action(step.decision, held)), context)
    return ReconcileResult("held", reasons=("GuardExceeded",), over_budget=True)


def _spend_of(guard: Guard, context: StoreContext, budgets: Budgets, count: int) -> str | None:
    """Spend so much of this guard's budget for the hour; where it is not enough, nothing is spent, and the message."""
    store, hour = context.store, context.clock.now()
    ceiling = ceiling_now(store, guard, lambda most: context.readers.mappings.count(store.shop, at_most=most))
    return None if budgets.spend(store.shop, guard, hour, count, ceiling) else budget_message(guard, store, ceiling)


def _with_consent_in_budget(step: Step, context: StoreContext, budgets: Budgets) -> tuple[Step, bool]:
    """The step, without the consents for which this hour's budget is spent, and whether there are any.

    An action that writes nothing else is left to the budget of its own guard.
    """
    action, is_late = step.decision.action, False
    for guard in consents_beside(action) if action is not None else ():
        message = _spend_of(guard, context, budgets, 1)
        if message is not None:
            held = consent_hold(step.action, guard, message)
            decision = decided_without_consent(step.decision, held, directions=(guard,))
            assert decision.action is not None
            step, is_late = replace(step, action=decision.action, decision=decision), True
    return step, is_late


def _execute(step: Step, context: StoreContext, budgets: Budgets) -> Outcome:
    """Execute it. The budget of what was surely not sent is given back: a shop that is down spends none."""
    hour = context.clock.now()
    outcome = execute(step, context)
    unsent = isinstance(outcome.error, TemporaryError | AccessError) and not isinstance(outcome.error, AnswerLost)
    if (unsent or isinstance(outcome.error, Overtaken)) and not step.written:
        for guard in guards_of(step.action):
            budgets.give_back(context.store.shop, guard, hour, 1)
    return outcome


def _result_of(outcome: Outcome, step: Step, context: StoreContext) -> ReconcileResult:
    if isinstance(outcome.error, Overtaken) and outcome.result == "refused":
        successor = outcome.successor
        still_due = successor is not None and context.store.on_leave in DESTRUCTIVE  # if the successor goes, too
        return ReconcileResult(
            "waiting" if still_due else "nothing", nudge=(successor,) if successor is not None else ()
        )
    if outcome.result != "applied":
        verdict = verdict_of(outcome.error)
        return ReconcileResult(verdict, error=outcome.error, reasons=(outcome.message,), kind=outcome.action.kind)
    waiting = _waiting_for(outcome, context)
    reasons = tuple(sorted({h.reason for h in (*step.decision.holds, *outcome.holds)}))
    return ReconcileResult(
        "applied", nudge=waiting, reasons=reasons, kind=outcome.action.kind, points=outcome.action.cost_points
    )


def _act_on_rest(step: Step, context: StoreContext, budgets: Budgets) -> ReconcileResult:
    """Customers of other users have new values of this one: the rest of the patch goes, then who comes next is nudged."""
    action = step.decision.action
    waiting: tuple[ClerkUserId, ...] = ()
    if action is None:
        record_decision(step, context)
    elif not _gives_back(step):
        if (held := _spend(step, context, budgets)) is not None:
            return held
        outcome = _execute(step, context, budgets)
        if outcome.result != "applied":
            return _result_of(outcome, step, context)
        waiting = _waiting_for(outcome, context)
    result = _take_turn(step, context, budgets)
    return replace(result, nudge=_others(step, *result.nudge, *waiting))


def _take_turn(step: Step, context: StoreContext, budgets: Budgets) -> ReconcileResult:
    """Find the users to reconcile next: the one who breaks the circle, else those who have the values.

    The row says by now who waits, and only then are others observed. So of two concurrent reconciles one sees both, and a
    user who frees a value later finds this user among those who wait for it.
    """
    user, awaited = step.subject.user, {taken.key for taken in step.decision.taken}
    is_news = not awaited <= {*(step.subject.mapping.awaited_keys if step.subject.mapping is not None else ())}
    wait_circle = wait_circles.wait_circle(step, context)
    now = wait_circle.steps.get(user) or (observe_users([user], context, explicit=False)[0] if is_news else step)
    if now.blocked is None:
        return _act(now, context, budgets)
    mine = wait_circle.decisions.get(user)
    if mine is not None and mine.action is not None and mine.action.waits_for:
        if mine.action.park:
            return _park(wait_circle, mine.action, context, budgets)
        parkers = [u for u, d in wait_circle.decisions.items() if d.action is not None and d.action.park]
        return ReconcileResult(
            "waiting", nudge=_others(step, *(parkers or mine.action.waits_for)), reasons=_reasons(step)
        )
    if now.decision.action is not None and _gives_back(now):
        return _result_of(_execute(now, context, budgets), now, context)
    if mine is not None and mine.action is None:
        record_decision(Step(step.action, now.subject, mine), context)
    owned = chains.values_of_users(step.decision)
    nudged = _others(step, *(taken.owner for taken in owned if taken.owner is not None)) if is_news else ()
    is_awaited = is_news or any(taken.field == "email" for taken in owned)
    return ReconcileResult("waiting" if is_awaited else "held", nudge=nudged, reasons=_reasons(step))


def _park(
    wait_circle: wait_circles.WaitCircle, action: Action, context: StoreContext, budgets: Budgets
) -> ReconcileResult:
    """Park what breaks the circle, if this hour's budget is enough for all who wait in it; who waits for it goes next."""
    step = wait_circle.steps[action.clerk_user_id]
    turning = [d for d in wait_circle.decisions.values() if d.action is not None and d.action.waits_for]
    hour = context.clock.now()
    decided = Step(action, step.subject, replace(step.decision, action=action))
    if (held := _spend(decided, context, budgets, len(turning))) is not None:
        return held
    budgets.give_back(context.store.shop, action.kind, hour, len(turning))  # each spends its own when it is executed
    parked = park(step, context, action.park)
    keys = [key for field, value in parked.items() if (key := chains.key_of(field, value)) is not None]
    waiting = waiting_on(keys, action, context.readers.mappings, context.store.shop)
    return ReconcileResult("waiting", nudge=_others(step, *waiting), reasons=_reasons(step))


def _gives_back(step: Step) -> bool:
    """Whether the action gives back what was parked, which is not to be done while the circle still turns."""
    parked = step.subject.parked_values
    changes = step.decision.action.changes if step.decision.action is not None else ()
    return any(c.field in parked and c.before is None and c.after == parked[c.field] for c in changes)


def _waiting_for(outcome: Outcome, context: StoreContext) -> tuple[ClerkUserId, ...]:
    """Who waits for a value that this action set free."""
    return waiting_on(outcome.freed, outcome.action, context.readers.mappings, context.store.shop)


def waiting_on(
    freed: Collection[str], action: Action, mappings: MappingReader, shop: ShopDomain
) -> tuple[ClerkUserId, ...]:
    """Who waits for one of these values, or on the customer that gives them up: the shop may spell them in its own way."""
    if not freed:
        return ()
    at = [customer for customer in (action.customer_id, action.from_customer_id) if customer is not None]
    return tuple(user for user in mappings.waiting_for(shop, freed, at) if user != action.clerk_user_id)


def _others(step: Step, *users: ClerkUserId) -> tuple[ClerkUserId, ...]:
    return tuple(sorted({*users} - {step.subject.user}))


def _reasons(step: Step) -> tuple[str, ...]:
    return tuple(sorted({h.reason for h in step.decision.holds}))
