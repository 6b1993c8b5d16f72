"""The calls of one action, in order, each written down as soon as it is done. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.controller.context import StoreContext
from reconciler.controller.handover import Successors, begin_release, end_former
from reconciler.core.decide.record import after_write, waits_of, with_intent, with_refused
from reconciler.core.decide.refused import park_digest, park_key
from reconciler.core.decide.written import as_before, as_written, in_place, intent_of
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import SCALARS, profile_digest
from reconciler.core.fields.diff import owned_tags
from reconciler.core.model.action import Action, Change
from reconciler.core.model.customer import TRACE_KEY
from reconciler.core.model.event import Event
from reconciler.core.model.ids import CustomerId, Unique
from reconciler.core.model.mapping import PARK, Mapping, RefusedValue
from reconciler.core.model.store import DESTRUCTIVE, Store
from reconciler.core.model.view import Decision, Subject
from reconciler.core.plan.chains import Blocked
from reconciler.core.plan.undo import after_undo
from reconciler.errors import Refused
from reconciler.ports import Created, Shown

LINK_TYPE = "id"
TRACE_TYPE = "single_line_text_field"


@dataclass(slots=True)
class Step:
    """An action that fits the world, with what it was decided on; `written` grows call by call, and
    `shown` is what the answers show of it.

    `blocked`: what may be decided where other users have the new e-mail or phone. `at` is the customer that the calls are
    on; `intent` is kept in the row until the last call is done. `puts_off`: stop before a call that may be made together
    with those of others, and leave it in `rest`.
    """

    action: Action
    subject: Subject
    decision: Decision
    blocked: Blocked | None = None
    written: list[Change] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)
    at: CustomerId | None = None
    intent: MappingOf[str, Any] | None = None
    puts_off: bool = False
    rest: Call | None = None

    def __post_init__(self) -> None:
        self.at = self.action.from_customer_id or self.action.customer_id


@dataclass(frozen=True, slots=True)
class Call:
    """One mutation: what it changes (for the row), what to tell of it (for the event), and where the user is after it.

    `joint` are metafields to be set, where nothing follows: they may go in one call with those of other customers.
    """

    do: Callable[[], Shown | Created | CustomerId | None]
    covers: tuple[Change, ...] = ()
    tells: tuple[Change, ...] = ()
    moves_to: CustomerId | None = None
    joint: MappingOf[str, tuple[str, str]] | None = None


def perform(step: Step, context: StoreContext) -> None:
    """All calls of one action, the intent written down first. Raises what a call raises; what was done is written down.

    Overtaken where another user or process came first to the customer: nothing was sent.
    """
    action = step.action
    if action.former_user is not None:
        end_former(action.former_user, context.store.shop, context.state, context.readers.mappings, context.clock)
    if action.kind == "release":
        _declare_release(step, context)
    elif action.changes or action.kind in {"relink", "merge"}:
        declare(step, context, intent_of(action, step.subject.parked))
    calls = list(calls_of(step, context))
    for position, call in enumerate(calls):
        if step.puts_off and call.joint is not None:
            step.rest = call
            return
        answered(step, call, call.do())
        step.written.extend(call.covers)
        last = position == len(calls) - 1
        _note(step, context, call.tells or call.covers, finished=last and action.kind != "merge")
    if not calls:
        _note(step, context, (), finished=True)


def answered(step: Step, call: Call, answer: Shown | Created | CustomerId | None) -> None:
    """Where the user is after the call, and what its answer shows of what it wrote."""
    shown: Shown = answer.shown if isinstance(answer, Created) else answer if isinstance(answer, MappingOf) else {}
    written = {change.field for change in call.covers}
    step.shown.update({name: value for name, value in shown.items() if name in written})
    if isinstance(answer, Created):
        step.at = answer.customer
    elif isinstance(answer, str):
        step.at = answer
    step.at = call.moves_to or step.at


def put_down(step: Step, context: StoreContext, call: Call, shown: Shown) -> None:
    """The last call of an action was made together with those of others; `shown` is the answer's part of this one."""
    answered(step, call, shown)
    step.written.extend(call.covers)
    _note(step, context, call.covers, finished=True)


def claimed(lost: Step, step: Step, context: StoreContext) -> Step:
    """The answer to a write was lost, and this is the look that followed: what is there of it was ours, and is written down.

    Else nobody could tell later what we set, and might clear or take back. Where her row has moved since, what was
    decided rests on an agreement that has just become another: it is to be decided again.
    """
    customer = step.decision.customer
    if customer is None or lost.action.kind not in {"create", "update", "adopt"}:
        return step
    sent = [c for c in lost.action.changes if c not in lost.written]
    there = in_place(sent, customer, step.decision.spec)
    if not there:
        return step
    moved = has_moved(lost.action, step.subject)
    spec = step.decision.spec
    update = {
        "customer": as_before(customer, there),
        "spec": as_written(spec, there) if moved and spec is not None else spec,
    }
    told = Step(lost.action, step.subject, step.decision.model_copy(update=update), written=list(there))
    told.at = customer.id
    row, events = noted(told, context, there, finished=step.decision.action is None and not moved)
    if moved:
        row = row.model_copy(update={"profile_digest": lost.action.profile_digest})
    context.state.put(row, *events)
    lost.written.extend(there)
    return Step(step.action, replace(step.subject, mapping=row, stored=None), step.decision, step.blocked)


def has_moved(action: Action, subject: Subject) -> bool:
    """Whether her row is not the one any more that the action rests on."""
    return profile_digest(subject.profile) != action.profile_digest


def park(step: Step, context: StoreContext, fields: Collection[Unique], *, kind: str = PARK) -> dict[str, str]:
    """Take the values of these fields off for a moment, the intent written down first. What was taken off, as we sent it.

    `kind` is that of the event: an undo says so, and is not undone.
    """
    customer = step.decision.customer
    assert customer is not None
    taken: dict[str, str] = {field: value for field in fields if (value := step.decision.value(field)) is not None}
    if taken:
        declare(step, context, {"kind": PARK, "parked": {**step.subject.parked, **taken}})
        try:
            context.writer.update(customer.id, dict.fromkeys(taken))
        except Refused as refused:
            if kind == PARK:
                _remember_park(step, context, [field for field in fields if field in taken], refused)
            raise
        changes = tuple(Change(field=f, before=v, after=None, why="profile changed") for f, v in taken.items())
        context.state.put(_declared(step, context), _event(step, context, customer.id, kind, changes))
    return taken


def _remember_park(step: Step, context: StoreContext, fields: Collection[Unique], refused: Refused) -> None:
    """Write down that Shopify refused to take these values off, so that it is not asked again until something moves."""
    customer, mapping = step.decision.customer, step.subject.mapping
    assert customer is not None
    profile = profile_digest(step.subject.profile)
    said = {
        park_key(field): RefusedValue(
            digest=park_digest(field, customer, profile, context.store),
            code=refused.refusals[0].code if refused.refusals else "",
            message=refused.message,
            asked=context.explicit,
        )
        for field in fields
    }
    row = _declared(step, context).model_copy(update={"intent": mapping.intent if mapping is not None else None})
    context.state.put(with_refused(row, said))


def unpark(step: Step, context: StoreContext, values: MappingOf[str, str]) -> None:
    """Give parked values back."""
    customer = step.decision.customer
    assert customer is not None
    context.writer.update(customer.id, values)
    changes = tuple(Change(field=f, before=None, after=v, why="profile changed") for f, v in values.items())
    row = _declared(step, context).model_copy(update={"intent": None})
    context.state.put(row, _event(step, context, customer.id, PARK, changes))


def declare(step: Step, context: StoreContext, intent: MappingOf[str, Any]) -> None:
    """Write down what is about to be done in several steps."""
    step.intent = intent
    context.state.put(_declared(step, context))


def _declare_release(step: Step, context: StoreContext) -> None:
    """Write down that the user is about to be released; what can't be taken back is not begun where a successor is there."""
    customer = step.decision.customer
    step.intent = intent_of(step.action, step.subject.parked)
    begin_release(_declared(step, context), step.subject.read, context.readers.mappings, context.state)
    if step.action.how in DESTRUCTIVE and customer is not None:
        successors = context.successors or Successors(context.store, context.readers, context.clock)
        successors.refuse_succeeded(step.subject, customer)


def _declared(step: Step, context: StoreContext) -> Mapping:
    """The row with what is about to be done, on which customer, and for which values: who frees those wakes the user."""
    decision = step.decision
    row = with_intent(step.subject.mapping, decision, context.store, step.intent or {}, now=context.clock.now())
    known = decision.customer is not None and step.action.kind not in {"create", "adopt"}
    customer = row.customer_id or (decision.customer.id if decision.customer is not None and known else None)
    return row.model_copy(update={"customer_id": customer, **waits_of(decision)})


def calls_of(step: Step, context: StoreContext) -> Iterator[Call]:
    """The calls that carry this action out, in order; each is made where its `do` is called."""
    action, writer = step.action, context.writer
    match action.kind:
        case "create":
            yield from _create(step, context)
        case "release":
            yield from _release(action, context)
        case "merge":
            one, other = action.from_customer_id, action.customer_id
            assert one is not None
            assert other is not None
            told = Change(field="customer", before=one, after=other, why="profile changed")
            yield Call(lambda: writer.merge(one, other, keep_email_of=other), tells=(told,))
        case "relink":
            yield from _leave_old(step, context)
            yield from _patch(action, context)
        case "adopt" if action.clerk_user_id in context.readers.assigned:  # it may be one that a re-link left behind
            customer, trace = action.customer_id, _trace(context.store)
            assert customer is not None
            yield Call(lambda: writer.delete_metafields(customer, [trace]))
            yield from _patch(action, context)
        case _:
            yield from _patch(action, context)


def put_back(step: Step, context: StoreContext) -> None:
    """All calls that take one action back, then the row that says so: nothing of it is written again by itself."""
    action, writer, user = step.action, context.writer, step.action.clerk_user_id
    customer = action.customer_id
    assert customer is not None
    backlink = next((c for c in action.changes if c.field == "backlink"), None)
    scalars = {c.field: c.after for c in action.changes if c.field in SCALARS}
    if action.kind == "release":
        writer.delete(customer)
    if backlink is not None and backlink.after is None:
        writer.unlink(customer)
    elif backlink is not None:
        writer.link(customer, user)
    if scalars:
        writer.update(customer, scalars)
    for call in (*_tags(action.changes, context, customer), *_metafields(action.changes, context, lambda: customer)):
        call.do()
    events = [_event(step, context, customer, "undo", action.changes)]
    if step.subject.mapping is not None:
        context.state.put(after_undo(step.subject.mapping, action, now=context.clock.now()), *events)


def _create(step: Step, context: StoreContext) -> Iterator[Call]:
    user, changes = step.action.clerk_user_id, step.action.changes
    first = tuple(c for c in changes if not c.field.startswith("metafields."))
    values: dict[str, Any] = {c.field: c.after for c in first if c.field != "backlink"}
    yield Call(lambda: context.writer.create(user, values), first)
    yield from _metafields(changes, context, lambda: _known(step))


def _known(step: Step) -> CustomerId:
    assert step.at is not None
    return step.at


def _release(action: Action, context: StoreContext) -> Iterator[Call]:
    customer = action.customer_id
    assert customer is not None
    if action.how == "delete":
        yield Call(lambda: context.writer.delete(customer), action.changes)
    elif action.how == "erase":
        yield Call(lambda: context.writer.request_erasure(customer), action.changes)
    else:
        yield from _tags(action.changes, context, customer)


def _leave_old(step: Step, context: StoreContext) -> Iterator[Call]:
    """A customer that is left: back-link off, our tags off, and a trace that says where its user went."""
    old, new = step.decision.customer, step.action.customer_id
    assert old is not None
    assert new is not None
    store, writer, user = context.store, context.writer, step.action.clerk_user_id
    trace = _trace(store)
    if old.backlink is not None:
        told = Change(field="backlink", before=user, after=None, why="profile changed")
        yield Call(lambda: writer.unlink(old.id), tells=(told,))
    ours = {t.casefold() for t in owned_tags(step.subject.mapping)}
    stale = [t for t in old.tags if t.casefold() in ours]
    if stale:
        left = [t for t in old.tags if t not in stale]
        told = Change(field="tags", before=list(old.tags), after=left, why="profile changed")
        yield Call(lambda: writer.remove_tags(old.id, stale), tells=(told,))
    told = Change(field=f"metafields.{trace}", before=None, after=new, why="profile changed")
    yield Call(lambda: writer.set_metafields(old.id, {trace: (new, TRACE_TYPE)}), tells=(told,))
    yield Call(lambda: writer.delete_metafields(new, [trace]))


def _trace(store: Store) -> str:
    """The metafield that says where the user of a customer went."""
    return f"{store.backlink.namespace}.{TRACE_KEY}"


def _patch(action: Action, context: StoreContext) -> Iterator[Call]:
    """Back-link first: it is what makes the customer hers; then the rest, each kind in one call."""
    customer, writer, user = action.customer_id, context.writer, action.clerk_user_id
    assert customer is not None
    link = tuple(c for c in action.changes if c.field == "backlink")
    scalars = tuple(c for c in action.changes if c.field in SCALARS)
    former = next((c.before for c in link), None)
    if former is not None:  # it is written only where there is none
        told = Change(field="backlink", before=former, after=None, why="profile changed")
        yield Call(lambda: writer.unlink(customer), tells=(told,))
    if link:
        yield Call(lambda: writer.link(customer, user), link, moves_to=customer)
    if scalars:
        patch = {c.field: c.after for c in scalars}
        yield Call(lambda: writer.update(customer, patch), scalars)
    yield from _tags(action.changes, context, customer)
    yield from _metafields(action.changes, context, lambda: customer)


def _tags(changes: tuple[Change, ...], context: StoreContext, customer: CustomerId) -> Iterator[Call]:
    """Taking off and adding apart, so that no other tags are touched; the change counts as done with the last.

    Taking off comes first: a customer has 250 tags at most, and what fits in the end may not fit in between.
    """
    change = next((c for c in changes if c.field == "tags"), None)
    if change is None:
        return
    before, after = normalise.tag_keys(change.before), normalise.tag_keys(change.after)
    added = [t for t in change.after if t.casefold() not in before]
    removed = [t for t in change.before if t.casefold() not in after]
    if removed:
        yield Call(_removing(context, customer, removed), () if added else (change,))
    if added:
        yield Call(lambda: context.writer.add_tags(customer, added), (change,))


def _removing(context: StoreContext, customer: CustomerId, tags: list[str]) -> Callable[[], None]:
    return lambda: context.writer.remove_tags(customer, tags)


def _metafields(changes: tuple[Change, ...], context: StoreContext, at: Callable[[], CustomerId]) -> Iterator[Call]:
    found = tuple(c for c in changes if c.field.startswith("metafields."))
    sets = tuple(c for c in found if c.after is not None)
    drops = tuple(c for c in found if c.after is None)
    rules = context.store.metafields
    if sets:
        values = {_name(c): (c.after, rules[_name(c)].type if _name(c) in rules else _own_type(_name(c))) for c in sets}
        yield Call(lambda: context.writer.set_metafields(at(), values), sets, joint=None if drops else values)
    if drops:
        names = [_name(c) for c in drops]
        yield Call(lambda: context.writer.delete_metafields(at(), names), drops)


def _own_type(name: str) -> str:
    """The type of a metafield that no rule of the store names: the trace, or a back-link that an undo puts back."""
    return TRACE_TYPE if name.endswith(f".{TRACE_KEY}") else LINK_TYPE


def _name(change: Change) -> str:
    return change.field.removeprefix("metafields.")


def noted(
    step: Step,
    context: StoreContext,
    told: tuple[Change, ...],
    *,
    finished: bool,
    healed: tuple[Change, ...] | None = None,
) -> tuple[Mapping, list[Event]]:
    """The row after a call, and what to tell of it. What is still missing of a new customer is no change of the config.

    `healed`: as in `after_write`, where the subject's row was written since the action began.
    """
    assert step.at is not None
    unfinished = {"kind": "create"} if step.action.kind == "create" else None
    row = after_write(
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
    return row, [_event(step, context, step.at, step.action.kind, told)] if told or finished else []


def _note(step: Step, context: StoreContext, told: tuple[Change, ...], *, finished: bool) -> None:
    row, events = noted(step, context, told, finished=finished)
    context.state.put(row, *events)


def _event(step: Step, context: StoreContext, customer: CustomerId, kind: str, told: tuple[Change, ...]) -> Event:
    return Event(
        at=context.clock.now(),
        store=context.store.name,
        shop=context.store.shop,
        clerk_user_id=step.subject.user,
        customer_id=customer,
        kind=kind,
        changes=tuple(c.model_dump(mode="json") for c in told),
        plan_digest=context.plan_digest,
    )
