"""Customer: one customer as Shopify returns it, in our field names. Independent of users and policies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.ids import CustomerId
from reconciler.core.model.scalars import Scalars

TRACE_KEY = "moved_to"  # a metafield next to the back-link: the customer to which a re-link moved the user


class MetafieldValue(BaseModel):
    """A metafield's value as text, its type, and the digest that Shopify compares when it is written."""

    model_config = ConfigDict(frozen=True)

    value: str
    type: str = ""
    digest: str | None = None


class Customer(Scalars):
    """The observed customer.

    `unknown` maps each field that Shopify did not return to the access that it needs; such a field is None here.
    `metafields` holds those that were requested and exist, by `NAMESPACE.KEY`. `backlink` is the Clerk user id.
    `moved_to` is the customer to which the user of this one was re-linked; only a search by email reads it.
    """

    id: CustomerId
    tags: tuple[str, ...] = ()
    backlink: str | None = None
    moved_to: str | None = None
    metafields: Mapping[str, MetafieldValue] = Field(default_factory=dict)
    can_delete: bool | None = None
    updated_at: datetime | None = None
    unknown: Mapping[str, str] = Field(default_factory=dict)
