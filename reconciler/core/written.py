"""Writes that are told of late: the answer was lost, or came after the row and the customer had moved on. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.core import normalise
from reconciler.core.customer import Customer, MetafieldValue
from reconciler.core.desired import SCALARS, Spec
from reconciler.core.diff import comparable, observed_value
from reconciler.core.plan import Change


def in_place(changes: Iterable[Change], customer: Customer, spec: Spec | None) -> tuple[Change, ...]:
    """Those of these changes that the customer shows as done."""
    return tuple(c for c in changes if c.field not in customer.unknown and _is_there(c, customer, spec))


def as_before(customer: Customer, changes: Iterable[Change]) -> Customer:
    """The customer as she was before these changes were written; other people's tags stay as they are."""
    update: dict[str, Any] = {}
    metafields = dict(customer.metafields)
    for change in changes:
        if change.field == "tags":
            before, after = normalise.tag_keys(change.before), normalise.tag_keys(change.after)
            kept = [t for t in customer.tags if t.casefold() not in after - before]
            update["tags"] = (*kept, *(t for t in change.before if t.casefold() not in after))
        elif change.field == "backlink" or change.field in SCALARS:
            update[change.field] = change.before
        elif change.before is None:
            metafields.pop(_name(change), None)
        else:
            old = metafields.get(_name(change), MetafieldValue(value=""))
            metafields[_name(change)] = old.model_copy(update={"value": change.before})
    return customer.model_copy(update=update | {"metafields": metafields})


def as_written(spec: Spec, changes: Iterable[Change]) -> Spec:
    """The spec with the values that were written, so that they count as agreed even where the row wants others by now."""
    fields = dict(spec.fields)
    for change in changes:
        if change.field in fields:
            fields[change.field] = fields[change.field].model_copy(update={"value": change.after})
    return spec.model_copy(update={"fields": fields})


def _is_there(change: Change, customer: Customer, spec: Spec | None) -> bool:
    if change.field == "tags":
        before, after = normalise.tag_keys(change.before), normalise.tag_keys(change.after)
        now = normalise.tag_keys(customer.tags)
        return after - before <= now and not (before - after) & now
    if change.field == "backlink":
        return bool(customer.backlink == change.after)
    wanted = spec.fields.get(change.field) if spec is not None else None
    type_ = wanted.type if wanted is not None else ""
    is_now = comparable(change.field, observed_value(customer, change.field), type_)
    return is_now == comparable(change.field, change.after, type_)


def _name(change: Change) -> str:
    return change.field.removeprefix("metafields.")
