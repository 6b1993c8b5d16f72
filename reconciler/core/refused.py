"""What Shopify refused, or a person took back, is not tried again until something has moved."""

from __future__ import annotations

from reconciler.core.desired import digest
from reconciler.core.forecast import points_of
from reconciler.core.mapping import Mapping
from reconciler.core.plan import Change
from reconciler.core.reasons import hold
from reconciler.core.view import Decision

UNDONE = "UNDONE"
EXPLICIT_TRIES = 2


def refusal_digest(change: Change) -> str:
    """Names a refused value: what was to be written over what. The value, the policy's result or the field must move."""
    return digest(change.field, change.before, change.after)


def without_refused(decision: Decision, mapping: Mapping | None, *, explicit: bool) -> Decision:
    """The decision less what was refused; a person's command tries that once more, but not what she undid."""
    action = decision.action
    if action is None or mapping is None or not mapping.refused:
        return decision
    holds = list(decision.holds)
    kept: list[Change] = []
    for change in action.changes:
        refused = mapping.refused.get(change.field)
        again = explicit and refused is not None and refused.code != UNDONE and refused.tries < EXPLICIT_TRIES
        if refused is None or refused.digest != refusal_digest(change) or again:
            kept.append(change)
            continue
        reason = "PhoneTaken" if change.field == "phone" and refused.code == "TAKEN" else "Rejected"
        message = f"Shopify refused {change.field}: {refused.message}"
        if refused.code == UNDONE:
            reason, message = "Undone", f"{change.field} was taken back by `undo`; it waits until the profile moves"
        holds.append(hold(action.clerk_user_id, decision.customer or mapping, reason, message, change.field))
    if len(kept) == len(action.changes):
        return decision
    lost_key = action.kind == "create" and not {"backlink", "email"} <= {c.field for c in kept}
    nothing_left = not [c for c in kept if c.field != "backlink" or action.kind in {"adopt", "update"}]
    if lost_key or nothing_left:
        return decision.model_copy(update={"action": None, "holds": tuple(holds), "status": "held"})
    cost = points_of(action.kind, tuple(kept))
    patched = action.model_copy(update={"changes": tuple(kept), "cost_points": cost})
    return decision.model_copy(update={"action": patched, "holds": tuple(holds)})
