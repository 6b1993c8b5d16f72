"""One action from a fresh look to its outcome: the bounded loop of act, and look again. Shared by all ways to apply."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.controller.act import Step, claimed, has_moved, perform
from reconciler.controller.context import StoreContext
from reconciler.controller.handover import Overtaken
from reconciler.controller.observe import claims_on
from reconciler.controller.scan import Ask, decided, named
from reconciler.core.decide.absence import seen_again
from reconciler.core.decide.record import after_look, new_row, with_refused
from reconciler.core.decide.refused import WHOLE, tried_digest, whole_digest
from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import RefusedValue
from reconciler.core.model.view import Subject
from reconciler.core.plan import chains
from reconciler.core.plan.circles import NOTHING
from reconciler.errors import AccessError, AnswerLost, PermanentError, ReconcilerError, Refused, TemporaryError

ROUNDS = 5  # fresh looks after a refusal or a lost answer, before a person is told
OWN_GUARDS = frozenset({"relink", "merge", "release"})  # never done in the place of another kind: no plan has shown it
WORLD_MOVED = frozenset({"TAKEN", "NOT_FOUND", "STALE_OBJECT", "CAPABILITY_VIOLATION"})

Result = Literal["applied", "refused", "failed", "not tried"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action. `refused`: the world had moved since the plan; `message` says how.

    `holds`: what the plan did not hold yet, such as a value that Shopify refused while the rest was written.
    `freed`: the keys of the values that it gave up, for which other users may wait. `error` is what ended it: Overtaken
    where a release was not due any more, since `successor`, where one is known, adopts the customer.
    """

    action: Action
    result: Result
    message: str = ""
    hint: str = ""
    freed: frozenset[str] = NOTHING
    holds: tuple[Hold, ...] = ()
    error: ReconcilerError | None = None
    successor: ClerkUserId | None = None


def looked(users: Sequence[ClerkUserId], context: StoreContext, *, explicit: bool) -> list[Step]:
    """A fresh look at these users, one step each; one without an action carries an empty update."""
    readers, store = context.readers, context.store
    subjects = _seen_again(named(users, store, readers), context)
    claims = claims_on(subjects, readers.profiles, store)
    ask = Ask(now=context.clock.now(), users=users, explicit=explicit, insists=context.insists)
    return [
        Step(one.decision.action or _nothing(one.subject.user), one.subject, one.decision, one.blocked)
        for one in decided(subjects, store, readers, claims, ask)
    ]


def _seen_again(subjects: Sequence[Subject], context: StoreContext) -> list[Subject]:
    """The same; a row that was missing and is there is noted first: what follows may fail, and the next read miss it."""
    again = {s.user: row for s in subjects if (row := seen_again(s)) is not None}
    if not again:
        return [*subjects]
    context.state.put_unmoved([(s.mapping, again[s.user]) for s in subjects if s.user in again])
    return [replace(s, mapping=again.get(s.user, s.mapping)) for s in subjects]


def carried(step: Step, context: StoreContext, *, failed: ReconcilerError | None = None) -> Outcome:
    """The bounded loop of act, and look again where the answer was lost or Shopify says that the world is another.

    `failed`: the action was sent already in another way, and this is what became of it.
    """
    try:
        return _carried(step, context, failed)
    except (TemporaryError, PermanentError, AccessError) as error:
        return Outcome(step.action, "failed", error.message, error.hint, error=error)


def _carried(step: Step, context: StoreContext, failed: ReconcilerError | None) -> Outcome:
    planned = step.action
    freed = chains.gives_up(step.decision)
    known = {(h.reason, h.field) for h in step.decision.holds}
    message, wrote = "", False
    for turn in range(ROUNDS):
        met = _attempt(step, context, failed if turn == 0 else None)
        message = met.message if met is not None else message
        if met is None and step.action.kind != "merge":
            return Outcome(planned, "applied", message, freed=freed, holds=_new(step, known))
        if isinstance(met, Refused) and not _learned(met, step, context, again=turn > 0):
            return Outcome(planned, "failed", message, met.hint, error=met)
        wrote = wrote or bool(step.written)
        before, step = step, looked([planned.clerk_user_id], context, explicit=False)[0]
        if isinstance(met, AnswerLost):
            step = _claimed(before, step, context)
        if step.decision.action is None:
            write_down(step, context)
            if isinstance(met, Overtaken) and planned.kind == "release":
                successor = step.decision.successor
                return Outcome(planned, "refused", message, met.hint, error=met, successor=successor)
            return _ended(Outcome(planned, "applied", message, freed=freed, holds=_new(step, known)), wrote=wrote)
        if step.action.kind in OWN_GUARDS and step.action.kind != planned.kind:
            message = f"the world has moved: {step.action.kind} is due now, which this plan does not show"
            return Outcome(planned, "refused", message, f"the next plan shows the {step.action.kind}")
    return Outcome(planned, "failed", f"given up after {ROUNDS} looks: {message}")


def _ended(outcome: Outcome, *, wrote: bool) -> Outcome:
    """The outcome where nothing is left to do: a failure where all of it is held, and nothing was written."""
    if not outcome.holds or wrote or outcome.action.kind == "merge":
        return outcome
    reasons = ", ".join(sorted({h.reason for h in outcome.holds}))
    return Outcome(outcome.action, "failed", f"{reasons}: {outcome.message}")


def _claimed(lost: Step, step: Step, context: StoreContext) -> Step:
    """The look that followed, with what was ours by it; another look where her row has moved since the lost write."""
    found = claimed(lost, step, context)
    if found is step or not has_moved(lost.action, step.subject):
        return found
    return looked([step.subject.user], context, explicit=False)[0]


def _new(step: Step, known: Collection[tuple[str, str | None]]) -> tuple[Hold, ...]:
    """What is held now and was not when the action was planned."""
    return tuple(h for h in step.decision.holds if (h.reason, h.field) not in known)


def _attempt(
    step: Step, context: StoreContext, failed: ReconcilerError | None
) -> Overtaken | AnswerLost | Refused | None:
    """Send the action; what it met that a fresh look may lead on from, or None where it was done."""
    try:
        if failed is not None:
            raise failed
        perform(step, context)
    except (Overtaken, AnswerLost, Refused) as error:
        return error
    return None


def write_down(step: Step, context: StoreContext) -> None:
    """What a look taught that led to no write."""
    row = after_look(step.subject, step.decision, context.store, now=context.clock.now())
    if row is not None and step.decision.successor is not None:  # who may have adopted the customer meanwhile
        context.state.put_unmoved([(step.subject.read, row)])
    elif row is not None:
        context.state.put(row)


@dataclass(slots=True)
class Door:
    """Whether a store can still be used, known at once to all who work on it: `shut` says why not."""

    shut: AccessError | None = None


def not_tried(action: Action, stopped: AccessError) -> Outcome:
    return Outcome(action, "not tried", stopped.message, stopped.hint, error=stopped)


def _nothing(user: ClerkUserId) -> Action:
    return Action(kind="update", clerk_user_id=user, customer_id=None, changes=(), cost_points=0)


def _learned(refused: Refused, step: Step, context: StoreContext, *, again: bool) -> bool:
    """Whether a fresh look can lead on: the world moved, or what was refused can be left out from now on.

    A refusal that names no field of the action is one of the whole action.
    """
    changes = {c.field: c for c in step.action.changes}
    lost: dict[str, RefusedValue] = {}
    moved = False
    for refusal in refused.refusals:
        names = _fields_of(refusal.field, changes)
        if refusal.code in WORLD_MOVED and not again:
            moved = True
            continue
        for name in names or [WHOLE]:
            known = tried_digest(changes[name]) if names else whole_digest(step.action, step.decision, context.store)
            profile = step.action.profile_digest if refusal.code == "TAKEN" else ""  # the shop moves, not the value
            lost[name] = RefusedValue(
                digest=known, code=refusal.code, message=refusal.message, asked=context.explicit, profile=profile
            )
    if lost:
        now = context.clock.now()
        current = context.readers.mappings.get(context.store.shop, [step.subject.user]).get(step.subject.user)
        context.state.put(with_refused(current or new_row(step.subject.user, context.store, now=now), lost))
    return moved or bool(lost)


def _fields_of(name: str | None, changes: dict[str, Change]) -> list[str]:
    if name in changes:
        return [name]
    return [f for f in changes if name == "metafields" and f.startswith("metafields.")]
