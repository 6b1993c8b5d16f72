"""Customer: one customer as Shopify returns it, in our field names. Independent of users and policies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Self, TypedDict, Unpack

from pydantic import Field

from reconciler.core.model.consent import Channel, Consent
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.scalars import FIELDS, Scalars

TRACE_KEY = "moved_to"  # a metafield next to the back-link: the customer to which a re-link moved the user


@frozen(kw_only=True)
class MetafieldValue:
    """A metafield's value as text, its type, and the digest that Shopify compares when it is written."""

    value: str
    type: str = ""
    digest: str | None = None


class CustomerChange(TypedDict, total=False):
    """Values of a customer that may change, beside the scalar fields."""

    tags: tuple[str, ...]
    backlink: str | None
    can_delete: bool | None
    metafields: Mapping[str, MetafieldValue]
    unknown: Mapping[str, str]
    consents: Mapping[Channel, Consent]


NO_SCALARS: Final[Mapping[str, str | None]] = {}


class Customer(Scalars):
    """The observed customer.

    `unknown` maps each field that Shopify did not return to the access that it needs; such a field is None here.
    `metafields` holds those that were requested and exist, by `NAMESPACE.KEY`. `backlink` is the Clerk user id.
    `moved_to` is the customer to which the user of this one was re-linked; only a search by email reads it.
    `consents` holds those that a store manages, for the email and the phone that the customer has.
    """

    id: CustomerId
    tags: tuple[str, ...] = ()
    backlink: str | None = None
    moved_to: str | None = None
    metafields: Mapping[str, MetafieldValue] = Field(default_factory=dict)
    can_delete: bool | None = None
    updated_at: datetime | None = None
    unknown: Mapping[str, str] = Field(default_factory=dict)
    consents: Mapping[Channel, Consent] = Field(default_factory=dict)

    def changed(self, scalars: Mapping[str, str | None] = NO_SCALARS, **values: Unpack[CustomerChange]) -> Self:
        """The customer with these scalar fields, by name, and these other values."""
        assert scalars.keys() <= FIELDS.keys()
        return self.model_copy(update={**scalars, **values})
