"""Whether a decision that rests on the mirror is final, or has to be made again by what the shop shows now."""

from __future__ import annotations

from reconciler.core.decide.record import last_applied
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.view import Decision, Subject


def is_final(subject: Subject, decision: Decision) -> bool:
    """Whether nothing is to be done or reported, or a customer is to be created, by the key that makes that harmless."""
    if decision.holds or decision.taken:
        return False
    if decision.action is None:
        return not _is_older(subject.mapping, decision)
    never_seen = subject.mapping is None or subject.mapping.customer_id is None
    return decision.action.kind == "create" and decision.customer is None and never_seen


def _is_older(mapping: Mapping | None, decision: Decision) -> bool:
    """Whether what was agreed on last is another value than the mirror shows: we may have written it since it was read."""
    if mapping is None or decision.spec is None or decision.customer is None:
        return False
    now = last_applied(mapping, decision.spec, decision.customer, written=())
    return any(field not in now or now[field].value != before.value for field, before in mapping.applied.items())
