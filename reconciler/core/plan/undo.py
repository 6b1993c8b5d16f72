"""Undo: from the recorded values before our writes to actions that restore them.

A value is restored only while it is as we wrote it; values that others have changed since, and changes that Shopify can't
reverse, are held. Undone values are recorded as refused, so that they are not written again before the profile or the
config changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import datetime

from reconciler.core.decide.actions import customer_digest, customer_name
from reconciler.core.decide.cost import points_of
from reconciler.core.decide.refused import UNDONE, refusal_digest
from reconciler.core.fields import normalise
from reconciler.core.fields.consent import last_consents
from reconciler.core.fields.diff import comparable, is_respelt, observed_value
from reconciler.core.fields.spellings import Respelt, as_shown, respelt_tags
from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.model.consent import CLOCKS_APART, NEVER, Channel, Consent, field_of, is_consent, utc_text
from reconciler.core.model.customer import Customer
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import NO_FINGERPRINTS, NO_TAGS, AgreedTags, Applied, Mapping, RefusedValue
from reconciler.core.model.reasons import hold
from reconciler.core.model.scalars import FIELDS
from reconciler.core.model.values import tags_of, text_of

Net = dict[tuple[ClerkUserId, CustomerId], dict[str, Change]]
WITHOUT_TAGS = Applied(value=NO_TAGS)


def plan_undo(
    events: Iterable[Event],
    later: Iterable[Event],
    customers: MappingOf[CustomerId, Customer],
    mappings: MappingOf[ClerkUserId, Mapping],
    *,
    trace: str,
) -> tuple[tuple[Action, ...], tuple[Hold, ...]]:
    """Actions that restore the values before these events (oldest first), and holds for those that can't be restored.

    `later` are the other events of these users since the first of them, which stay. `customers` are those of the events as
    observed now, `mappings` those of their users. `trace` is the field that names the customer to which a user was
    re-linked. A re-linked user may have two actions, one for each customer.
    """
    writes = list(_with_undone(e for e in events if e.customer_id is not None))
    since = LaterWrites([e for e in later if e.customer_id is not None])
    last_at = {e.customer_id: e.at for e in sorted((*writes, *since.events), key=lambda e: e.at)}
    created = {e.customer_id for e in writes if e.kind == "create" and any(c.field == "backlink" for c in e.changes)}
    actions: list[Action] = []
    holds: list[Hold] = []
    for (user, customer_id), changes in sorted(_net(writes).items()):
        customer = customers.get(customer_id)
        mapping = mappings.get(user)
        base = mapping.applied if mapping is not None and mapping.customer_id == customer_id else {}
        if "customer" in changes:
            holds.append(
                _cannot_undo(user, customer_id, "a merge, a deletion or an erasure can't be undone in Shopify")
            )
        elif customer is None:
            holds.append(_cannot_undo(user, customer_id, "the customer is no longer in the shop"))
        elif customer_id in created and (
            since_then := since.shown(user, customer_id)
            or _changed_since(customer, changes, base, trace)
            or _touched_since(customer, last_at[customer_id])
        ):
            message = f"the customer was created, and {since_then}: the customer is kept"
            holds.append(_cannot_undo(user, customer_id, message))
        elif customer_id in created and customer.unknown:
            hidden = ", ".join(sorted(customer.unknown))
            message = f"the customer was created, and Shopify does not return {hidden}: the customer is kept"
            holds.append(_cannot_undo(user, customer_id, message))
        elif customer_id in created:
            action = _deletion(user, customer)
            if action is None:
                message = "the customer was created, and can't be deleted in Shopify because it has orders"
                holds.append(_cannot_undo(user, customer_id, message))
            else:
                actions.append(action)
        else:
            back, held = _restoration(user, customer, changes, base, since, trace)
            actions += back
            holds += held
    return tuple(actions), tuple(holds)


def after_undo(mapping: Mapping, action: Action, *, row_digest: str, now: datetime) -> Mapping:
    """The row after one undo action: held as `Undone`, with the undone values recorded as refused.

    `row_digest`: that of the profile row now; a user who has lost the back-link waits until the row changes.
    """
    refused = dict(mapping.refused) | _refusals(action, row_digest)
    row = replace(
        mapping, status="held", reason="Undone", message="reverted by `undo`", refused=refused,
        reason_since=now, last_seen_at=now, generation=mapping.generation + 1, intent=None,
        **NO_FINGERPRINTS,
    )  # fmt: skip
    backlink = next((c for c in action.changes if c.field == "backlink"), None)
    lost = action.kind == "release" or (backlink is not None and backlink.after is None)
    if lost and mapping.customer_id in {None, action.customer_id}:
        return replace(row, customer_id=None, email=None, applied=last_consents(mapping.applied))
    if not lost:
        same = mapping.customer_id == action.customer_id
        applied = dict(mapping.applied) if same else last_consents(mapping.applied)
        for change in action.changes:
            known = applied.get(change.field) or (WITHOUT_TAGS if change.field == "tags" else None)
            if known is not None:
                applied[change.field] = _applied_before(known, change)
        return replace(row, customer_id=action.customer_id, applied=applied)
    return row


def _applied_before(agreed: Applied, change: Change) -> Applied:
    """The last-applied value before the undone change. Tags that we had removed are ours again."""
    if change.field != "tags":
        return replace(agreed, value=text_of(change.after), respelt=False, shown=None)
    before, after = normalise.tag_keys(tags_of(change.before)), normalise.tag_keys(tags_of(change.after))
    again = [t for t in tags_of(change.after) if t.casefold() not in before]
    owned, known = (
        tuple(sorted({*(t for t in tags if t.casefold() in after), *again}))
        for tags in (agreed.tags.owned, agreed.tags.agreed)
    )
    return replace(agreed, value=AgreedTags(owned=owned, agreed=known), ours=bool(owned))


def _refusals(action: Action, row_digest: str) -> dict[str, RefusedValue]:
    """The refusals of undone changes; that of a back-link only until the profile row changes."""
    changes = action.changes
    if action.kind == "release":
        changes = (Change(field="backlink", before=action.clerk_user_id, after=None, why="undo"),)
    back_on_it = any(c.field == "backlink" and c.after is not None for c in changes)
    found = {}
    for change in changes:
        if back_on_it and change.field in {"backlink", "tags"}:
            continue  # removed by a re-link to another customer: only the back-link there is refused
        meant = Change(field=change.field, before=change.after, after=change.before, why="profile changed")
        row = row_digest if change.field == "backlink" else ""
        found[change.field] = RefusedValue(digest=refusal_digest(meant), code=UNDONE, message="undone", profile=row)
    return found


def _net(events: Iterable[Event]) -> Net:
    """For each user, customer and field: the values before the first and after the last of these events."""
    found: defaultdict[tuple[ClerkUserId, CustomerId], dict[str, Change]] = defaultdict(dict)
    for event in events:
        assert event.customer_id is not None
        fields = found[event.clerk_user_id, event.customer_id]
        for change in event.changes:
            name = change.field
            first = fields[name].before if name in fields else change.before
            if name == "backlink" and first != event.clerk_user_id:
                first = None  # the back-link of a former user is not restored
            fields[name] = Change(field=name, before=first, after=change.after, why="undo")
    return {key: {f: c for f, c in fields.items() if c.before != c.after} for key, fields in found.items() if fields}


def _with_undone(events: Iterable[Event]) -> Iterator[Event]:
    """The writes, and of what `undo` has restored since, the fields that they wrote: another undo is not taken back."""
    written: set[tuple[ClerkUserId, CustomerId | None, str]] = set()
    for event in events:
        key = event.clerk_user_id, event.customer_id
        if event.kind == "undo":
            again = tuple(c for c in event.changes if c.field != "customer" and (*key, c.field) in written)
            yield replace(event, changes=again)
        else:
            written.update((*key, change.field) for change in event.changes)
            yield event


class LaterWrites:
    """What was written after the events that are undone, and is not undone with them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self._net = _net(events)
        self._runs: defaultdict[tuple[ClerkUserId, CustomerId], set[int]] = defaultdict(set)
        for event in events:
            if event.changes and event.run_id is not None and event.customer_id is not None:
                self._runs[event.clerk_user_id, event.customer_id].add(event.run_id)

    def writes(self, user: ClerkUserId, customer: CustomerId, field: str) -> bool:
        """Whether this field has another value after these events than before them."""
        return field in self._net.get((user, customer), {})

    def shown(self, user: ClerkUserId, customer: CustomerId) -> str:
        """The clause that says which fields were written again and by what; empty if none was."""
        fields = sorted(self._net.get((user, customer), {}))
        return f"{', '.join(fields)} written again since{self.origin(user, customer)}" if fields else ""

    def origin(self, user: ClerkUserId, customer: CustomerId) -> str:
        """The runs that wrote: ` by run 2`, or none where a request did."""
        runs = sorted(self._runs.get((user, customer), ()))
        return f" by run {', '.join(map(str, runs))}" if runs else ""


def _touched_since(customer: Customer, last_at: datetime) -> str:
    """The clause that says when others changed something of a customer that we do not read, such as an address.

    Within a minute after our last write nothing is concluded. Clocks differ, and Shopify moves `updatedAt` without a
    visible change, too (read 2026-11-23): the one in its answer need not be the last of our write.
    """
    at = customer.updated_at
    if at is None or at <= last_at + CLOCKS_APART:
        return ""
    return f"changed in Shopify at {utc_text(at)}"


def _changed_since(
    customer: Customer,
    changes: MappingOf[str, Change],
    agreed: MappingOf[str, Applied],
    trace: str,
) -> str:
    """The clause that names the fields of a created customer that others have changed; empty if there are none.

    Without fields that Shopify sets by itself.
    """
    linked = changes["backlink"].after if "backlink" in changes else None  # a later one of the events may have moved it
    found = [] if customer.backlink == linked else ["backlink"]
    metafields = {f"metafields.{name}" for name in customer.metafields}
    scalars = [name for name, declared in FIELDS.items() if not declared.has_default]
    for name in (*scalars, *sorted(metafields | {n for n in changes if n.startswith("metafields.")})):
        ours = text_of(changes[name].after) if name in changes else None
        if name in customer.unknown or name == trace:
            continue
        if not _shows(name, customer, observed_value(customer, name), ours, agreed):
            found.append(name)
    found += [field_of(c) for c, consent in customer.consents.items() if _is_other_answer(c, consent, changes)]
    respelt = respelt_tags(agreed.get("tags"))
    tags = [
        shown
        for tag in (tags_of(changes["tags"].after) if "tags" in changes else ())
        if (shown := as_shown(tag, respelt))
    ]
    if normalise.tag_keys(customer.tags) != normalise.tag_keys(tags):
        found.append("tags")
    return f"{', '.join(found)} changed since" if found else ""


def _is_other_answer(channel: Channel, shown: Consent, changes: MappingOf[str, Change]) -> bool:
    """Whether the customer has answered since, or withdrawn."""
    change = changes.get(field_of(channel))
    ours = text_of(change.after) if change is not None else None
    return shown.state not in NEVER if ours is None else shown.state != Consent.parse(ours).state


def _deletion(user: ClerkUserId, customer: Customer) -> Action | None:
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
        name=customer_name(customer),
    )


def _restoration(
    user: ClerkUserId,
    customer: Customer,
    changes: MappingOf[str, Change],
    agreed: MappingOf[str, Applied],
    since: LaterWrites,
    trace: str,
) -> tuple[list[Action], list[Hold]]:
    back: list[Change] = []
    holds: list[Hold] = []
    for name, change in sorted(changes.items()):
        if is_consent(name):
            message = f"{name} is not restored: who gave or withdrew it does so again, in Shopify or in the profile"
            holds.append(hold(user, customer, "CannotUndo", message, name))
            continue
        restored = _reverting_change(customer, change, agreed, trace)
        if restored is None:
            if name in customer.unknown:
                what = "is not returned by Shopify"
            elif since.writes(user, customer.id, name):
                what = f"was written again since{since.origin(user, customer.id)}"
            else:
                what = "was changed since by another app or person"
            message = f"{name} {what}: it is not restored"
            holds.append(hold(user, customer, "CannotUndo", message, name))
        elif restored.before != restored.after:
            back.append(restored)
    if not back or (customer.backlink == user and all(c.field == trace for c in back)):  # the trace is removed last
        return [], holds
    action = Action(
        kind="update",
        clerk_user_id=user,
        customer_id=customer.id,
        changes=tuple(back),
        cost_points=points_of("update", tuple(back)),
        customer_digest=customer_digest(customer),
        email=customer.email,
        name=customer_name(customer),
    )
    return [action], holds


def _reverting_change(customer: Customer, change: Change, agreed: MappingOf[str, Applied], trace: str) -> Change | None:
    """The change that reverts this one; None where the value was changed since."""
    if change.field == "tags":
        return _tags(customer, change, respelt_tags(agreed.get("tags")))
    if change.field == trace:
        return Change(field=trace, before=change.after, after=change.before, why="undo")
    return _value(customer, change, agreed)


def _value(customer: Customer, change: Change, agreed: MappingOf[str, Applied]) -> Change | None:
    """The change that restores a field, if it still has the value that we wrote; None where it is unknown or changed."""
    name = change.field
    if name in customer.unknown:
        return None
    now = customer.backlink if name == "backlink" else observed_value(customer, name)
    if _shows(name, customer, now, text_of(change.before), {}):  # already restored
        return Change(field=name, before=now, after=now, why="undo")
    ours = _shows(name, customer, now, text_of(change.after), agreed)
    return Change(field=name, before=now, after=change.before, why="undo") if ours else None


def _shows(name: str, customer: Customer, now: str | None, value: str | None, agreed: MappingOf[str, Applied]) -> bool:
    """Whether the value now equals this one, in comparable form or in the shop's spelling of it."""
    if name not in FIELDS and not name.startswith("metafields."):
        return now == value
    found = customer.metafields.get(name.removeprefix("metafields."))
    type_ = found.type if found is not None else ""
    if comparable(name, now, type_) == comparable(name, value, type_):
        return True
    base = agreed.get(name)
    return (
        base is not None
        and is_respelt(base, now)
        and comparable(name, base.text, type_) == comparable(name, value, type_)
    )


def _tags(customer: Customer, change: Change, respelt: Respelt) -> Change:
    """The change that removes the tags that we added and restores those that we removed; tags of others stay."""
    before, after = normalise.tag_keys(tags_of(change.before)), normalise.tag_keys(tags_of(change.after))
    added = normalise.tag_keys(shown for key in after - before if (shown := as_shown(key, respelt)))
    removed = [t for t in tags_of(change.before) if t.casefold() not in after]
    left = [t for t in customer.tags if t.casefold() not in added]
    restored = normalise.tags([*left, *removed])
    return Change(field="tags", before=list(normalise.tags(customer.tags)), after=list(restored), why="undo")


def _cannot_undo(user: ClerkUserId, customer: CustomerId, message: str) -> Hold:
    found = hold(user, None, "CannotUndo", message)
    return replace(found, customer_id=customer)
