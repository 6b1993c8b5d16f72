"""Who waits for what another user has: circles of such users, and the values that are parked so that a circle ends.

Each row says which customers have what its user waits for. So the last of a circle's users who is reconciled finds it, of
any length, by a few reads of the state. Only where it closes are its users observed together. Parked values are taken off a
customer for a moment.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from dataclasses import field, replace

from reconciler.controller.context import StoreContext
from reconciler.controller.execute import declare, event_of, intent_row, send
from reconciler.controller.observe import observe_users
from reconciler.controller.step import Step
from reconciler.core.decide.record import with_refused
from reconciler.core.decide.refused import park_digest, park_key
from reconciler.core.fields.desired import used_digest
from reconciler.core.model.action import Change
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, Unique
from reconciler.core.model.mapping import PARK, Intent, RefusedValue
from reconciler.core.model.view import Decision
from reconciler.core.model.write import Update
from reconciler.core.plan import chains
from reconciler.errors import Refused


@frozen
class WaitCircle:
    """All users that a user waits for, in one step or several, and what is decided for them together; empty: no circle."""

    decisions: MappingOf[ClerkUserId, Decision] = field(default_factory=dict)
    steps: MappingOf[ClerkUserId, Step] = field(default_factory=dict)


def wait_circle(step: Step, context: StoreContext) -> WaitCircle:
    """The circle that this user is part of, by the state, and by what the shop shows now."""
    user = step.subject.user
    waits_on = _all_reached(step, context)
    is_parked = step.subject.mapping is not None and bool(step.subject.mapping.parked_values)
    if not is_parked and not any(user in owners for owners in waits_on.values()):
        return WaitCircle()
    users = sorted({user, *waits_on, *(owner for owners in waits_on.values() for owner in owners)})
    steps = {s.subject.user: s for s in observe_users(users, context, explicit=False)}
    blocked = {name: s.blocked for name, s in steps.items() if s.blocked is not None}
    freed = {name: chains.frees(s.decision) for name, s in steps.items() if s.blocked is None}
    return WaitCircle(chains.resolve(blocked, freed), steps)


def _all_reached(step: Step, context: StoreContext) -> dict[ClerkUserId, set[ClerkUserId]]:
    """The users that this one waits for, those that they wait for, and so on, by the rows."""
    mappings, shop = context.readers.mappings, context.store.shop
    found = {step.subject.user: {t.owner for t in chains.values_of_users(step.decision) if t.owner is not None}}
    left = set(found[step.subject.user]) - found.keys()
    while left:
        rows = mappings.get(shop, sorted(left))
        customers = sorted({customer for row in rows.values() for customer in row.awaited_customers})
        owners = mappings.owners(shop, customers) if customers else {}
        for user in left:
            row = rows.get(user)
            found[user] = {owners[c] for c in row.awaited_customers if c in owners} if row is not None else set()
        left = {owner for user in left for owner in found[user]} - found.keys()
    return found


def park(step: Step, context: StoreContext, fields: Collection[Unique], *, kind: str = PARK) -> dict[str, str]:
    """Take the values of these fields off for a moment, the intent written down first. What was taken off, as we sent it.

    `kind` is that of the event: an undo says so, and is not undone.
    """
    customer = step.decision.customer
    assert customer is not None
    taken: dict[str, str] = {field: value for field in fields if (value := step.decision.value(field)) is not None}
    if taken:
        declare(step, context, Intent(kind=PARK, parked={**step.subject.parked_values, **taken}))
        try:
            send(Update(customer.id, dict.fromkeys(taken)), context)
        except Refused as refused:
            if kind == PARK:
                _remember_park(step, context, [field for field in fields if field in taken], refused)
            raise
        changes = tuple(Change(field=f, before=v, after=None, why="profile changed") for f, v in taken.items())
        context.state.put(intent_row(step, context), event_of(step, context, customer.id, kind, changes))
    return taken


def _remember_park(step: Step, context: StoreContext, fields: Collection[Unique], refused: Refused) -> None:
    """Write down that Shopify refused to take these values off, so that it is not asked again until something moves."""
    customer, mapping = step.decision.customer, step.subject.mapping
    assert customer is not None
    profile = used_digest(step.subject.profile, context.store)
    said = {
        park_key(field): RefusedValue(
            digest=park_digest(field, customer, profile, context.store),
            code=refused.refusals[0].code if refused.refusals else "",
            message=refused.message,
            asked=context.explicit,
        )
        for field in fields
    }
    row = replace(intent_row(step, context), intent=mapping.intent if mapping is not None else None)
    context.state.put(with_refused(row, said))


def unpark(step: Step, context: StoreContext, values: MappingOf[str, str]) -> None:
    """Give parked values back."""
    customer = step.decision.customer
    assert customer is not None
    send(Update(customer.id, values), context)
    changes = tuple(Change(field=f, before=None, after=v, why="profile changed") for f, v in values.items())
    row = replace(intent_row(step, context), intent=None)
    context.state.put(row, event_of(step, context, customer.id, PARK, changes))
