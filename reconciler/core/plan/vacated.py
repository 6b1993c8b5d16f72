"""Customers that users leave in the same plan in which other users take their values."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.model.action import Action
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import Unique
from reconciler.core.model.store import Store
from reconciler.core.model.view import View


def when_freed(view: View, store: Store, fields: frozenset[Unique]) -> View:
    """The view after other users have given up the values of these fields.

    A value that is removed from its customer is free. A customer that a release keeps in the shop keeps its email: the
    view has it as the customer of a released user, so that the user with the same email adopts it.
    """
    found = replace(
        view,
        by_email=None if "email" in fields else view.by_email,
        by_phone=None if "phone" in fields else view.by_phone,
    )
    customer = view.by_email
    former = view.former(customer) if customer is not None else None
    if "email" not in fields or customer is None or former is None or not _stays(customer, store):
        return found
    released = replace(former, status="released", intent=None)
    formers = {**view.formers, former.clerk_user_id: released}
    return replace(found, by_email=customer, formers=formers)


def is_vacated(action: Action) -> bool:
    """Whether the action adopts the customer of a user who is released earlier in the same plan."""
    return action.former_user is not None and action.former_user in action.waits_for


def _stays(customer: Customer, store: Store) -> bool:
    """Whether a release keeps the customer in the shop."""
    return store.on_leave in {"keep", "tag"} or (store.on_leave == "delete" and customer.can_delete is not True)
