"""The only sender: the writes of an action in order, each recorded as soon as it is done, with bounded retries.

Decides nothing: after a refusal or a lost answer the user is observed again, and what is due then is sent.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from dataclasses import replace

from reconciler.controller.context import StoreContext
from reconciler.controller.leaving.departures import Departures
from reconciler.controller.leaving.handover import Overtaken, begin_release, end_former
from reconciler.controller.observe import observe_users
from reconciler.controller.record import events_found, record_decision
from reconciler.controller.step import Outcome, PlannedWrite, Step, failure
from reconciler.controller.writes import writes_of
from reconciler.core.decide.consent import with_times
from reconciler.core.decide.record import (
    new_row,
    row_after_write,
    waits_of,
    with_intent,
    with_refused,
)
from reconciler.core.decide.refused import refused_value_digest, whole_digest, whole_key
from reconciler.core.decide.written import as_before, as_written, in_place, intent_of
from reconciler.core.fields.desired import used_digest
from reconciler.core.fields.normalise import is_same_email
from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import Intent, Mapping, RefusedValue
from reconciler.core.model.store import DESTRUCTIVE, Store
from reconciler.core.model.values import text_of
from reconciler.core.model.view import Subject
from reconciler.core.model.write import CREATED, Create, DeleteMetafields, SetConsent, SetMetafields, Write
from reconciler.core.plan import chains
from reconciler.core.plan.guard import without_withheld_consents
from reconciler.errors import (
    AnswerLost,
    CallError,
    ReconcilerError,
    Refused,
)
from reconciler.ports import Answer, Shown

ROUNDS = 5  # observations after a refusal or a lost answer, before a person has to act
OTHER_CUSTOMER = "the response to a write is about another customer"
OWN_GUARDS = frozenset({"relink", "merge", "release"})  # never done in the place of another kind: no plan has shown it
WORLD_MOVED = frozenset({"TAKEN", "NOT_FOUND", "STALE_OBJECT", "CAPABILITY_VIOLATION"})


def execute(step: Step, context: StoreContext, *, failed: ReconcilerError | None = None) -> Outcome:
    """Send the action, and observe again where the answer was lost or Shopify's state is another: a bounded loop.

    `failed`: the action was sent already in another way, and this is what became of it.
    """
    try:
        return _execute(step, context, failed)
    except CallError as error:
        return failure(step.action, error)


def _execute(step: Step, context: StoreContext, failed: ReconcilerError | None) -> Outcome:
    planned = step.action
    freed = chains.freed_keys(step.decision)
    known = {(h.reason, h.field) for h in step.decision.holds}
    held = step.decision.holds
    message, wrote = "", False
    for turn in range(ROUNDS):
        met = _attempt(step, context, failed if turn == 0 else None)
        message = met.message if met is not None else message
        if met is None and step.action.kind != "merge":
            return Outcome(planned, "applied", message, freed=freed, holds=_new(step, known))
        if isinstance(met, Refused) and not _remember_refusals(met, step, context, again=turn > 0):
            return Outcome(planned, "failed", message, met.hint, error=met)
        wrote = wrote or bool(step.written)
        before, step = step, observe_users([planned.clerk_user_id], context, explicit=False)[0]
        step = replace(step, decision=without_withheld_consents(step.decision, planned, held))
        if isinstance(met, AnswerLost):
            step = _observe_after_loss(before, step, context)
        if step.decision.action is None:
            record_decision(step, context)
            if isinstance(met, Overtaken) and planned.kind == "release":
                successor = step.decision.successor
                return Outcome(planned, "refused", message, met.hint, error=met, successor=successor)
            return _outcome_of_end(
                Outcome(planned, "applied", message, freed=freed, holds=_new(step, known)), wrote=wrote
            )
        if step.action.kind in OWN_GUARDS and step.action.kind != planned.kind:
            message = f"the world has moved: {step.action.kind} is due now, which this plan does not show"
            return Outcome(planned, "refused", message, f"the next plan shows the {step.action.kind}")
    return Outcome(planned, "failed", f"given up after {ROUNDS} attempts: {message}")


def _outcome_of_end(outcome: Outcome, *, wrote: bool) -> Outcome:
    """The outcome where nothing is left to do: a failure where all of it is held, and nothing was written."""
    if not outcome.holds or wrote or outcome.action.kind == "merge":
        return outcome
    reasons = ", ".join(sorted({h.reason for h in outcome.holds}))
    return Outcome(outcome.action, "failed", f"{reasons}: {outcome.message}")


def _observe_after_loss(lost: Step, step: Step, context: StoreContext) -> Step:
    """The step after a lost answer, with what of it was ours; observed once more if the row changed since the lost write."""
    found = claim_written(lost, step, context)
    if found is step or not has_moved(lost.action, step.subject, context.store):
        return found
    return observe_users([step.subject.user], context, explicit=False)[0]


def _new(step: Step, known: Collection[tuple[str, str | None]]) -> tuple[Hold, ...]:
    """What is held now and was not when the action was planned."""
    return tuple(h for h in step.decision.holds if (h.reason, h.field) not in known)


def _attempt(
    step: Step, context: StoreContext, failed: ReconcilerError | None
) -> Overtaken | AnswerLost | Refused | None:
    """Send the action; what it met that observing again may resolve, or None where it was done."""
    try:
        if failed is not None:
            raise failed
        _send_all(step, context)
    except (Overtaken, AnswerLost, Refused) as error:
        return error
    return None


def _remember_refusals(refused: Refused, step: Step, context: StoreContext, *, again: bool) -> bool:
    """Whether observing again can help: Shopify's state moved, or what was refused can be left out from now on.

    A refusal that names no field of the action is one of the whole action.
    """
    changes = {c.field: c for c in (*step.action.changes, *_decided(step))}
    lost: dict[str, RefusedValue] = {}
    moved = False
    for refusal in refused.refusals:
        names = _fields_of(refusal.field, changes)
        if refusal.code in WORLD_MOVED and not again:
            moved = True
            continue
        for name in names or [whole_key(step.action)]:
            known = (
                refused_value_digest(changes[name], context.store)
                if names
                else whole_digest(step.action, step.decision, context.store)
            )
            profile = step.action.profile_digest if refusal.code == "TAKEN" else ""  # the shop moves, not the value
            lost[name] = RefusedValue(
                digest=known, code=refusal.code, message=refusal.message, asked=context.explicit, profile=profile
            )
    if lost:
        now = context.clock.now()
        current = context.readers.mappings.get(context.store.shop, [step.subject.user]).get(step.subject.user)
        context.state.put(with_refused(current or new_row(step.subject.user, context.store, now=now), lost))
    return moved or bool(lost)


def _decided(step: Step) -> tuple[Change, ...]:
    """The changes as they were decided: a consent without the time that it was sent with, as the next decision has it."""
    return step.decision.action.changes if step.decision.action is not None else ()


def _fields_of(name: str | None, changes: dict[str, Change]) -> list[str]:
    if name in changes:
        return [name]
    return [f for f in changes if name == "metafields" and f.startswith("metafields.")]


def send(write: Write, context: StoreContext) -> Answer:
    """Send one write, unless the claim that this context works under is lost: LeaseLost.

    Shopify knows nothing of our leases: a write that left before the takeover may still arrive. It is harmless, since
    every write may be sent twice, and the new holder observes before it acts.
    """
    if context.fence is not None:
        context.fence.check_claim(context.store.shop)
    return context.writer.send(write)


def writes_left(step: Step, context: StoreContext) -> list[PlannedWrite]:
    """All writes of a step's action."""
    is_assigned = step.action.clerk_user_id in context.readers.assigned
    return writes_of(step.action, context.store, step.decision.customer, step.subject.mapping, is_assigned=is_assigned)


def _send_all(step: Step, context: StoreContext) -> None:
    """Send all writes of one action, the intent recorded first. Raises what a write raises; what was done is recorded.

    Overtaken where another user or process came first to the customer: nothing was sent.
    """
    action = step.action = with_times(step.action, step.decision, step.seen_at)
    step.at = step.at or action.from_customer_id or action.customer_id
    if action.former_user is not None:
        end_former(action.former_user, context.store.shop, context.state, context.readers.mappings, context.clock)
    if action.kind == "release":
        _declare_release(step, context)
    elif action.changes or action.kind in {"relink", "merge"}:
        declare(step, context, intent_of(action, step.subject.parked_values))
    writes = writes_left(step, context)
    for position, planned in enumerate(writes):
        if step.puts_off and planned.may_join:
            step.rest = planned
            return
        answer = send(with_customer(planned.write, step.at), context)
        if isinstance(planned.write, Create):
            check_answer(step, planned, answer.customer, answer.shown)
            made = [answer.customer] if answer.customer is not None else []
            check_owner(step, answer.customer, context.readers.mappings.owners(context.store.shop, made))
        note_answer(step, planned, answer.customer, next(iter(answer.shown.values()), {}))
        step.written.extend(planned.covers)
        last = position == len(writes) - 1
        _record(step, context, planned.records or planned.covers, finished=last and action.kind != "merge")
    if not writes:
        _record(step, context, (), finished=True)


def with_customer(write: Write, customer: CustomerId | None) -> Write:
    """The write on this customer, where it follows the create that made it."""
    match write:
        case SetMetafields(values) if customer is not None and CREATED in values:
            return SetMetafields({customer: values[CREATED]})
        case SetConsent(at, channel, consent) if customer is not None and at == CREATED:
            return SetConsent(customer, channel, consent)
        case DeleteMetafields(at, names) if customer is not None and at == CREATED:
            return DeleteMetafields(customer, names)
        case _:
            return write


def check_answer(
    step: Step, planned: PlannedWrite, customer: CustomerId | None, shown: MappingOf[CustomerId, Shown]
) -> None:
    """AnswerLost if the answer is about another customer than the write.

    Otherwise the next write would change the customer of somebody else. A new customer is known by the email that was sent.
    """
    if step.at is None:
        email = next((text_of(change.after) for change in planned.covers if change.field == "email"), None)
        seen = shown.get(customer, {}) if customer is not None else {}
        shows = text_of(seen.get("email"))
        is_other = email is not None and shows is not None and not is_same_email(shows, email)
    else:
        named = {*shown, *([customer] if customer is not None else [])}
        is_other = bool(named) and step.at not in named
    if is_other:
        raise AnswerLost(OTHER_CUSTOMER)


def check_owner(step: Step, customer: CustomerId | None, owners: MappingOf[CustomerId, ClerkUserId]) -> None:
    """AnswerLost if the customer that a create returned is that of another user by our state."""
    user = step.subject.user
    if customer is not None and owners.get(customer, user) != user:
        raise AnswerLost(OTHER_CUSTOMER)


def note_answer(step: Step, planned: PlannedWrite, customer: CustomerId | None, shown: Shown) -> None:
    """Note where the user is after the write, on the `customer` that its answer names, and what `shown` says of it."""
    written = {change.field for change in planned.covers}
    step.shown.update({name: value for name, value in shown.items() if name in written})
    step.at = planned.moves_to or customer or step.at


def record_joint(step: Step, context: StoreContext, planned: PlannedWrite, shown: Shown) -> None:
    """Record the last write of an action, which was sent together with those of others; `shown`: this user's part."""
    note_answer(step, planned, None, shown)
    step.written.extend(planned.covers)
    _record(step, context, planned.covers, finished=True)


def claim_written(lost: Step, step: Step, context: StoreContext) -> Step:
    """Record as ours what is there of a write with a lost answer, by the observation that followed.

    Otherwise it would not be known later what we set, and might clear or revert. Where the row changed since, what was
    decided rests on an agreement that has just become another: it is to be decided again.
    """
    customer = step.decision.customer
    if customer is None or lost.action.kind not in {"create", "update", "adopt"}:
        return step
    sent = [c for c in lost.action.changes if c not in lost.written]
    there = in_place(sent, customer, step.decision.spec)
    if not there:
        return step
    moved = has_moved(lost.action, step.subject, context.store)
    spec = step.decision.spec
    spec = as_written(spec, there) if moved and spec is not None else spec
    decision = replace(step.decision, customer=as_before(customer, there), spec=spec)
    told = Step(lost.action, step.subject, decision, written=list(there), at=customer.id)
    told.shown = {c.field: list(customer.tags) for c in there if c.field == "tags"}  # with those of another process
    row, events = row_after(told, context, there, finished=step.decision.action is None and not moved)
    if moved:
        row = replace(row, profile_digest=lost.action.profile_digest)
    context.state.put(row, *events)
    lost.written.extend(there)
    subject = replace(step.subject, mapping=row, stored=None)
    return Step(step.action, subject, step.decision, step.blocked, seen_at=step.seen_at)


def has_moved(action: Action, subject: Subject, store: Store) -> bool:
    """Whether the row is no longer what the action rests on."""
    return used_digest(subject.profile, store) != action.profile_digest


def declare(step: Step, context: StoreContext, intent: Intent) -> None:
    """Record what is about to be done in several writes."""
    step.intent = intent
    subject = step.subject
    found = events_found(subject, context.store, context.clock.now()) if subject.stored is not None else ()
    context.state.put(intent_row(step, context), *found)


def _declare_release(step: Step, context: StoreContext) -> None:
    """Record that the user is about to be released; what can't be undone is not begun where there is a successor."""
    customer = step.decision.customer
    step.intent = intent_of(step.action, step.subject.parked_values)
    begin_release(intent_row(step, context), step.subject.read, context.readers.mappings, context.state)
    if step.action.how in DESTRUCTIVE and customer is not None:
        departures = Departures(context.store, context.readers, context.clock.now())
        context.successors.refuse_succeeded(step.subject, customer, departures)


def intent_row(step: Step, context: StoreContext) -> Mapping:
    """The row with what is about to be done, on which customer, and which values the user waits for."""
    decision = step.decision
    row = with_intent(step.subject.mapping, decision, context.store, step.intent, now=context.clock.now())
    known = decision.customer is not None and step.action.kind not in {"create", "adopt"}
    customer = row.customer_id or (decision.customer.id if decision.customer is not None and known else None)
    return replace(row, customer_id=customer, **waits_of(decision))


def row_after(
    step: Step,
    context: StoreContext,
    told: tuple[Change, ...],
    *,
    finished: bool,
    healed: tuple[Change, ...] | None = None,
) -> tuple[Mapping, list[Event]]:
    """The row after a write, and the events of it. What is still missing of a new customer is no change of the config.

    `healed`: as in `row_after_write`, where the subject's row was written since the action began.
    """
    assert step.at is not None
    unfinished = Intent(kind="create") if step.action.kind == "create" else None
    row = row_after_write(
        step.subject.mapping,
        step.decision,
        step.subject.profile,
        context.store,
        customer_id=step.at,
        written=tuple(step.written),
        finished=finished,
        now=context.clock.now(),
        intent=step.intent or unfinished,
        shown=step.shown,
        healed=healed,
    )
    return row, [event_of(step, context, step.at, step.action.kind, told)] if told or finished else []


def _record(step: Step, context: StoreContext, told: tuple[Change, ...], *, finished: bool) -> None:
    row, events = row_after(step, context, told, finished=finished)
    context.state.put(row, *events)


def event_of(step: Step, context: StoreContext, customer: CustomerId, kind: str, told: tuple[Change, ...]) -> Event:
    return Event(
        at=context.clock.now(),
        store=context.store.name,
        shop=context.store.shop,
        clerk_user_id=step.subject.user,
        customer_id=customer,
        kind=kind,
        changes=told,
        plan_digest=context.plan_digest,
        run_id=context.run_id,
    )
