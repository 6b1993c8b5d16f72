"""Values that a customer is without for a moment, so that a cycle of users who wait for one another ends."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as MappingOf

from reconciler.controller.context import StoreContext
from reconciler.controller.execute import declare, event_of, intent_row, send
from reconciler.controller.step import Step
from reconciler.core.decide.record import with_refused
from reconciler.core.decide.refused import park_digest, park_key
from reconciler.core.fields.desired import profile_digest
from reconciler.core.model.action import Change
from reconciler.core.model.ids import Unique
from reconciler.core.model.mapping import PARK, RefusedValue
from reconciler.core.model.write import Update
from reconciler.errors import Refused


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
    row = intent_row(step, context).model_copy(update={"intent": mapping.intent if mapping is not None else None})
    context.state.put(with_refused(row, said))


def unpark(step: Step, context: StoreContext, values: MappingOf[str, str]) -> None:
    """Give parked values back."""
    customer = step.decision.customer
    assert customer is not None
    send(Update(customer.id, values), context)
    changes = tuple(Change(field=f, before=None, after=v, why="profile changed") for f, v in values.items())
    row = intent_row(step, context).model_copy(update={"intent": None})
    context.state.put(row, event_of(step, context, customer.id, PARK, changes))
