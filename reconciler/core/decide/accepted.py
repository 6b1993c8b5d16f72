"""Drift that is left alone until a moment: by `accept` of stores.yaml, or by an operator's acceptance in the state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from reconciler.core.decide.case import Case
from reconciler.core.fields import normalise
from reconciler.core.model.action import AcceptedDrift, Change
from reconciler.core.model.customer import Customer
from reconciler.core.model.mapping import tags_in
from reconciler.core.model.values import tag_changes, tags_of

BY_FILE: Final = "stores.yaml"


def without_accepted(
    case: Case, customer: Customer, changes: Sequence[Change]
) -> tuple[list[Change], tuple[AcceptedDrift, ...]]:
    """The changes without accepted drift, and the accepted drift. Of two acceptances of a field, the later end counts."""
    in_file = case.store.accepts(case.user, case.now)
    acceptance = case.mapping.accepted if case.mapping is not None else None
    if acceptance is not None and case.now >= acceptance.until:
        acceptance = None
    if not in_file and acceptance is None:
        return list(changes), ()
    left: list[Change] = []
    accepted: list[AcceptedDrift] = []
    fields = {*in_file, *(acceptance.fields if acceptance is not None else ())}
    for change in (part for each in changes for part in _parts(case, each, fields)):
        by_operator = acceptance if acceptance is not None and change.field in acceptance.fields else None
        until = in_file.get(change.field)
        if change.why != "drift" or (by_operator is None and until is None):
            left.append(change)
        elif by_operator is not None and (until is None or by_operator.until >= until):
            by = f"{by_operator.actor.name} ({by_operator.actor.via})"
            accepted.append(_accepted(case, customer, change, by_operator.until, by, by_operator.since))
        elif until is not None:
            accepted.append(_accepted(case, customer, change, until, BY_FILE, None))
    return left, tuple(accepted)


def _parts(case: Case, change: Change, fields: Collection[str]) -> list[Change]:
    """The change; that of accepted tags as what the config asks for, and the drift beside it.

    A new list of tags would otherwise bring back a tag of the old one that staff removed.
    """
    if change.field != "tags" or change.why != "config changed" or "tags" not in fields:
        return [change]
    agreed = {tag.casefold() for tag in tags_in(case.mapping.applied.get("tags") if case.mapping else None).agreed}
    come, _ = tag_changes(change.before, change.after)
    removed = {tag for tag in come if tag.casefold() in agreed}
    if not removed:
        return [change]
    config = normalise.tags(tag for tag in tags_of(change.after) if tag not in removed)
    drift = normalise.tags([*tags_of(change.before), *removed])
    return [replace(change, after=list(config)), replace(change, after=list(drift), why="drift")]


def is_accepted(case: Case, customer: Customer, change: Change) -> bool:
    """Whether this change would heal accepted drift."""
    return bool(without_accepted(case, customer, [change])[1])


def _accepted(
    case: Case, customer: Customer, change: Change, until: datetime, by: str, since: datetime | None
) -> AcceptedDrift:
    return AcceptedDrift(
        clerk_user_id=case.user, customer_id=customer.id, change=change, until=until, by=by, since=since
    )
