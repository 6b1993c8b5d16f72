"""Writes with a lost answer, or with an answer after the row or the customer has changed."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import replace

from reconciler.core.fields import normalise
from reconciler.core.fields.consent import is_written, last_consents
from reconciler.core.fields.diff import comparable, observed_value, owned_tags
from reconciler.core.model.action import Action, Change
from reconciler.core.model.consent import is_consent
from reconciler.core.model.customer import Customer, CustomerChange, MetafieldValue
from reconciler.core.model.mapping import PARK, RELEASE, Applied, Intent, Mapping, tags_in
from reconciler.core.model.scalars import SCALARS
from reconciler.core.model.spec import Spec
from reconciler.core.model.values import tags_of, text_of
from reconciler.core.model.view import Subject, View


def intent_of(action: Action, parked: MappingOf[str, str]) -> Intent:
    """The intent that is recorded before the first write of an action, so that a crash does not lose which values are ours.

    `kind` is "write" where an observation without any of the changes may drop the intent. `parked` values stay recorded.
    """
    return Intent(
        kind=action.kind if action.kind in {"create", "relink", "merge", RELEASE} else "write",
        from_customer_id=action.from_customer_id,
        to=action.customer_id,
        changes=tuple(replace(change, why="profile changed") for change in action.changes),
        parked=parked,
    )


def claim_unrecorded_write(subject: Subject, view: View, spec: Spec | None) -> Subject:
    """The subject with an intended, unrecorded write: those of its changes that the customer has count as ours.

    Without this, a value that the profile removes later, or a tag of an older config, would never be cleared, since only
    our own values are.
    """
    mapping = subject.mapping
    intent = mapping.intent if mapping is not None else None
    if mapping is None or intent is None or intent.changes is None:
        return subject
    customer = next(
        (c for c in (view.by_backlink, view.mapped) if c and c.backlink == subject.user and intent.to in {None, c.id}),
        None,
    )
    claimed = mapping
    if customer is not None:
        applied = _as_ours(mapping, intent.changes, customer, spec)
        claimed = replace(claimed, applied=applied, customer_id=customer.id)
    if intent.kind == "write":
        claimed = replace(claimed, intent=Intent(kind=PARK, parked=intent.parked) if intent.parked else None)
    return replace(subject, mapping=claimed, stored=subject.read)


def found_consents(subject: Subject) -> tuple[Change, ...]:
    """The consents among an unrecorded write that this subject's mapping counts as ours, and the stored row does not yet."""
    read, mapping = subject.stored, subject.mapping
    if read is None or mapping is None or read.intent is None:
        return ()
    applied = mapping.applied
    return tuple(
        change
        for change in read.intent.changes or ()
        if is_consent(change.field)
        and change.field in applied
        and applied[change.field] != read.applied.get(change.field)
    )


def _as_ours(
    mapping: Mapping, changes: Iterable[Change], customer: Customer, spec: Spec | None
) -> MappingOf[str, Applied]:
    """The last-applied fields with the changes that the customer has. Tags may have been added and not yet removed."""
    same = mapping.customer_id in {None, customer.id}
    applied = dict(mapping.applied) if same else last_consents(mapping.applied)
    owned = {t.casefold(): t for t in owned_tags(mapping)} if same else {}
    wanted = spec.fields if spec is not None else {}
    for change in changes:
        field, before = change.field, applied.get(change.field)
        if field == "tags" and field not in customer.unknown:
            had, has = normalise.tag_keys(tags_of(change.before)), normalise.tag_keys(customer.tags)
            added = {t.casefold(): t for t in tags_of(change.after) if t.casefold() not in had}
            kept = tuple(sorted(tag for key, tag in (owned | added).items() if key in has))
            applied[field] = Applied(
                value=replace(tags_in(before), owned=kept),
                ours=bool(kept),
                config=spec.tags_config if spec is not None else "",
            )
        elif field not in {"tags", "backlink"} and in_place([change], customer, spec):
            config = wanted[field].config if field in wanted else ""
            applied[field] = Applied(value=text_of(change.after), ours=change.after is not None, config=config)
    return applied


def in_place(changes: Iterable[Change], customer: Customer, spec: Spec | None) -> tuple[Change, ...]:
    """The changes that the customer has."""
    return tuple(c for c in changes if c.field not in customer.unknown and _is_there(c, customer, spec))


def as_before(customer: Customer, changes: Iterable[Change]) -> Customer:
    """The customer before these changes were written; tags of others stay."""
    scalars: dict[str, str | None] = {}
    values: CustomerChange = {}
    metafields = dict(customer.metafields)
    for change in changes:
        if change.field == "tags":
            before, after = normalise.tag_keys(tags_of(change.before)), normalise.tag_keys(tags_of(change.after))
            kept = [t for t in customer.tags if t.casefold() not in after - before]
            values["tags"] = (*kept, *(t for t in tags_of(change.before) if t.casefold() not in after))
        elif change.field == "backlink":
            values["backlink"] = text_of(change.before)
        elif change.field in SCALARS:
            scalars[change.field] = text_of(change.before)
        elif is_consent(change.field):
            continue  # a consent is not compared with what the profile says, so none need be taken back
        elif change.before is None:
            metafields.pop(_name(change), None)
        else:
            old = metafields.get(_name(change), MetafieldValue(value=""))
            metafields[_name(change)] = replace(old, value=text_of(change.before) or "")
    values["metafields"] = metafields
    return customer.changed(scalars, **values)


def as_written(spec: Spec, changes: Iterable[Change]) -> Spec:
    """The spec with the written values, so that they count as last-applied even if the row has changed meanwhile."""
    fields = dict(spec.fields)
    for change in changes:
        if change.field in fields:
            fields[change.field] = replace(fields[change.field], value=text_of(change.after))
    return replace(spec, fields=fields)


def _is_there(change: Change, customer: Customer, spec: Spec | None) -> bool:
    if change.field == "tags":
        before, after = normalise.tag_keys(tags_of(change.before)), normalise.tag_keys(tags_of(change.after))
        now = normalise.tag_keys(customer.tags)
        return after - before <= now and not (before - after) & now
    if change.field == "backlink":
        return customer.backlink == change.after
    if is_consent(change.field):
        return is_written(change, customer)
    wanted = spec.fields.get(change.field) if spec is not None else None
    type_ = wanted.type if wanted is not None else ""
    is_now = comparable(change.field, observed_value(customer, change.field), type_)
    return is_now == comparable(change.field, text_of(change.after), type_)


def _name(change: Change) -> str:
    return change.field.removeprefix("metafields.")
