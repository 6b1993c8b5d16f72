"""Drift that is left alone until a moment: by `accept` of stores.yaml, or by an operator's acceptance in the state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from reconciler.core.decide.case import Case
from reconciler.core.model.action import AcceptedDrift, Change
from reconciler.core.model.customer import Customer

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
    for change in changes:
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


def is_accepted(case: Case, customer: Customer, change: Change) -> bool:
    """Whether this change would heal accepted drift."""
    return bool(without_accepted(case, customer, [change])[1])


def _accepted(
    case: Case, customer: Customer, change: Change, until: datetime, by: str, since: datetime | None
) -> AcceptedDrift:
    return AcceptedDrift(
        clerk_user_id=case.user, customer_id=customer.id, change=change, until=until, by=by, since=since
    )
