"""From an action to its writes, in the order in which they are sent. Pure: sends nothing, reads nothing."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.controller.step import PlannedWrite
from reconciler.core.fields import normalise
from reconciler.core.fields.diff import owned_tags
from reconciler.core.model.action import Action, Change
from reconciler.core.model.consent import Consent, channel_of, is_consent
from reconciler.core.model.customer import TRACE_KEY, Customer
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.scalars import SCALARS
from reconciler.core.model.store import Store
from reconciler.core.model.values import tags_of, text_of
from reconciler.core.model.write import (
    CREATED,
    AddTags,
    Create,
    Delete,
    DeleteMetafields,
    Link,
    Merge,
    RemoveTags,
    RequestErasure,
    SetConsent,
    SetMetafields,
    Unlink,
    Update,
)

LINK_TYPE = "id"
TRACE_TYPE = "single_line_text_field"


def writes_of(
    action: Action, store: Store, customer: Customer | None, mapping: Mapping | None, *, is_assigned: bool = False
) -> list[PlannedWrite]:
    """The writes of this action. `customer` and `mapping` are those of the user before it, which a re-link leaves.

    `is_assigned`: an operator names the customer, which may be one that a re-link left.
    """
    match action.kind:
        case "create":
            return [*_create(action, store)]
        case "release":
            return [*_release(action)]
        case "merge":
            one, other = action.from_customer_id, action.customer_id
            assert one is not None
            assert other is not None
            change = Change(field="customer", before=one, after=other, why="profile changed")
            return [PlannedWrite(Merge(one, other, keep_email_of=other), records=(change,))]
        case "relink":
            return [*_leave_old(action, store, customer, mapping), *_patch(action, store)]
        case "adopt" if is_assigned:
            trace = PlannedWrite(DeleteMetafields(_customer_of(action), [_trace(store)]))
            return [trace, *_patch(action, store)]
        case _:
            return [*_patch(action, store)]


def undo_writes_of(action: Action, store: Store) -> list[PlannedWrite]:
    """The writes that take one action back."""
    customer = _customer_of(action)
    backlink = next((c for c in action.changes if c.field == "backlink"), None)
    scalars = {c.field: c.after for c in action.changes if c.field in SCALARS}
    writes: list[PlannedWrite] = []
    if action.kind == "release":
        writes.append(PlannedWrite(Delete(customer)))
    if backlink is not None and backlink.after is None:
        writes.append(PlannedWrite(Unlink(customer)))
    elif backlink is not None:
        writes.append(PlannedWrite(Link(customer, action.clerk_user_id)))
    if scalars:
        writes.append(PlannedWrite(Update(customer, scalars)))
    return [*writes, *_tags(action, customer), *_metafields(action, store, customer)]


def _customer_of(action: Action) -> CustomerId:
    assert action.customer_id is not None
    return action.customer_id


def _create(action: Action, store: Store) -> Iterator[PlannedWrite]:
    first = tuple(c for c in action.changes if not c.field.startswith("metafields.") and not is_consent(c.field))
    values = {c.field: c.after for c in first if c.field != "backlink"}
    yield PlannedWrite(Create(action.clerk_user_id, values), first)
    yield from _consents(action, CREATED)
    yield from _metafields(action, store, CREATED)


def _release(action: Action) -> Iterator[PlannedWrite]:
    customer = _customer_of(action)
    if action.how == "delete":
        yield PlannedWrite(Delete(customer), action.changes)
    elif action.how == "erase":
        yield PlannedWrite(RequestErasure(customer), action.changes)
    else:
        yield from _tags(action, customer)


def _leave_old(action: Action, store: Store, old: Customer | None, mapping: Mapping | None) -> Iterator[PlannedWrite]:
    """A customer that is left: back-link off, our tags off, and a trace that says where its user went."""
    new, trace = _customer_of(action), _trace(store)
    assert old is not None
    if old.backlink is not None:
        change = Change(field="backlink", before=action.clerk_user_id, after=None, why="profile changed")
        yield PlannedWrite(Unlink(old.id), records=(change,))
    ours = {t.casefold() for t in owned_tags(mapping)}
    stale = [t for t in old.tags if t.casefold() in ours]
    if stale:
        left = [t for t in old.tags if t not in stale]
        change = Change(field="tags", before=list(old.tags), after=left, why="profile changed")
        yield PlannedWrite(RemoveTags(old.id, stale), records=(change,))
    change = Change(field=f"metafields.{trace}", before=None, after=new, why="profile changed")
    yield PlannedWrite(SetMetafields({old.id: {trace: (new, TRACE_TYPE)}}), records=(change,))
    yield PlannedWrite(DeleteMetafields(new, [trace]))


def _trace(store: Store) -> str:
    """The metafield that says where the user of a customer went."""
    return f"{store.backlink.namespace}.{TRACE_KEY}"


def _patch(action: Action, store: Store) -> Iterator[PlannedWrite]:
    """Back-link first: it makes the customer the user's; then the rest, each kind in one write."""
    customer = _customer_of(action)
    link = tuple(c for c in action.changes if c.field == "backlink")
    scalars = tuple(c for c in action.changes if c.field in SCALARS)
    former = next((c.before for c in link), None)
    if former is not None:  # it is written only where there is none
        change = Change(field="backlink", before=former, after=None, why="profile changed")
        yield PlannedWrite(Unlink(customer), records=(change,))
    if link:
        yield PlannedWrite(Link(customer, action.clerk_user_id), link, moves_to=customer)
    if scalars:
        yield PlannedWrite(Update(customer, {c.field: c.after for c in scalars}), scalars)
    yield from _tags(action, customer)
    yield from _consents(action, customer)
    yield from _metafields(action, store, customer)


def _consents(action: Action, customer: CustomerId) -> Iterator[PlannedWrite]:
    """Each by a write of its own, after that of the email and the phone, to which it belongs."""
    for change in action.changes:
        if (channel := channel_of(change.field)) is not None:
            consent = Consent.parse(text_of(change.after) or "")
            yield PlannedWrite(SetConsent(customer, channel, consent), (change,))


def _tags(action: Action, customer: CustomerId) -> Iterator[PlannedWrite]:
    """Removing and adding apart, so that no other tags are touched; the change counts as done with the last.

    Removing comes first: a customer has 250 tags at most, and what fits in the end may not fit in between.
    """
    change = next((c for c in action.changes if c.field == "tags"), None)
    if change is None:
        return
    before, after = normalise.tag_keys(tags_of(change.before)), normalise.tag_keys(tags_of(change.after))
    added = [t for t in tags_of(change.after) if t.casefold() not in before]
    removed = [t for t in tags_of(change.before) if t.casefold() not in after]
    if removed:
        yield PlannedWrite(RemoveTags(customer, removed), () if added else (change,))
    if added:
        yield PlannedWrite(AddTags(customer, added), (change,))


def _metafields(action: Action, store: Store, customer: CustomerId) -> Iterator[PlannedWrite]:
    found = tuple(c for c in action.changes if c.field.startswith("metafields."))
    sets = tuple(c for c in found if c.after is not None)
    drops = tuple(c for c in found if c.after is None)
    if sets:
        values = {_name(c): (text_of(c.after) or "", _type_of(_name(c), store)) for c in sets}
        yield PlannedWrite(SetMetafields({customer: values}), sets, may_join=not drops)
    if drops:
        yield PlannedWrite(DeleteMetafields(customer, [_name(c) for c in drops]), drops)


def _type_of(name: str, store: Store) -> str:
    """The metafield's type; one that no rule of the store names is the trace, or a back-link that an undo puts back."""
    if name in store.metafields:
        return store.metafields[name].type
    return TRACE_TYPE if name.endswith(f".{TRACE_KEY}") else LINK_TYPE


def _name(change: Change) -> str:
    return change.field.removeprefix("metafields.")
