"""The way back from what was written: from recorded before-values to actions that restore them.

Only what is still as we left it is taken back; what somebody has changed since is held, and so is what Shopify can't
undo. Values that were taken back are remembered as refused, so that the next look does not write them again before the
profile or the config moves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Any

from reconciler.core.decide.actions import customer_digest, full_name
from reconciler.core.decide.cost import points_of
from reconciler.core.decide.refused import UNDONE, refusal_digest
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import SCALARS
from reconciler.core.fields.diff import comparable, is_respelt, observed_value
from reconciler.core.fields.spellings import Respelt, as_shown, respelt_tags
from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.model.customer import Customer
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import NO_FINGERPRINTS, Applied, Mapping, RefusedValue
from reconciler.core.model.reasons import hold

Net = dict[tuple[ClerkUserId, CustomerId], dict[str, Change]]
NO_TAGS = Applied(value={"owned": [], "agreed": []})


def way_back(
    events: Iterable[Event],
    customers: MappingOf[CustomerId, Customer],
    mappings: MappingOf[ClerkUserId, Mapping],
    *,
    trace: str,
) -> tuple[tuple[Action, ...], tuple[Hold, ...]]:
    """Actions that restore what was before these events (oldest first), and holds for what can't be.

    `customers` are those of the events as the shop shows them now, `mappings` those of their users; `trace` is the
    field that says where a user went. One user may have two actions, where they were moved from one customer to another.
    """
    told = [e for e in events if e.customer_id is not None and e.kind != "undo"]
    created = {e.customer_id for e in told if e.kind == "create" and any(c["field"] == "backlink" for c in e.changes)}
    actions: list[Action] = []
    holds: list[Hold] = []
    for (user, customer_id), changes in sorted(_net(told).items()):
        customer = customers.get(customer_id)
        mapping = mappings.get(user)
        base = mapping.applied if mapping is not None and mapping.customer_id == customer_id else {}
        if "customer" in changes:
            holds.append(_held(user, customer_id, "a merge, a deletion or an erasure can't be taken back in Shopify"))
        elif customer is None:
            holds.append(_held(user, customer_id, "her customer is not in the shop any more"))
        elif customer_id in created and (theirs := _changed_since(customer, changes, base)):
            message = f"the customer was created, and somebody has changed {theirs} since: she stays"
            holds.append(_held(user, customer_id, message))
        elif customer_id in created and customer.unknown:
            hidden = ", ".join(sorted(customer.unknown))
            message = f"the customer was created, and Shopify does not show us her {hidden}: she stays"
            holds.append(_held(user, customer_id, message))
        elif customer_id in created:
            action = _deleted(user, customer)
            if action is None:
                message = "the customer was created, and Shopify does not delete her: she has orders"
                holds.append(_held(user, customer_id, message))
            else:
                actions.append(action)
        else:
            back, held = _restored(user, customer, changes, base, trace)
            actions += back
            holds += held
    return tuple(actions), tuple(holds)


def after_undo(mapping: Mapping, action: Action, *, now: datetime) -> Mapping:
    """The row after one action of the way back: held as `Undone`, and what was meant is not written again by itself."""
    refused = dict(mapping.refused) | _remembered(mapping, action)
    update: dict[str, Any] = {
        "status": "held", "reason": "Undone", "message": "taken back by `undo`", "refused": refused,
        "last_seen_at": now, "generation": mapping.generation + 1, "intent": None,
        **NO_FINGERPRINTS,
    }  # fmt: skip
    backlink = next((c for c in action.changes if c.field == "backlink"), None)
    lost = action.kind == "release" or (backlink is not None and backlink.after is None)
    if lost and mapping.customer_id in {None, action.customer_id}:
        update |= {"customer_id": None, "email": None, "applied": {}}
    elif not lost:
        applied = dict(mapping.applied) if mapping.customer_id == action.customer_id else {}
        for change in action.changes:
            known = applied.get(change.field) or (NO_TAGS if change.field == "tags" else None)
            if known is not None:
                applied[change.field] = _before_it(known, change)
        update |= {"customer_id": action.customer_id, "applied": applied}
    return mapping.model_copy(update=update)


def _before_it(agreed: Applied, change: Change) -> Applied:
    """What was agreed on before the change that is taken back. Tags that we had taken off were ours, and are again."""
    if change.field != "tags":
        return agreed.model_copy(update={"value": change.after, "respelt": False, "shown": None})
    before, after = normalise.tag_keys(change.before), normalise.tag_keys(change.after)
    again = [t for t in change.after if t.casefold() not in before]
    value = {
        name: sorted({*(t for t in agreed.value[name] if t.casefold() in after), *again})
        for name in ("owned", "agreed")
    }
    return agreed.model_copy(update={"value": value, "ours": bool(value["owned"])})


def _remembered(mapping: Mapping, action: Action) -> dict[str, RefusedValue]:
    """Each change that was taken back, as it was meant; a back-link only until her row moves."""
    changes = action.changes
    if action.kind == "release":
        changes = (Change(field="backlink", before=action.clerk_user_id, after=None, why="undo"),)
    back_on_it = any(c.field == "backlink" and c.after is not None for c in changes)
    found = {}
    for change in changes:
        if back_on_it and change.field in {"backlink", "tags"}:
            continue  # taken off when she left for another customer: what is not to come again is the link over there
        meant = Change(field=change.field, before=change.after, after=change.before, why="profile changed")
        row = mapping.profile_digest if change.field == "backlink" else ""
        found[change.field] = RefusedValue(digest=refusal_digest(meant), code=UNDONE, message="undone", profile=row)
    return found


def _net(events: Iterable[Event]) -> Net:
    """Per user and customer and field: what was before the first and after the last of these events."""
    found: defaultdict[tuple[ClerkUserId, CustomerId], dict[str, Change]] = defaultdict(dict)
    for event in events:
        assert event.customer_id is not None
        fields = found[event.clerk_user_id, event.customer_id]
        for told in event.changes:
            name = told["field"]
            first = fields[name].before if name in fields else told["before"]
            if name == "backlink" and first != event.clerk_user_id:
                first = None  # that of the user who left, for whom nothing is written any more
            fields[name] = Change(field=name, before=first, after=told["after"], why="undo")
    return {key: {f: c for f, c in fields.items() if c.before != c.after} for key, fields in found.items() if fields}


def _changed_since(customer: Customer, changes: MappingOf[str, Change], agreed: MappingOf[str, Applied]) -> str:
    """What of a customer that we created is not as we left it, by name; empty where all of it is. Locale is the shop's."""
    found = []
    for name in SCALARS:
        ours = changes[name].after if name in changes else None
        if name in customer.unknown or name == "locale":
            continue
        if not _shows(name, customer, observed_value(customer, name), ours, agreed):
            found.append(name)
    respelt = respelt_tags(agreed.get("tags"))
    tags = [shown for tag in (changes["tags"].after if "tags" in changes else ()) if (shown := as_shown(tag, respelt))]
    if normalise.tag_keys(customer.tags) != normalise.tag_keys(tags):
        found.append("tags")
    return ", ".join(found)


def _deleted(user: ClerkUserId, customer: Customer) -> Action | None:
    if customer.can_delete is not True:
        return None
    change = Change(field="customer", before=customer.id, after=None, why="undo")
    return Action(
        kind="release",
        clerk_user_id=user,
        customer_id=customer.id,
        changes=(change,),
        cost_points=points_of("release", (change,), "delete"),
        how="delete",
        customer_digest=customer_digest(customer),
        email=customer.email,
        name=full_name(customer),
    )


def _restored(
    user: ClerkUserId,
    customer: Customer,
    changes: MappingOf[str, Change],
    agreed: MappingOf[str, Applied],
    trace: str,
) -> tuple[list[Action], list[Hold]]:
    back: list[Change] = []
    holds: list[Hold] = []
    for name, change in sorted(changes.items()):
        restored = _back(customer, change, agreed, trace)
        if restored is None:
            what = "is not shown to us" if name in customer.unknown else "was changed since by somebody else"
            message = f"{name} {what}: it stays as it is"
            holds.append(hold(user, customer, "CannotUndo", message, name))
        elif restored.before != restored.after:
            back.append(restored)
    if not back or (customer.backlink == user and all(c.field == trace for c in back)):  # the trace is the last to go
        return [], holds
    action = Action(
        kind="update",
        clerk_user_id=user,
        customer_id=customer.id,
        changes=tuple(back),
        cost_points=points_of("update", tuple(back)),
        customer_digest=customer_digest(customer),
        email=customer.email,
        name=full_name(customer),
    )
    return [action], holds


def _back(customer: Customer, change: Change, agreed: MappingOf[str, Applied], trace: str) -> Change | None:
    """The change that takes this one back; None where somebody has been there since."""
    if change.field == "tags":
        return _tags(customer, change, respelt_tags(agreed.get("tags")))
    if change.field == trace:
        return Change(field=trace, before=change.after, after=change.before, why="undo")
    return _value(customer, change, agreed)


def _value(customer: Customer, change: Change, agreed: MappingOf[str, Applied]) -> Change | None:
    """The field put back, if it is still what we wrote; not where it is not shown to us."""
    name = change.field
    if name in customer.unknown:
        return None
    now: Any = customer.backlink if name == "backlink" else observed_value(customer, name)
    if _shows(name, customer, now, change.before, {}):  # taken back already
        return Change(field=name, before=now, after=now, why="undo")
    ours = _shows(name, customer, now, change.after, agreed)
    return Change(field=name, before=now, after=change.before, why="undo") if ours else None


def _shows(name: str, customer: Customer, now: Any, value: Any, agreed: MappingOf[str, Applied]) -> bool:
    """Whether what is there now is this value, by what counts as equal or by what the shop showed for it."""
    if name not in SCALARS and not name.startswith("metafields."):
        return bool(now == value)
    found = customer.metafields.get(name.removeprefix("metafields."))
    type_ = found.type if found is not None else ""
    if comparable(name, now, type_) == comparable(name, value, type_):
        return True
    base = agreed.get(name)
    return (
        base is not None
        and is_respelt(base, now)
        and comparable(name, base.value, type_) == comparable(name, value, type_)
    )


def _tags(customer: Customer, change: Change, respelt: Respelt) -> Change:
    """What we added is taken off, what we took off is put back; everybody else's tags stay."""
    before, after = normalise.tag_keys(change.before), normalise.tag_keys(change.after)
    added = normalise.tag_keys(shown for key in after - before if (shown := as_shown(key, respelt)))
    removed = [t for t in change.before if t.casefold() not in after]
    left = [t for t in customer.tags if t.casefold() not in added]
    restored = normalise.tags([*left, *removed])
    return Change(field="tags", before=list(normalise.tags(customer.tags)), after=list(restored), why="undo")


def _held(user: ClerkUserId, customer: CustomerId, message: str) -> Hold:
    found = hold(user, None, "CannotUndo", message)
    return found.model_copy(update={"customer_id": customer})
