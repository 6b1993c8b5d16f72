"""Writes: one mutation each, as values. An action is a list of them, sent one by one or as the lines of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from reconciler.core.model.consent import Channel, Consent
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId

CREATED: Final = CustomerId("")
"""In the writes that follow a create: the customer that it makes."""

Fields = Mapping[str, str | Sequence[str] | None]
"""Values by our field names; of tags all of them."""

Metafields = Mapping[str, tuple[str, str]]
"""`NAMESPACE.KEY` to (value, type)."""


@frozen
class Create:
    """Create the customer and its back-link in one idempotent step, keyed by the back-link."""

    user: ClerkUserId
    fields: Fields


@frozen
class Update:
    """Set only these scalar fields; None clears."""

    customer: CustomerId
    fields: Fields


@frozen
class AddTags:
    """Add these tags, and touch no others."""

    customer: CustomerId
    tags: Sequence[str]


@frozen
class RemoveTags:
    """Remove these tags, and touch no others."""

    customer: CustomerId
    tags: Sequence[str]


@frozen
class SetMetafields:
    """Set metafields of one or several customers: all of them, or none."""

    values: Mapping[CustomerId, Metafields]


@frozen
class DeleteMetafields:
    """Delete these metafields (`NAMESPACE.KEY`)."""

    customer: CustomerId
    names: Sequence[str]


@frozen
class SetConsent:
    """Set the marketing consent for the customer's email or phone, which it must have."""

    customer: CustomerId
    channel: Channel
    consent: Consent


@frozen
class Link:
    """Write the back-link where there is none (compare-and-set)."""

    customer: CustomerId
    user: ClerkUserId


@frozen
class Unlink:
    """Remove the back-link."""

    customer: CustomerId


@frozen
class Merge:
    """Merge two customers for good; the one that is left has the email of `keep_email_of`."""

    one: CustomerId
    other: CustomerId
    keep_email_of: CustomerId


@frozen
class Delete:
    """Delete the customer."""

    customer: CustomerId


@frozen
class RequestErasure:
    """Ask Shopify to erase the customer's personal data."""

    customer: CustomerId


Write = (
    Create
    | Update
    | AddTags
    | RemoveTags
    | SetMetafields
    | DeleteMetafields
    | SetConsent
    | Link
    | Unlink
    | Merge
    | Delete
    | RequestErasure
)
