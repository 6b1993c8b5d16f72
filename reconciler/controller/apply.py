"""Carry out a plan: each action is checked against the world, carried out, and written down before the next.

Everything may be done twice and the process may die between any two lines: a create is sent by back-link, an adoption
writes the back-link first, steps that must not be taken for an edit declare themselves, and the next look goes on from
whatever is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

from reconciler.controller.act import Step, park, perform, unpark
from reconciler.controller.hands import Hands
from reconciler.controller.observe import claims_on
from reconciler.controller.sweep import Ask, Swept, decided, named
from reconciler.core import chains
from reconciler.core.desired import is_wanted, profile_digest, spec_of
from reconciler.core.ids import ClerkUserId
from reconciler.core.mapping import RefusedValue
from reconciler.core.plan import Action, Change, Hold
from reconciler.core.record import after_look, new_row, with_refused
from reconciler.core.refused import refusal_digest
from reconciler.core.view import Decision
from reconciler.errors import AccessError, AnswerLost, PermanentError, ReconcilerError, Refused, TemporaryError
from reconciler.ports import StoreFacts

BATCH = 100
ROUNDS = 5  # fresh looks after a refusal or a lost answer, before a person is told
RECORDS = 500
UNSEEN_FOR = timedelta(minutes=2)  # so long nobody else is expected to have made a customer that the plan creates
WORLD_MOVED = frozenset({"TAKEN", "NOT_FOUND", "STALE_OBJECT", "CAPABILITY_VIOLATION"})

T = TypeVar("T")
Result = Literal["applied", "refused", "failed", "not tried"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action. `refused`: the world had moved since the plan; `message` says how.

    `freed`: the address (email_key form) that it gave up, which somebody may wait for. `error` is what ended it.
    """

    action: Action
    result: Result
    message: str = ""
    hint: str = ""
    freed: str | None = None
    error: ReconcilerError | None = None


def applied(swept: Swept, hands: Hands, *, fresh: bool) -> Iterator[Outcome]:
    """Carry out a store's plan; outcomes come as they are known.

    With `fresh` the plan was made just now, and creates are sent without another look at the shop as long as it is
    young: their key makes that harmless. Otherwise each action is checked against row and customer first. Who waits
    for another's address goes in a later round. A store whose access is refused stops there: the rest is reported as
    not tried.
    """
    _record(swept, hands)
    run = _Run(hands, swept, fresh=fresh)
    actions = {a.clerk_user_id: a for a in swept.plan.actions}
    rounds = chains.waves(actions)
    with ThreadPoolExecutor(hands.workers, thread_name_prefix=f"apply-{hands.store.name}") as pool:
        run.park([a for a in swept.plan.actions if a.park])
        for number in range(max(rounds.values(), default=-1) + 1):
            due = [a for a in swept.plan.actions if rounds[a.clerk_user_id] == number]
            for batch in batches(due, BATCH):
                yield from run.batch(batch, pool)
        run.unpark()


class _Run:
    """One plan being carried out in one store: what stopped it, and who gave up her address for a moment."""

    def __init__(self, hands: Hands, swept: Swept, *, fresh: bool) -> None:
        self._hands = hands
        self._unseen_until = hands.clock.now() + UNSEEN_FOR if fresh else None
        self._holds: defaultdict[ClerkUserId, tuple[Hold, ...]] = defaultdict(tuple)
        for hold in swept.plan.holds:
            self._holds[hold.clerk_user_id] += (hold,)
        self._stopped: AccessError | None = None
        self._parked: dict[ClerkUserId, str] = {}

    def batch(self, batch: Sequence[Action], pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        steps: Sequence[Step | Outcome] = ()
        if self._stopped is None:
            try:
                steps = self._rechecked(batch)
            except AccessError as error:
                self._stopped = error
            except TemporaryError as error:
                yield from (Outcome(a, "failed", error.message, error.hint, error=error) for a in batch)
                return
        if self._stopped is not None:
            yield from (_not_tried(a, self._stopped) for a in batch)
            return
        yield from (s for s in steps if isinstance(s, Outcome))
        for outcome in pool.map(self._carried, [s for s in steps if isinstance(s, Step)]):
            if outcome.result == "applied":
                self._parked.pop(outcome.action.clerk_user_id, None)
            yield outcome

    def _carried(self, step: Step) -> Outcome:
        """One action, if no other has found the store closed meanwhile."""
        if self._stopped is not None:
            return _not_tried(step.action, self._stopped)
        outcome = carried(step, self._hands)
        if isinstance(outcome.error, AccessError):
            self._stopped = self._stopped or outcome.error
        return outcome

    def park(self, actions: Sequence[Action]) -> None:
        """Break the circles: one in each gives up her address, if nothing has moved since the plan was made.

        Where that fails, whoever waits for her is refused by name at her turn, and the next look finds what became of it.
        """
        for action in actions:
            with self._forgiving():
                step = looked([action.clerk_user_id], self._hands, explicit=False)[0]
                customer = step.decision.customer
                same_row = profile_digest(step.subject.profile) == action.profile_digest
                if customer is None or customer.email is None:
                    continue
                if same_row and step.decision.blocked_by == action.waits_for:
                    self._parked[action.clerk_user_id] = customer.email
                    park(step, self._hands)

    def unpark(self) -> None:
        """Whoever gave up her address and got no other has her own again; if not here, then by the next look."""
        for user, email in self._parked.items():
            with self._forgiving():
                step = looked([user], self._hands, explicit=False)[0]
                customer = step.decision.customer
                if customer is not None and customer.email is None:
                    unpark(step, self._hands, email)

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except AccessError as error:
            self._stopped = self._stopped or error
        except (TemporaryError, PermanentError) as error:
            self._hands.warn(f"{self._hands.store.name}: an address could not be parked: {error.message}")

    def _rechecked(self, batch: Sequence[Action]) -> list[Step | Outcome]:
        """Each action with what it rests on now, or why it does not fit any more."""
        young = self._unseen_until is not None and self._hands.clock.now() < self._unseen_until
        planned = {a.clerk_user_id: a for a in batch if not (young and a.kind == "create")}
        unseen = [a for a in batch if a.clerk_user_id not in planned]
        ready: list[Step | Outcome] = _creates(unseen, self._hands, self._holds)
        for step in looked(list(planned), self._hands, explicit=self._hands.explicit) if planned else []:
            action = planned[step.subject.user]
            if _is_same(action, step.decision.action, parked=step.subject.user in self._parked):
                ready.append(step)
            else:
                ready.append(Outcome(action, "refused", _moved_because(action, step.decision)))
        return ready


def _not_tried(action: Action, stopped: AccessError) -> Outcome:
    return Outcome(action, "not tried", stopped.message, stopped.hint, error=stopped)


def looked(users: Sequence[ClerkUserId], hands: Hands, *, explicit: bool) -> list[Step]:
    """A fresh look at these users, one step each; one without an action carries an empty update."""
    readers, store = hands.readers, hands.store
    subjects = named(users, store, readers)
    claims = claims_on(subjects, readers.profiles, store)
    ask = Ask(now=hands.clock.now(), users=users, explicit=explicit)
    return [
        Step(decision.action or _nothing(subject.user), subject, decision, if_free)
        for subject, decision, if_free in decided(subjects, store, readers, claims, ask)
    ]


def carried(step: Step, hands: Hands) -> Outcome:
    """The bounded loop of act, and look again where the answer was lost or Shopify says that the world is another."""
    try:
        return _carried(step, hands)
    except (TemporaryError, PermanentError, AccessError) as error:
        return Outcome(step.action, "failed", error.message, error.hint, error=error)


def _carried(step: Step, hands: Hands) -> Outcome:
    planned = step.action
    freed = chains.gives_up(step.decision)
    message = ""
    for turn in range(ROUNDS):
        try:
            perform(step, hands)
        except AnswerLost as lost:
            message = lost.message
        except Refused as refused:
            message = refused.message
            if not _learned(refused, step, hands, again=turn > 0):
                return Outcome(planned, "failed", message, refused.hint, error=refused)
        else:
            if step.action.kind != "merge":
                return Outcome(planned, "applied", message, freed=freed)
        step = looked([planned.clerk_user_id], hands, explicit=False)[0]
        if step.decision.action is None:
            write_down(step, hands)
            held = ", ".join(sorted({h.reason for h in step.decision.holds}))
            if held and planned.kind != "merge":
                return Outcome(planned, "failed", f"{held}: {message}")
            return Outcome(planned, "applied", message, freed=freed)
    return Outcome(planned, "failed", f"given up after {ROUNDS} looks: {message}")


def write_down(step: Step, hands: Hands) -> None:
    """What a look taught that led to no write."""
    subject = step.subject
    row = after_look(subject.mapping, step.decision, subject.profile, hands.store, now=hands.clock.now())
    if row is not None:
        hands.state.put(row)


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, `size` at a time."""
    return (items[i : i + size] for i in range(0, len(items), size))


def _record(swept: Swept, hands: Hands) -> None:
    """What the look alone has taught: followed back-links, holds, what is in sync."""
    for rows in batches(swept.rows, RECORDS):
        hands.state.put_many(rows)
    if swept.whole and swept.plan.error is None:
        now = hands.clock.now()
        facts = StoreFacts(hands.store.name, hands.store.shop, profiles=swept.profiles, last_sweep_at=now)
        hands.state.put_facts(facts)


def _nothing(user: ClerkUserId) -> Action:
    return Action(kind="update", clerk_user_id=user, customer_id=None, changes=(), cost_points=0)


def _creates(
    batch: Sequence[Action], hands: Hands, holds: MappingOf[ClerkUserId, tuple[Hold, ...]]
) -> list[Step | Outcome]:
    if not batch:
        return []
    subjects = {s.user: s for s in named([a.clerk_user_id for a in batch], hands.store, hands.readers)}
    ready: list[Step | Outcome] = []
    for action in batch:
        subject = subjects[action.clerk_user_id]
        if subject.profile is None or profile_digest(subject.profile) != action.profile_digest:
            ready.append(Outcome(action, "refused", "the profile has changed since the plan was made"))
        elif not is_wanted(subject.profile, hands.store):
            ready.append(Outcome(action, "refused", "the store does not want her any more"))
        else:
            spec = spec_of(subject.profile, hands.store)
            held = holds.get(subject.user, ())
            decision = Decision(clerk_user_id=subject.user, action=action, holds=held, spec=spec)
            ready.append(Step(action, subject, decision))
    return ready


def _is_same(planned: Action, now: Action | None, *, parked: bool) -> bool:
    """Whether what is due now is what was planned; whoever was parked has another customer than the plan saw."""
    if now is None:
        return False
    aside: dict[str, object] = {"waits_for": None, "park": False, "cost_points": 0}
    if parked:
        aside |= {"customer_digest": "", "changes": ()}
        if _ends(planned) != _ends(now):
            return False
    return planned.model_copy(update=aside) == now.model_copy(update=aside)


def _ends(action: Action) -> dict[str, object]:
    return {c.field: c.after for c in action.changes}


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


def _learned(refused: Refused, step: Step, hands: Hands, *, again: bool) -> bool:
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
        hands.state.put(with_refused(current or new_row(step.subject.user, hands.store, now=now), lost))
    return moved or bool(lost)


def _fields_of(name: str | None, changes: dict[str, Change]) -> list[str]:
    if name in changes:
        return [name]
    return [f for f in changes if name == "metafields" and f.startswith("metafields.")]


__all__ = ["Hands", "Outcome", "Step", "applied", "batches", "carried", "looked", "write_down"]
