"""Customers with personal data erased in Shopify: they are not written, and no new customer is created."""

from __future__ import annotations

from reconciler.core.model.action import Hold
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.reasons import hold
from reconciler.core.model.scalars import IDENTITIES


def is_redacted(customer: Customer) -> bool:
    """Whether the customer has neither email, phone nor name, which Shopify allows only after an erasure.

    False if Shopify did not return one of these fields.
    """
    return all(customer.scalar(field) is None and field not in customer.unknown for field in IDENTITIES)


def redacted_hold(user: ClerkUserId, mapping: Mapping | None, customer: Customer | None) -> Hold | None:
    """The hold of a user with a customer that is redacted, or was before it disappeared; None otherwise.

    The webhook `customers/redact` reports the same, but not every app receives it.
    """
    if customer is not None and is_redacted(customer):
        message = (
            f"{customer.id} has no name, email and phone, because its personal data was erased in Shopify: they are not "
            "written again; to start over, remove its back-link, then `mappings forget` the user"
        )
        return hold(user, customer, "Erased", message)
    if customer is None and mapping is not None and mapping.status == "held" and mapping.reason == "Erased":
        message = "the customer was deleted after its personal data was erased; `mappings forget` ends this hold"
        return hold(user, mapping, "Erased", message)
    return None
