"""Customer: one customer as Shopify shows it, in our names. Knows nothing of users or policies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.ids import CustomerId

TRACE_KEY = "moved_to"  # beside the back-link, on a customer that was left: where its user went


class MetafieldValue(BaseModel):
    """A metafield's value as text, its type, and the digest that Shopify compares on writing."""

    model_config = ConfigDict(frozen=True)

    value: str
    type: str = ""
    digest: str | None = None


class Customer(BaseModel):
    """What was observed. A field named in `unknown` was not shown to us: it is None here and means nothing;
    its value there says what access it needs.

    `metafields` holds those that were asked for and exist, by `NAMESPACE.KEY`; `backlink` is the Clerk user id. `moved_to`
    is the customer to which the user of this one was re-linked; it is read where a customer is looked for by e-mail.
    """

    model_config = ConfigDict(frozen=True)

    id: CustomerId
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    locale: str | None = None
    note: str | None = None
    tags: tuple[str, ...] = ()
    backlink: str | None = None
    moved_to: str | None = None
    metafields: Mapping[str, MetafieldValue] = Field(default_factory=dict)
    can_delete: bool | None = None
    updated_at: datetime | None = None
    unknown: Mapping[str, str] = Field(default_factory=dict)
