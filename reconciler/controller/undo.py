"""Take back what was written: plans the way back from the events, and carries it out through the same guards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.controller.act import Step, put_back
from reconciler.controller.apply import Outcome
from reconciler.controller.hands import Hands
from reconciler.controller.sweep import Readers
from reconciler.core.batches import batches
from reconciler.core.customer import TRACE_KEY
from reconciler.core.desired import config_digest
from reconciler.core.event import Event
from reconciler.core.forecast import forecast
from reconciler.core.gather import Swept
from reconciler.core.guard import guarded
from reconciler.core.patch import customer_digest
from reconciler.core.plan import Action, StorePlan, sorted_actions, sorted_holds, summed
from reconciler.core.store import Store
from reconciler.core.undo import way_back
from reconciler.core.view import Decision, Subject
from reconciler.errors import AccessError, AnswerLost, PermanentError, ReconcilerError, TemporaryError

LOOK = 200


def undo_plan(store: Store, readers: Readers, events: Sequence[Event]) -> Swept:
    """The plan of the way back in one store; one that can't be looked at comes back with its error in place."""
    ids = sorted({e.customer_id for e in events if e.customer_id is not None})
    try:
        customers = {k: v for part in batches(ids, LOOK) for k, v in readers.customers.by_ids(part).items()}
        mappings = readers.mappings.get(store.shop, sorted({e.clerk_user_id for e in events}))
    except ReconcilerError as error:
        plan = StorePlan(store=store.name, shop=store.domain, error=error.message, error_hint=error.hint)
        return Swept(plan=plan, whole=False)
    trace = f"metafields.{store.backlink.namespace}.{TRACE_KEY}"
    actions, holds = way_back(events, customers, mappings, trace=trace)
    guard = guarded(sorted_actions(actions), store, mappings=readers.mappings.count(store.shop))
    all_holds = sorted_holds([*holds, *guard.holds])
    plan = StorePlan(
        store=store.name,
        shop=store.domain,
        summary=summed(guard.actions, all_holds, 0),
        actions=guard.actions,
        holds=all_holds,
        forecast=forecast(guard.actions, readers.customers.restore_rate()),
        config_digest=config_digest(store),
    )
    return Swept(plan=plan, withheld=guard.withheld, whole=False)


def undone(swept: Swept, hands: Hands) -> Iterator[Outcome]:
    """Carry the way back out, one by one: whoever gives a back-link or an address up goes before whoever gets it back."""
    stopped: AccessError | None = None
    for action in sorted(swept.plan.actions, key=_gives_up_first):
        if stopped is not None:
            yield Outcome(action, "not tried", stopped.message, stopped.hint, error=stopped)
            continue
        try:
            yield _taken_back(action, hands)
        except AccessError as error:
            stopped = error
            yield Outcome(action, "failed", error.message, error.hint, error=error)
        except (TemporaryError, PermanentError) as error:
            yield Outcome(action, "failed", error.message, error.hint, error=error)


def _gives_up_first(action: Action) -> tuple[int, str, str]:
    gets = any(c.field in {"backlink", "email"} and c.after is not None for c in action.changes)
    return (int(gets), action.clerk_user_id, action.customer_id or "")


def _taken_back(action: Action, hands: Hands) -> Outcome:
    """One action, if its customer is still as it was planned on; an answer that was lost is looked for once."""
    assert action.customer_id is not None
    message = ""
    for _ in range(2):
        customer = hands.readers.customers.by_ids([action.customer_id]).get(action.customer_id)
        if customer is None or customer_digest(customer) != action.customer_digest:
            if message:
                return Outcome(action, "failed", message, "look at it with `reconciler explain`, then undo again")
            return Outcome(action, "refused", "the customer has changed in Shopify since the plan was made")
        mapping = hands.readers.mappings.get(hands.store.shop, [action.clerk_user_id]).get(action.clerk_user_id)
        subject = Subject(action.clerk_user_id, None, mapping)
        step = Step(action, subject, Decision(clerk_user_id=action.clerk_user_id, customer=customer))
        try:
            put_back(step, hands)
        except AnswerLost as lost:
            message = lost.message
            continue
        return Outcome(action, "applied")
    return Outcome(action, "failed", message, "look at it with `reconciler explain`, then undo again")
