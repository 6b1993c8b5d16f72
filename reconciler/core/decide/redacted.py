"""Customers whose personal data was erased in Shopify: nothing is written on them, and no other is made."""

from __future__ import annotations

from reconciler.core.model.action import Hold
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.reasons import hold

IDENTITY = ("email", "phone", "first_name", "last_name")


def is_redacted(customer: Customer) -> bool:
    """Whether the customer has neither e-mail, phone nor name. Only an erasure leaves one so: Shopify refuses any other way.

    What is not shown to us says nothing.
    """
    return all(getattr(customer, field) is None and field not in customer.unknown for field in IDENTITY)


def redacted_hold(user: ClerkUserId, mapping: Mapping | None, customer: Customer | None) -> Hold | None:
    """The hold of a user whose customer was redacted, or was when it was last there; None where it was not.

    The webhook `customers/redact` says the same, but not every app is sent it.
    """
    if customer is not None and is_redacted(customer):
        message = (
            f"{customer.id} has neither name, e-mail nor phone, as Shopify leaves it when personal data was erased: "
            "they are not written again; to begin anew, remove its back-link, then `mappings forget` the user"
        )
        return hold(user, customer, "Erased", message)
    if customer is None and mapping is not None and mapping.status == "held" and mapping.reason == "Erased":
        message = "the customer is gone, and its personal data was erased before; `mappings forget` lifts it"
        return hold(user, mapping, "Erased", message)
    return None
