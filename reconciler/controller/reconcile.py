"""The corridor: one request walked from its name to its status. Read, decide, act, write down; then say what follows.

Touches only the customer of the user it was called for: whoever must move first is nudged, and comes back by herself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from reconciler.controller.act import Step, park
from reconciler.controller.apply import Outcome, carried, looked, write_down
from reconciler.controller.hands import Hands
from reconciler.controller.sweep import ceiling_now
from reconciler.controller.wholeness import sample
from reconciler.core import chains
from reconciler.core.absence import AGAIN_FIRST_S, is_missing, missing_hold, missing_row
from reconciler.core.ids import ClerkUserId
from reconciler.core.patch import without_action
from reconciler.core.plan import Kind
from reconciler.core.profile import Profile
from reconciler.core.reasons import hold
from reconciler.core.record import is_news
from reconciler.core.store import Ceiling
from reconciler.core.view import Decision
from reconciler.errors import AccessError, AnswerLost, ReconcilerError, TemporaryError
from reconciler.ports import Budgets

CIRCLE_MAX = 20  # users in one circle of addresses; a longer one is left to the next sweep

Result = Literal["in_sync", "applied", "held", "waiting", "failed", "early", "nothing"]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of one request. `nudge`: who should be looked at now because of it.

    `waiting`: another user's customer still has her new address. `early`: the row is older than the event that asked, or
    not there yet (then nothing was done): look again shortly. `over_budget`: look again in the next hour. `again_s`: look
    again then, since a missing row proves nothing yet. `kind` and `points` tell what was carried out; `reasons` why
    something was not.
    """

    result: Result
    nudge: tuple[ClerkUserId, ...] = ()
    reasons: tuple[str, ...] = ()
    kind: Kind | None = None
    points: int = 0
    error: ReconcilerError | None = None
    early: bool = False
    over_budget: bool = False
    again_s: float | None = None


def reconcile(
    user: ClerkUserId,
    hands: Hands,
    budgets: Budgets,
    *,
    wants_updated_at: datetime | None = None,
    is_gone: Callable[[ClerkUserId], bool | None] = lambda _user: None,
) -> Reconciled:
    """Look at one user, decide, act within the hour's budget, and write down.

    `wants_updated_at`: the row should be at least this new. `is_gone`: asked of a user without a row; True if Clerk has the
    user no more, None where that can't be said.
    """
    step = looked([user], hands, explicit=hands.explicit)[0]
    if step.decision.missing and is_gone(user):
        absence = hands.readers.absence
        known = replace(absence, gone=absence.gone | {user})
        hands = replace(hands, readers=replace(hands.readers, absence=known))
        step = looked([user], hands, explicit=hands.explicit)[0]
    if _is_missing(step, wants_updated_at):
        return Reconciled("early", early=True)
    if (missing := _missing(step, hands)) is not None:
        return missing
    result = _walked(step, hands, budgets)
    heir = step.decision.successor
    others = [*([heir] if heir is not None else []), *_rivals_left(step, hands)]
    result = replace(result, nudge=(*result.nudge, *(u for u in others if u not in result.nudge)))
    return replace(result, early=True) if _is_older(step.subject.profile, wants_updated_at) else result


def _rivals_left(step: Step, hands: Hands) -> list[ClerkUserId]:
    """Who waits for an address that she waited for as well, and does not claim any more."""
    row = step.subject.mapping
    if row is None or row.waits_for_email is None or row.waits_for_email == step.decision.blocked_email:
        return []
    waiting = hands.readers.mappings.waiting_for(hands.store.shop, [row.waits_for_email])
    return [u for u in waiting.get(row.waits_for_email, ()) if u != step.subject.user]


def _walked(step: Step, hands: Hands, budgets: Budgets) -> Reconciled:
    if step.decision.blocked_by is not None:
        return _waits(step, hands, budgets)
    action = step.decision.action
    if action is None:
        write_down(step, hands)
        return _nothing_to_do(step)
    if not granted(action.kind, 1, hands, budgets):
        return over_budget(step, hands)
    return _after(_carried(step, hands, budgets), step, hands)


def _missing(step: Step, hands: Hands) -> Reconciled | None:
    """What becomes of a user whose row is missing; None where the row is there, or the user is known to have left.

    A read counts only while the table looks whole otherwise: SourceError where it has no row at all.
    """
    subject, absence, now = step.subject, hands.readers.absence, hands.clock.now()
    mapping = subject.mapping
    if mapping is None or not is_missing(subject.profile, mapping) or subject.user in absence.gone:
        return None
    found = sample(subject.user, hands.store, hands.readers)
    if found.looks_whole and not step.decision.missing:
        return None
    held = missing_hold(subject.user, mapping, absence, now)
    if not found.looks_whole:
        held = held.model_copy(update={"message": found.message})
    row = missing_row(mapping, held, hands.store, now=now, counts=found.looks_whole)
    if is_news(mapping, row, now=now):
        hands.state.put(row)
    again_s = absence.again_s(mapping, now) if found.looks_whole else max(absence.grace_s or 0.0, AGAIN_FIRST_S)
    return Reconciled("held", reasons=("RowMissing",), again_s=again_s)


def _is_older(profile: Profile | None, wanted: datetime | None) -> bool:
    """Whether the row does not show yet what the event tells of. It is acted on all the same: it may never show it."""
    return wanted is not None and profile is not None and profile.updated_at is not None and profile.updated_at < wanted


def _is_missing(step: Step, wanted: datetime | None) -> bool:
    """Whether an event tells of a user whose row is not there yet: nobody is released by that."""
    if wanted is None or step.subject.profile is not None:
        return False
    return step.subject.mapping is None or step.subject.mapping.status not in {"released", "erased"}


def _nothing_to_do(step: Step) -> Reconciled:
    reasons = tuple(sorted({h.reason for h in step.decision.holds}))
    if reasons:
        return Reconciled("held", reasons=reasons)
    return Reconciled("in_sync" if step.decision.status == "in_sync" else "nothing")


def granted(kind: Kind, count: int, hands: Hands, budgets: Budgets) -> int:
    """How many more of this kind may go within this hour's ceiling."""
    ceiling = ceiling_now(hands.store, kind, hands.readers.mappings)
    return budgets.spend(hands.store.shop, kind, hands.clock.now(), count, ceiling)


def _carried(step: Step, hands: Hands, budgets: Budgets) -> Outcome:
    """Carry it out. What surely did not come to pass is given back: a shop that is down spends no budget."""
    hour = hands.clock.now()
    outcome = carried(step, hands)
    unsent = isinstance(outcome.error, TemporaryError | AccessError) and not isinstance(outcome.error, AnswerLost)
    if unsent and not step.written:
        budgets.spend(hands.store.shop, step.action.kind, hour, -1, 0)
    return outcome


def over_budget(step: Step, hands: Hands) -> Reconciled:
    kind = step.action.kind
    ceiling: Ceiling = getattr(hands.store.guards, kind)
    allowed = ceiling_now(hands.store, kind, hands.readers.mappings)
    few = f" ({ceiling.percent:g} % of its mappings; max is {ceiling.max})" if allowed < ceiling.max else ""
    message = f"this hour's budget for {kind} is spent: {allowed or 'none'} at most{few}"
    held = hold(step.subject.user, step.decision.customer, "GuardExceeded", message, action=step.action)
    write_down(Step(step.action, step.subject, without_action(step.decision, held)), hands)
    return Reconciled("held", reasons=("GuardExceeded",), over_budget=True)


def _after(outcome: Outcome, step: Step, hands: Hands) -> Reconciled:
    if outcome.result != "applied":
        return Reconciled("failed", error=outcome.error, reasons=(outcome.message,), kind=outcome.action.kind)
    waiting: tuple[ClerkUserId, ...] = ()
    if outcome.freed is not None:
        waiting = hands.readers.mappings.waiting_for(hands.store.shop, [outcome.freed]).get(outcome.freed, ())
    reasons = tuple(sorted({h.reason for h in (*step.decision.holds, *outcome.holds)}))
    return Reconciled(
        "applied", nudge=waiting, reasons=reasons, kind=outcome.action.kind, points=outcome.action.cost_points
    )


def _waits(step: Step, hands: Hands, budgets: Budgets) -> Reconciled:
    """Somebody else's customer has her new address: in a circle one parks hers, else whoever has it is nudged."""
    owner = step.decision.blocked_by
    assert owner is not None
    circle = _circle(step, hands)
    mine = circle.get(step.subject.user)
    if mine is not None and mine.action is not None and mine.action.park:
        customer = step.decision.customer
        if customer is not None and customer.email is not None:
            park(step, hands)
        return Reconciled("waiting", nudge=tuple(sorted(u for u in circle if u != step.subject.user)))
    if step.decision.action is None:
        write_down(Step(step.action, step.subject, _as_told(step, mine)), hands)
    elif not granted(step.action.kind, 1, hands, budgets):
        return over_budget(step, hands)
    else:  # the rest of her patch does not wait
        outcome = _carried(step, hands, budgets)
        if outcome.result != "applied":
            return _after(outcome, step, hands)
    return Reconciled("waiting", nudge=(owner,), reasons=("EmailTaken",))


def _as_told(step: Step, mine: Decision | None) -> Decision:
    """Her decision as it is now; where a circle can't be turned, with what is said of that."""
    return mine if mine is not None and mine.action is None else step.decision


def _circle(step: Step, hands: Hands) -> dict[ClerkUserId, Decision]:
    """The decisions of a circle of addresses that she is part of; empty where there is none."""
    blocked: dict[ClerkUserId, chains.Blocked] = {}
    at = step
    while len(blocked) < CIRCLE_MAX and at.if_free is not None and at.decision.blocked_by is not None:
        blocked[at.subject.user] = chains.Blocked(as_is=at.decision, if_free=at.if_free)
        owner = at.decision.blocked_by
        if owner == step.subject.user:
            return chains.resolved(blocked, {})
        if owner in blocked:
            return {}
        at = looked([owner], hands, explicit=False)[0]
    return {}
