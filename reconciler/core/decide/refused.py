"""Refused and undone changes, which are not tried again until something has changed."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Literal

from reconciler.core.decide.actions import customer_digest
from reconciler.core.decide.consent import with_addresses_only
from reconciler.core.decide.cost import points_of
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import config_digest, digest, profile_digest
from reconciler.core.model.action import Action, Change, Hold, Kind
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import UNIQUE, CustomerId, Unique
from reconciler.core.model.mapping import Mapping, RefusedValue
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.scalars import IDENTITIES
from reconciler.core.model.store import Store
from reconciler.core.model.values import tags_of
from reconciler.core.model.view import Decision

Tries = Literal["never", "once", "always"]
UNDONE = "UNDONE"
WHOLE = "*"  # in place of a field: Shopify refused the action without naming a field
DELETION = "* delete"  # the same of a deletion: the customer is tagged instead, which may be refused as well
NEEDED: MappingOf[Kind, frozenset[str]] = {  # fields without which the action is not executed
    "create": frozenset({"backlink", "email"}),
    "adopt": frozenset({"backlink"}),
    "relink": frozenset({"backlink", "email"}),
    "merge": frozenset({"backlink"}),
}


def tries_of(*, explicit: bool, insists: bool) -> Tries:
    """How often a refused value is tried: `explicit`, an operator asked; `insists`, and named this very user."""
    return ("always" if insists else "once") if explicit else "never"


def _is_tried(refused: RefusedValue, tries: Tries) -> bool:
    return tries == "always" or (tries == "once" and not refused.asked)


def refusal_digest(change: Change) -> str:
    """The digest of an undone change: the values before and after. Tags that others add do not change it."""
    if change.field == "tags":
        before, after = normalise.tag_keys(tags_of(change.before)), normalise.tag_keys(tags_of(change.after))
        return digest("tags", sorted(before - after), sorted(after - before))
    return digest(change.field, change.before, change.after)


def refused_value_digest(change: Change, store: Store) -> str:
    """The digest of a refused change: the values before and after, with the type of a metafield, or the new list of tags.

    It changes if another app removes a tag (ours may fit then), and not if we remove one.
    """
    if change.field == "tags":
        return digest("tags", "list", sorted(normalise.tag_keys(tags_of(change.after))))
    rule = store.metafields.get(change.field.removeprefix("metafields."))
    typed = () if rule is None else (rule.type,)
    return digest(change.field, change.before, change.after, *typed)


def whole_key(action: Action) -> str:
    """The key in `Mapping.refused` for this action, if Shopify refused it without naming a field."""
    return DELETION if action.how == "delete" else WHOLE


def whole_digest(action: Action, decision: Decision, store: Store) -> str:
    """The digest of an action that was refused as a whole. It changes with profile, policy or customer.

    For a merge, of both customers only the values count that may prevent it, since other fields are written meanwhile.
    """
    seen: object = action.customer_digest
    if action.kind == "merge":
        pair = (decision.customer, decision.target)
        seen = [(c.id, sorted(normalise.tag_keys(c.tags)), c.note) for c in pair if c is not None]
    return digest(WHOLE, action.kind, action.how, seen, action.profile_digest, config_digest(store))


def whole_refusal(decision: Decision, mapping: Mapping | None, store: Store, *, tries: Tries) -> RefusedValue | None:
    """The refusal of this very action, if it still applies; None where the action may be tried."""
    if mapping is None or decision.action is None:
        return None
    refused = mapping.refused.get(whole_key(decision.action))
    if refused is None or _is_tried(refused, tries):
        return None
    return refused if refused.digest == whole_digest(decision.action, decision, store) else None


def park_key(field: Unique) -> str:
    """The key in `Mapping.refused` for a value that Shopify refused to clear temporarily."""
    return f"park {field}"


def park_digest(field: Unique, customer: Customer, profile: str, store: Store) -> str:
    """The digest of an attempt to park a value. It changes with profile (given as digest), policy or customer."""
    return digest(park_key(field), customer_digest(customer), profile, config_digest(store))


def undo_key(customer: CustomerId) -> str:
    """The key in `Mapping.refused` for a refused undo on this customer."""
    return f"undo {customer}"


def undo_digest(customer_seen: str, profile: str | None, store: Store) -> str:
    """The digest of an undo. It changes with profile, policy or customer (profile and customer are given as digests)."""
    return digest("undo", customer_seen, profile, config_digest(store))


def refused_undo(action: Action, mapping: Mapping | None, store: Store) -> Hold | None:
    """The hold of an undo that Shopify has refused, while nothing has changed since."""
    if mapping is None or action.customer_id is None:
        return None
    refused = mapping.refused.get(undo_key(action.customer_id))
    if refused is None or refused.digest != undo_digest(action.customer_digest, mapping.profile_digest, store):
        return None
    message = f"Shopify refused to undo this: {refused.message}; it is tried again after the customer has changed"
    found = hold(action.clerk_user_id, mapping, "CannotUndo", message)
    return replace(found, customer_id=action.customer_id)


def _unparkable(
    decision: Decision, action: Action, mapping: Mapping, store: Store, *, tries: Tries
) -> dict[Unique, str]:
    """The fields that Shopify has refused to clear temporarily on this customer, with its messages."""
    found: dict[Unique, str] = {}
    for field in UNIQUE:
        refused, customer = mapping.refused.get(park_key(field)), decision.customer
        if refused is None or customer is None or _is_tried(refused, tries):
            continue
        if refused.digest == park_digest(field, customer, action.profile_digest, store):
            found[field] = refused.message
    return found


def without_refused(
    decision: Decision, profile: Profile | None, mapping: Mapping | None, store: Store, *, tries: Tries
) -> Decision:
    """The decision without refused changes.

    A command may try refused changes, but never an undone one.
    """
    action = decision.action
    if action is None or mapping is None or not mapping.refused:
        return decision
    unparkable = _unparkable(decision, action, mapping, store, tries=tries)
    decision = replace(decision, unparkable=unparkable) if unparkable else decision
    whole = whole_refusal(decision, mapping, store, tries=tries)
    if whole is not None:
        message = f"Shopify refused the {action.kind}: {whole.message}"
        held = hold(action.clerk_user_id, decision.customer or mapping, "Rejected", message)
        return replace(decision, action=None, holds=(*decision.holds, held), status="held")
    rows = {action.profile_digest, profile_digest(profile)}  # the latter is that of earlier versions
    holds = list(decision.holds)
    kept: list[Change] = []
    for change in action.changes:
        refused = mapping.refused.get(change.field)
        if refused is None or not _still_applies(refused, change, rows, store, tries=tries):
            kept.append(change)
            continue
        reason = "PhoneTaken" if change.field == "phone" and refused.code == "TAKEN" else "Rejected"
        message = f"Shopify refused {change.field}: {refused.message}"
        if refused.code == UNDONE:
            reason = "Undone"
            message = f"`undo` reverted {change.field}; it is not written until the profile or the config changes"
            if change.field == "backlink":
                message = "`undo` released this user from their customer; they get none until the profile changes"
        holds.append(hold(action.clerk_user_id, decision.customer or mapping, reason, message, change.field))
    return decision if len(kept) == len(action.changes) else with_changes(decision, action, tuple(kept), tuple(holds))


def with_changes(decision: Decision, action: Action, kept: tuple[Change, ...], holds: tuple[Hold, ...]) -> Decision:
    """The decision with only these changes in its action; held without an action, where the rest can't be executed."""
    kept = with_addresses_only(action.changes, kept)
    needed = NEEDED.get(action.kind, frozenset()) & {c.field for c in action.changes}
    lost_key = not needed <= {c.field for c in kept}
    nothing_left = not [c for c in kept if c.field != "backlink" or action.kind in {"adopt", "update"}]
    nameless = action.kind == "create" and not any(c.field in IDENTITIES for c in kept)
    if lost_key or nothing_left or nameless:
        return replace(decision, action=None, holds=holds, status="held")
    patched = replace(action, changes=kept, cost_points=points_of(action.kind, kept))
    return replace(decision, action=patched, holds=holds)


def _still_applies(refused: RefusedValue, change: Change, rows: Collection[str], store: Store, *, tries: Tries) -> bool:
    """Whether the refusal still applies to this change; `rows` are the digests of the row now."""
    known = refusal_digest(change) if refused.code == UNDONE else refused_value_digest(change, store)
    if refused.digest != known or (refused.profile and refused.profile not in rows):
        return False
    return refused.code == UNDONE or not _is_tried(refused, tries)
