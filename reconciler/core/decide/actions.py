"""Build actions from changes, and withhold actions of decisions."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.decide.case import Case
from reconciler.core.decide.cost import points_of
from reconciler.core.fields.desired import digest, used_digest
from reconciler.core.model.action import Action, Change, FoundBy, Hold, Kind
from reconciler.core.model.customer import Customer
from reconciler.core.model.reasons import BY_SWITCH, hold
from reconciler.core.model.store import Store
from reconciler.core.model.view import Decision

TAKING: frozenset[Kind] = frozenset({"adopt", "relink", "merge"})
_NO_CUSTOMER = digest(None)


def action_of(
    case: Case,
    kind: Kind,
    customer: Customer | None,
    changes: tuple[Change, ...],
    *,
    moved_from: Customer | None = None,
) -> Action:
    """The action, with the digests of the profile and the customers that it was decided on."""
    seen = (customer_digest(customer), customer_digest(moved_from)) if moved_from else customer_digest(customer)
    former = case.view.former(customer) if customer is not None and kind in {"adopt", "relink"} else None
    return Action(
        kind=kind,
        clerk_user_id=case.user,
        customer_id=customer.id if customer else None,
        changes=changes,
        cost_points=points_of(kind, changes),
        from_customer_id=moved_from.id if moved_from else None,
        former_user=former.clerk_user_id if former is not None else None,
        profile_digest=used_digest(case.profile, case.store),
        customer_digest=digest(*seen) if isinstance(seen, tuple) else seen,
        email=customer.email if customer else None,
        name=customer_name(customer),
        found_by=_found_by(case, customer) if customer is not None and kind in TAKING else "",
        has_orders=_has_orders(customer) if kind in TAKING else None,
    )


def _found_by(case: Case, customer: Customer) -> FoundBy:
    """Why this customer is taken, in the order in which a user's customer is looked for."""
    view = case.view
    if view.by_backlink is not None and view.by_backlink.id == customer.id:
        return "back-link"
    if view.mapped is not None and view.mapped.id == customer.id:
        return "mapping"
    return "import" if view.assigned is not None and view.assigned.id == customer.id else "email"


def _has_orders(customer: Customer | None) -> bool | None:
    """Whether the customer has bought: Shopify deletes no customer with orders."""
    return None if customer is None or customer.can_delete is None else not customer.can_delete


def customer_name(customer: Customer | None) -> str | None:
    """First and last name in one string; None without either."""
    names = (customer.first_name, customer.last_name) if customer else ()
    return " ".join(name for name in names if name) or None


def customer_digest(customer: Customer | None) -> str:
    """The digest of the observed values that affect a decision."""
    if customer is None:
        return _NO_CUSTOMER
    values = {name: value.value for name, value in customer.metafields.items()}
    consents = {channel: str(consent) for channel, consent in customer.consents.items()}
    seen = customer.model_dump(
        mode="json", exclude={"updated_at", "metafields", "can_delete", "unknown", "moved_to", "consents"}
    )
    return digest({**seen, "unknown": sorted(customer.unknown)}, values, *([consents] if consents else ()))


def withhold_roll_out(decision: Decision, store: Store) -> Decision:
    """Withhold a create, adopt, relink, merge or release where the store has `roll_out: hold`."""
    if store.roll_out == "auto" or decision.action is None:
        return decision
    return withhold(decision, "RollOutHeld", f"{decision.action.kind} {BY_SWITCH}")


def withhold_drift(decision: Decision, store: Store) -> Decision:
    """Withhold the create after a deletion in Shopify where the store has `heal_drift: hold`."""
    if store.heal_drift == "auto" or decision.action is None:
        return decision
    message = f"the customer was deleted in Shopify; {decision.action.kind} is held by `heal_drift: hold`"
    return withhold(decision, "DriftHeld", message)


def withhold(decision: Decision, reason: str, message: str) -> Decision:
    """Replace the decision's action by a hold that carries the action."""
    held = hold(decision.clerk_user_id, decision.customer, reason, message, action=decision.action)
    return without_action(decision, held)


def without_action(decision: Decision, *holds: Hold) -> Decision:
    """Replace the decision's action by these holds."""
    return replace(decision, action=None, holds=(*decision.holds, *holds), status="held")
