"""What Shopify refused, or a person took back, is not tried again until something has moved."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf

from reconciler.core import normalise
from reconciler.core.desired import digest
from reconciler.core.forecast import points_of
from reconciler.core.mapping import Mapping, RefusedValue
from reconciler.core.plan import Change, Kind
from reconciler.core.reasons import hold
from reconciler.core.view import Decision

UNDONE = "UNDONE"
NEEDED: MappingOf[Kind, frozenset[str]] = {  # without these there is nothing to carry out
    "create": frozenset({"backlink", "email"}),
    "adopt": frozenset({"backlink"}),
    "relink": frozenset({"backlink", "email"}),
    "merge": frozenset({"backlink"}),
}


def refusal_digest(change: Change) -> str:
    """Names a refused value: what was to be written over what. The value, the policy's result or the field must move."""
    if change.field == "tags":  # whole lists: what others add to them moves nothing
        before, after = normalise.tag_keys(change.before), normalise.tag_keys(change.after)
        return digest("tags", sorted(before - after), sorted(after - before))
    return digest(change.field, change.before, change.after)


def without_refused(decision: Decision, mapping: Mapping | None, *, explicit: bool) -> Decision:
    """The decision less what was refused. What no person's command has tried yet, one tries once; never what she undid."""
    action = decision.action
    if action is None or mapping is None or not mapping.refused:
        return decision
    holds = list(decision.holds)
    kept: list[Change] = []
    for change in action.changes:
        refused = mapping.refused.get(change.field)
        if refused is None or not _stands(refused, change, action.profile_digest, explicit=explicit):
            kept.append(change)
            continue
        reason = "PhoneTaken" if change.field == "phone" and refused.code == "TAKEN" else "Rejected"
        message = f"Shopify refused {change.field}: {refused.message}"
        if refused.code == UNDONE:
            reason, message = "Undone", f"{change.field} was taken back by `undo`; it waits until the profile moves"
        holds.append(hold(action.clerk_user_id, decision.customer or mapping, reason, message, change.field))
    if len(kept) == len(action.changes):
        return decision
    needed = NEEDED.get(action.kind, frozenset()) & {c.field for c in action.changes}
    lost_key = not needed <= {c.field for c in kept}
    nothing_left = not [c for c in kept if c.field != "backlink" or action.kind in {"adopt", "update"}]
    if lost_key or nothing_left:
        return decision.model_copy(update={"action": None, "holds": tuple(holds), "status": "held"})
    cost = points_of(action.kind, tuple(kept))
    patched = action.model_copy(update={"changes": tuple(kept), "cost_points": cost})
    return decision.model_copy(update={"action": patched, "holds": tuple(holds)})


def _stands(refused: RefusedValue, change: Change, profile: str, *, explicit: bool) -> bool:
    """Whether the refusal still speaks of this change."""
    if refused.digest != refusal_digest(change) or (refused.profile and refused.profile != profile):
        return False
    return refused.code == UNDONE or refused.asked or not explicit
