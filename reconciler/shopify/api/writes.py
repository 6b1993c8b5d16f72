"""The table from writes to mutations, for single calls and for lines of a bulk file.

Never addresses, and a list of tags only at creation: these would overwrite what others wrote. Consent has mutations of its
own, which change nothing else: customerSet has no input for it, and customerUpdate refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.core.model.consent import Channel, Consent, field_of, utc_text
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.scalars import FIELDS
from reconciler.core.model.write import (
    AddTags,
    Create,
    Delete,
    DeleteMetafields,
    Fields,
    Link,
    Merge,
    RemoveTags,
    RequestErasure,
    SetConsent,
    SetMetafields,
    Unlink,
    Update,
    Write,
)

BULK_DOCUMENTS: Final[Mapping[str, str]] = {
    "customers": "customer_set",
    "add_tags": "tags_add",
    "remove_tags": "tags_remove",
    "set_metafields": "bulk_metafields_set",
    "delete_metafields": "metafields_delete",
}
"""The mutation of a file's lines, by ports.FILE_KINDS; the one of metafields returns their owners."""


@frozen
class Mutation:
    """A document's name and its variables. `items`: our names of a sent list's items; a refusal has an item's index."""

    document: str
    variables: dict[str, Any]
    items: Sequence[str] = ()


def mutation_of(write: Write, backlink: tuple[str, str]) -> Mutation:  # noqa: C901  a table
    """The mutation of one write. `backlink`: namespace and key of the metafield that holds the Clerk user id."""
    match write:
        case Create(user, fields):
            return Mutation("customer_set", _create(backlink, user, fields))
        case Update(customer, fields):
            return Mutation("customer_set", {"identifier": {"id": customer}, "input": _input(fields)})
        case AddTags(customer, tags):
            return Mutation("tags_add", {"id": customer, "tags": list(tags)})
        case RemoveTags(customer, tags):
            return Mutation("tags_remove", {"id": customer, "tags": list(tags)})
        case SetMetafields(values):
            sets = [
                {"ownerId": customer, **_place(name), "value": value, "type": type_}
                for customer, named in values.items()
                for name, (value, type_) in named.items()
            ]
            return _metafields("metafields_set", sets, [name for named in values.values() for name in named])
        case DeleteMetafields(customer, names):
            return _metafields("metafields_delete", [{"ownerId": customer, **_place(name)} for name in names], names)
        case SetConsent(customer, channel, consent):
            return _set_consent(customer, channel, consent)
        case Link(customer, user):
            absent = {"value": user, "type": "id", "compareDigest": None}  # only if it has none
            item = {"ownerId": customer, **_key(backlink), **absent}
            return Mutation("metafields_set", {"metafields": [item]}, ("backlink",))
        case Unlink(customer):
            item = {"ownerId": customer, **_key(backlink)}
            return Mutation("metafields_delete", {"metafields": [item]}, ("backlink",))
        case Merge(one, other, keep_email_of):
            return Mutation("customer_merge", {"one": one, "other": other, "keep": keep_email_of})
        case Delete(customer):
            return Mutation("customer_delete", {"id": customer})
        case RequestErasure(customer):
            return Mutation("customer_request_data_erasure", {"id": customer})


def _create(backlink: tuple[str, str], user: ClerkUserId, fields: Fields) -> dict[str, Any]:
    """The variables of a creation. The back-link is the key, so one step creates the customer and the back-link."""
    identifier = {"customId": {**_key(backlink), "value": user}}
    sent = _input({name: value for name, value in fields.items() if name != "tags" and value is not None})
    if fields.get("tags"):
        sent["tags"] = list(fields["tags"] or ())
    return {"identifier": identifier, "input": sent}


def _set_consent(customer: CustomerId, channel: Channel, consent: Consent) -> Mutation:
    """The consent with its time. Without one, Shopify takes the time at which it gets the call."""
    sent = {"marketingState": consent.state, "marketingOptInLevel": consent.level}
    if consent.at is not None:
        sent["consentUpdatedAt"] = utc_text(consent.at)
    given = {"customerId": customer, f"{channel}MarketingConsent": sent}
    return Mutation(f"customer_{channel}_consent", {"input": given}, (field_of(channel),))


def _input(fields: Fields) -> dict[str, Any]:
    """The fields with Shopify's names; None becomes null and clears the field."""
    return {FIELDS[name].shopify: value for name, value in fields.items()}


def _metafields(document: str, items: list[dict[str, str]], names: Sequence[str]) -> Mutation:
    return Mutation(document, {"metafields": items}, [f"metafields.{name}" for name in names])


def _place(name: str) -> dict[str, str]:
    namespace, _, key = name.rpartition(".")
    return {"namespace": namespace, "key": key}


def _key(backlink: tuple[str, str]) -> dict[str, str]:
    return {"namespace": backlink[0], "key": backlink[1]}
