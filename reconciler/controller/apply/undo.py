"""Take back what was written: plans the way back from the events, and carries it out through the same guards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf

from reconciler.controller.context import StoreContext
from reconciler.controller.execute import event_of, send
from reconciler.controller.readers import Readers
from reconciler.controller.step import Outcome, Step, failure, not_tried
from reconciler.controller.wait_circles import park
from reconciler.controller.writes import undo_writes_of
from reconciler.core.decide.actions import customer_digest
from reconciler.core.decide.record import with_refused
from reconciler.core.decide.refused import refused_undo, undo_digest, undo_key
from reconciler.core.fields.desired import config_digest, used_digest
from reconciler.core.fields.diff import respelt_of
from reconciler.core.model.action import Action, sorted_actions, sorted_holds
from reconciler.core.model.batches import batches
from reconciler.core.model.customer import TRACE_KEY, Customer
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import RefusedValue
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision, Subject
from reconciler.core.plan import chains
from reconciler.core.plan.forecast import forecast
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.guard import apply_guards
from reconciler.core.plan.plan import StorePlan, summary_of
from reconciler.core.plan.undo import after_undo, plan_undo
from reconciler.errors import (
    AccessError,
    AnswerLost,
    CallError,
    ReconcilerError,
    Refused,
    SourceError,
)

BATCH = 200


def undo_plan(store: Store, readers: Readers, events: Sequence[Event], later: Sequence[Event] = ()) -> ScanResult:
    """The plan of the way back in one store; one that can't be read comes back with its error in place.

    `later`: the other events of these users since then, which stay.
    """
    ids = sorted({e.customer_id for e in events if e.customer_id is not None})
    try:
        customers = {k: v for part in batches(ids, BATCH) for k, v in readers.customers.by_ids(part).items()}
        mappings = readers.mappings.get(store.shop, sorted({e.clerk_user_id for e in events}))
    except ReconcilerError as error:
        plan = StorePlan(store=store.name, shop=store.domain, error=error.message, error_hint=error.hint)
        return ScanResult(plan=plan, whole=False)
    trace = f"metafields.{store.backlink.namespace}.{TRACE_KEY}"
    ways, holds = plan_undo(events, later, customers, mappings, trace=trace)
    refused = [refused_undo(action, mappings.get(action.clerk_user_id), store) for action in ways]
    actions = [action for action, held in zip(ways, refused, strict=True) if held is None]
    holds = (*holds, *(held for held in refused if held is not None))
    guard = apply_guards(sorted_actions(actions), store, mappings=readers.mappings.count(store.shop))
    all_holds = sorted_holds([*holds, *guard.holds])
    plan = StorePlan(
        store=store.name,
        shop=store.domain,
        summary=summary_of(guard.actions, all_holds, 0),
        actions=guard.actions,
        holds=all_holds,
        forecast=forecast(guard.actions, readers.customers.restore_rate()),
        config_digest=config_digest(store),
    )
    return ScanResult(plan=plan, withheld=guard.withheld, whole=False)


def apply_undo(scan_result: ScanResult, context: StoreContext) -> Iterator[Outcome]:
    """Apply the way back, one by one: a customer gives a back-link or an address up before another gets it back."""
    stopped: AccessError | None = None
    ordered = chains.in_executable_order(sorted(scan_result.plan.actions, key=_gives_up_first))
    parked = _park_cycles(ordered, context)
    for action in ordered:
        if stopped is not None:
            yield not_tried(action, stopped)
            continue
        try:
            yield _take_back(action, context, parked.get(action.clerk_user_id, {}))
        except CallError as error:
            stopped = error if isinstance(error, AccessError) else None
            yield failure(action, error)


def _gives_up_first(action: Action) -> tuple[int, str, str]:
    gets = any(c.field in {"backlink", "email"} and c.after is not None for c in action.changes)
    return (int(gets), action.clerk_user_id, action.customer_id or "")


def _park_cycles(actions: Sequence[Action], context: StoreContext) -> dict[ClerkUserId, dict[str, str]]:
    """Break the circles of emails and phones: some customers are without theirs for a moment. What was taken off, by user.

    Where that fails the actions are refused in turn, and the next reconcile gives the values back by the intent.
    """
    found: dict[ClerkUserId, dict[str, str]] = {}
    for action in (a for a in actions if a.park and a.customer_id is not None):
        try:
            step = _step(action, context)
            if step is not None and customer_digest(step.decision.customer) == action.customer_digest:
                customer = step.decision.customer
                park(step, context, action.park, kind="undo")
                shown = {f: getattr(customer, f) for f in action.park} if customer is not None else {}
                found[action.clerk_user_id] = {f: v for f, v in shown.items() if v is not None}
        except CallError as error:
            context.warn(f"{context.store.name}: an email or phone could not be parked: {error.message}")
    return found


def _step(action: Action, context: StoreContext) -> Step | None:
    """The action with the customer as it is now; None where that is gone."""
    assert action.customer_id is not None
    customer = context.readers.customers.by_ids([action.customer_id]).get(action.customer_id)
    if customer is None:
        return None
    mapping = context.readers.mappings.get(context.store.shop, [action.clerk_user_id]).get(action.clerk_user_id)
    subject = Subject(action.clerk_user_id, None, mapping)
    sent = respelt_of(mapping, customer)
    return Step(action, subject, Decision(clerk_user_id=action.clerk_user_id, customer=customer, sent=sent))


def _take_back(action: Action, context: StoreContext, parked: MappingOf[str, str]) -> Outcome:
    """One action, if its customer is still as it was planned on; after a lost answer it is observed once more."""
    message = ""
    for _ in range(2):
        step = _step(action, context)
        if step is None or customer_digest(_customer_before_parking(step, parked)) != action.customer_digest:
            if message:
                return Outcome(action, "failed", message, "look at it with `reconciler explain`, then undo again")
            return Outcome(action, "refused", "the customer has changed in Shopify since the plan was made")
        try:
            _send_all(step, context)
        except AnswerLost as lost:
            message = lost.message
            continue
        except Refused as refused:
            _remember(action, refused, context)
            raise
        return Outcome(action, "applied")
    return Outcome(action, "failed", message, "look at it with `reconciler explain`, then undo again")


def _send_all(step: Step, context: StoreContext) -> None:
    """Send all writes that take one action back, then record the row that says so: nothing of it is written again."""
    action, customer = step.action, step.action.customer_id
    assert customer is not None
    row_digest = _row_digest(step, context)
    for planned in undo_writes_of(action, context.store):
        send(planned.write, context)
    events = [event_of(step, context, customer, "undo", action.changes)]
    if step.subject.mapping is not None:
        context.state.put(
            after_undo(step.subject.mapping, action, row_digest=row_digest, now=context.clock.now()), *events
        )


def _row_digest(step: Step, context: StoreContext) -> str:
    """The digest of what the store uses of the profile row; of the row as it was last read, if it can't be read now."""
    user, mapping = step.subject.user, step.subject.mapping
    try:
        return used_digest(context.readers.profiles.get([user]).get(user), context.store)
    except SourceError:
        return mapping.profile_digest if mapping is not None else ""


def _remember(action: Action, refused: Refused, context: StoreContext) -> None:
    """Write down that Shopify refused to take this back, on the customer as it is now: part of it may have gone."""
    step = _step(action, context)
    if step is None or step.subject.mapping is None or action.customer_id is None:
        return
    row = step.subject.mapping
    seen = undo_digest(customer_digest(step.decision.customer), row.profile_digest, context.store)
    code = refused.refusals[0].code if refused.refusals else ""
    said = RefusedValue(digest=seen, code=code, message=refused.message, asked=True)
    context.state.put(with_refused(row, {undo_key(action.customer_id): said}))


def _customer_before_parking(step: Step, parked: MappingOf[str, str]) -> Customer | None:
    """The customer as it was before values of it were parked."""
    customer = step.decision.customer
    missing = {f: v for f, v in parked.items() if customer is not None and getattr(customer, f) is None}
    return customer.changed(missing) if customer is not None and missing else customer
