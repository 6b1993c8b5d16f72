"""Carry out actions: the only place that is handed a writer. Each mapping is written before the next action.

Everything may be done twice and the process may die between any two lines: a create is sent by back-link, an adoption
writes the back-link first, and the next look goes on from whatever is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar

from reconciler.controller.observe import Subject, claims_on, look
from reconciler.controller.sweep import Readers, Swept, named
from reconciler.core import normalise
from reconciler.core.decide import Decision, decide, refusal_digest
from reconciler.core.desired import SCALARS, is_wanted, profile_digest, spec_of
from reconciler.core.ids import ClerkUserId, CustomerId
from reconciler.core.mapping import Mapping, RefusedValue
from reconciler.core.plan import Action, Change
from reconciler.core.record import after_look, after_write, empty_row, with_refused
from reconciler.core.store import Store
from reconciler.errors import AccessError, AnswerLost, PermanentError, Refused, TemporaryError
from reconciler.ports import Clock, CustomerWriter, Event, MappingWriter, StoreFacts

BATCH = 100
ROUNDS = 5  # fresh looks after a refusal or a lost answer, before a person is told
RECORDS = 500
WORLD_MOVED = frozenset({"TAKEN", "NOT_FOUND", "STALE_OBJECT", "CAPABILITY_VIOLATION"})

T = TypeVar("T")
Result = Literal["applied", "refused", "failed", "not tried"]


@dataclass(frozen=True, slots=True)
class Hands:
    """All that the acting half needs in one store. `workers` are the calls that may be under way at once."""

    store: Store
    readers: Readers
    writer: CustomerWriter
    state: MappingWriter
    clock: Clock
    plan_digest: str = ""
    workers: int = 4
    explicit: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action. `refused`: the world had moved since the plan; `message` says how."""

    action: Action
    result: Result
    message: str = ""
    hint: str = ""


@dataclass(slots=True)
class _Step:
    """An action that still fits, with what it was decided on; `written` grows call by call."""

    action: Action
    subject: Subject
    decision: Decision
    written: list[Change] = field(default_factory=list)


def applied(swept: Swept, hands: Hands, *, fresh: bool) -> Iterator[Outcome]:
    """Carry out a store's plan; outcomes come as they are known.

    With `fresh` the plan was made just now, and creates are sent without another look at the shop: their key makes
    that harmless. Otherwise each action is checked against row and customer first. A store whose access is refused
    stops there: the rest is reported as not tried.
    """
    _record(swept, hands)
    stopped: AccessError | None = None
    with ThreadPoolExecutor(hands.workers, thread_name_prefix=f"apply-{hands.store.name}") as pool:
        for batch in _batches(swept.plan.actions, BATCH):
            if stopped is not None:
                yield from (Outcome(a, "not tried", stopped.message, stopped.hint) for a in batch)
                continue
            try:
                steps = _rechecked(batch, hands, fresh=fresh)
            except AccessError as error:
                stopped = error
                yield from (Outcome(a, "not tried", error.message, error.hint) for a in batch)
                continue
            yield from (s for s in steps if isinstance(s, Outcome))
            for outcome, refusal in pool.map(lambda s: _tried(s, hands), [s for s in steps if isinstance(s, _Step)]):
                stopped = stopped or refusal
                yield outcome


def reconciled(user: ClerkUserId, hands: Hands) -> Outcome | None:
    """Look at one user, decide, act and write down; None where nothing had to be done."""
    step = _looked([user], hands, explicit=hands.explicit)[0]
    if step.decision.action is None:
        _write_down(step, hands)
        return None
    return _carried(_Step(step.decision.action, step.subject, step.decision), hands)


def _record(swept: Swept, hands: Hands) -> None:
    """What the look alone has taught: followed back-links, holds, what is in sync."""
    for rows in _batches(swept.rows, RECORDS):
        hands.state.put_many(rows)
    if swept.whole and swept.plan.error is None:
        now = hands.clock.now()
        facts = StoreFacts(hands.store.name, hands.store.shop, profiles=swept.profiles, last_sweep_at=now)
        hands.state.put_facts(facts)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _looked(users: Sequence[ClerkUserId], hands: Hands, *, explicit: bool) -> list[_Step]:
    readers, store = hands.readers, hands.store
    subjects = named(users, store, readers)
    views = look(subjects, store, readers.customers, readers.mappings, claims_on(subjects, readers.profiles, store))
    steps = []
    for s in subjects:
        decision = decide(s.user, s.profile, s.mapping, views[s.user], store, explicit=explicit)
        steps.append(_Step(decision.action or _NOTHING, s, decision))
    return steps


_NOTHING = Action(kind="update", clerk_user_id=ClerkUserId(""), customer_id=None, changes=(), cost_points=0)


def _rechecked(batch: Sequence[Action], hands: Hands, *, fresh: bool) -> list[_Step | Outcome]:
    """Each action with what it rests on now, or why it does not fit any more."""
    sent_unseen = [a for a in batch if fresh and a.kind == "create"]
    seen = {a.clerk_user_id: a for a in batch if a not in sent_unseen}
    ready: list[_Step | Outcome] = _creates(sent_unseen, hands)
    if not seen:
        return ready
    for step in _looked(list(seen), hands, explicit=hands.explicit):
        planned = seen[step.subject.user]
        if step.decision.action == planned:
            ready.append(_Step(planned, step.subject, step.decision))
        else:
            ready.append(Outcome(planned, "refused", _moved_because(planned, step.decision)))
    return ready


def _creates(batch: Sequence[Action], hands: Hands) -> list[_Step | Outcome]:
    if not batch:
        return []
    subjects = {s.user: s for s in named([a.clerk_user_id for a in batch], hands.store, hands.readers)}
    ready: list[_Step | Outcome] = []
    for action in batch:
        subject = subjects[action.clerk_user_id]
        if subject.profile is None or profile_digest(subject.profile) != action.profile_digest:
            ready.append(Outcome(action, "refused", "the profile has changed since the plan was made"))
        elif not is_wanted(subject.profile, hands.store):
            ready.append(Outcome(action, "refused", "the store does not want her any more"))
        else:
            spec = spec_of(subject.profile, hands.store)
            decision = Decision(clerk_user_id=subject.user, action=action, spec=spec)
            ready.append(_Step(action, subject, decision))
    return ready


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


def _tried(step: _Step, hands: Hands) -> tuple[Outcome, AccessError | None]:
    try:
        return _carried(step, hands), None
    except AccessError as error:
        return Outcome(step.action, "failed", error.message, error.hint), error


def _carried(step: _Step, hands: Hands) -> Outcome:
    """The bounded loop of act, and look again where the answer was lost or Shopify says that the world is another."""
    planned = step.action
    message = ""
    for turn in range(ROUNDS):
        try:
            _perform(step, hands)
        except AnswerLost as lost:
            message = lost.message
        except Refused as refused:
            message = refused.message
            if not _learned(refused, step, hands, again=turn > 0):
                return Outcome(planned, "failed", message, refused.hint)
        except (TemporaryError, PermanentError) as error:
            return Outcome(planned, "failed", error.message, error.hint)
        else:
            return Outcome(planned, "applied", message)
        step = _looked([planned.clerk_user_id], hands, explicit=False)[0]
        if step.decision.action is None:
            _write_down(step, hands)
            held = ", ".join(sorted({h.reason for h in step.decision.holds}))
            return Outcome(planned, "failed" if held else "applied", f"{held}: {message}" if held else message)
    return Outcome(planned, "failed", f"given up after {ROUNDS} looks: {message}")


def _write_down(step: _Step, hands: Hands) -> None:
    subject = step.subject
    row = after_look(subject.mapping, step.decision, subject.profile, hands.store, now=hands.clock.now())
    if row is not None:
        hands.state.put(row)


def _learned(refused: Refused, step: _Step, hands: Hands, *, again: bool) -> bool:
    """Whether a fresh look can lead on: the world moved, or the refused fields can be left out from now on."""
    changes = {c.field: c for c in step.action.changes}
    lost: dict[str, RefusedValue] = {}
    moved = False
    for refusal in refused.refusals:
        names = _fields_of(refusal.field, changes)
        if refusal.code in WORLD_MOVED and refusal.field != "phone" and not again:
            moved = True
            continue
        for name in names:
            lost[name] = RefusedValue(digest=refusal_digest(changes[name]), code=refusal.code, message=refusal.message)
    if lost:
        now = hands.clock.now()
        current = hands.readers.mappings.get(hands.store.shop, [step.subject.user]).get(step.subject.user)
        hands.state.put(with_refused(current or empty_row(step.decision, hands.store, now=now), lost))
    return moved or bool(lost)


def _fields_of(name: str | None, changes: dict[str, Change]) -> list[str]:
    if name in changes:
        return [name]
    return [f for f in changes if name == "metafields" and f.startswith("metafields.")]


def _perform(step: _Step, hands: Hands) -> None:
    """All calls of one action, each written down as soon as it is done."""
    action = step.action
    calls = _calls(action, hands)
    customer = action.customer_id
    for position, (covered, call) in enumerate(calls):
        found = call(customer)
        customer = found or customer
        step.written.extend(covered)
        if customer is not None:
            _note(step, hands, customer, covered, finished=position == len(calls) - 1)
    if not calls and customer is not None:
        _note(step, hands, customer, (), finished=True)


Call = Callable[[CustomerId | None], CustomerId | None]


def _calls(action: Action, hands: Hands) -> list[tuple[tuple[Change, ...], Call]]:
    """The mutations of one action in order, each with the changes that it carries."""
    user, writer = action.clerk_user_id, hands.writer
    scalars = tuple(c for c in action.changes if c.field in SCALARS)
    tags = tuple(c for c in action.changes if c.field == "tags")
    link = tuple(c for c in action.changes if c.field == "backlink")
    sets = tuple(c for c in action.changes if c.field.startswith("metafields.") and c.after is not None)
    drops = tuple(c for c in action.changes if c.field.startswith("metafields.") and c.after is None)
    calls: list[tuple[tuple[Change, ...], Call]] = []
    if action.kind == "create":
        values: dict[str, Any] = {c.field: c.after for c in (*scalars, *tags)}
        calls.append(((*scalars, *tags, *link), lambda _: writer.create(user, values)))
    elif action.kind == "release" and action.how == "delete":
        calls.append((action.changes, _on(writer.delete)))
    elif action.kind == "release" and action.how == "erase":
        calls.append((action.changes, _on(writer.request_erasure)))
    else:
        if link:
            calls.append((link, _on(lambda c: writer.link(c, user))))
        if scalars:
            patch = {c.field: c.after for c in scalars}
            calls.append((scalars, _on(lambda c: writer.update(c, patch))))
        calls.extend(_tag_calls(tags, writer))
    if sets:
        rules = hands.store.metafields
        named_values = {
            name: (c.after, rules[name].type) for c in sets if (name := c.field.removeprefix("metafields."))
        }
        calls.append((sets, _on(lambda c: writer.set_metafields(c, named_values))))
    if drops:
        names = [c.field.removeprefix("metafields.") for c in drops]
        calls.append((drops, _on(lambda c: writer.delete_metafields(c, names))))
    return calls


def _tag_calls(tags: tuple[Change, ...], writer: CustomerWriter) -> list[tuple[tuple[Change, ...], Call]]:
    """Adding and taking off apart, so that nobody else's tags are touched; the change counts as done with the last."""
    calls: list[tuple[tuple[Change, ...], Call]] = []
    for change in tags:
        before, after = normalise.tag_keys(change.before), normalise.tag_keys(change.after)
        added = [t for t in change.after if t.casefold() not in before]
        removed = [t for t in change.before if t.casefold() not in after]
        if added:
            calls.append(((change,) if not removed else (), _on(partial(_add, writer, added))))
        if removed:
            calls.append(((change,), _on(partial(_remove, writer, removed))))
    return calls


def _add(writer: CustomerWriter, tags: list[str], customer: CustomerId) -> None:
    writer.add_tags(customer, tags)


def _remove(writer: CustomerWriter, tags: list[str], customer: CustomerId) -> None:
    writer.remove_tags(customer, tags)


def _on(call: Callable[[CustomerId], object]) -> Call:
    """A call on a customer that is known by then."""

    def made(customer: CustomerId | None) -> None:
        assert customer is not None
        call(customer)

    return made


def _note(step: _Step, hands: Hands, customer: CustomerId, covered: tuple[Change, ...], *, finished: bool) -> None:
    now = hands.clock.now()
    row: Mapping = after_write(
        step.subject.mapping,
        step.decision,
        step.subject.profile,
        hands.store,
        customer_id=customer,
        written=tuple(step.written),
        finished=finished,
        now=now,
    )
    event = Event(
        at=now,
        store=hands.store.name,
        shop=hands.store.shop,
        clerk_user_id=step.subject.user,
        customer_id=customer,
        kind=step.action.kind,
        changes=tuple(c.model_dump(mode="json") for c in covered),
        plan_digest=hands.plan_digest,
    )
    hands.state.put(row, *([event] if covered or finished else []))
