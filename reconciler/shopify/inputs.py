"""Our writes as the variables of Shopify's mutations, the same whether they are sent one by one or as lines of a file.

Never addresses, consent, or a list of tags but at creation: those would overwrite what others wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.store import OWN_FIELDS

THEIR_NAME: Final[Mapping[str, str]] = {
    "email": "email",
    "first_name": "firstName",
    "last_name": "lastName",
    "phone": "phone",
    "locale": "locale",
    "note": "note",
}
assert set(THEIR_NAME) == set(OWN_FIELDS)


def create(backlink: tuple[str, str], user: ClerkUserId, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of customer_set: by back-link, so that it creates the customer and the back-link in one step."""
    namespace, key = backlink
    identifier = {"customId": {"namespace": namespace, "key": key, "value": user}}
    sent = _input({name: value for name, value in fields.items() if name != "tags" and value is not None})
    if fields.get("tags"):
        sent["tags"] = list(fields["tags"])
    return {"identifier": identifier, "input": sent}


def update(customer: CustomerId, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of customer_set: only these fields; None becomes null and clears."""
    return {"identifier": {"id": customer}, "input": _input(fields)}


def tags(customer: CustomerId, names: Sequence[str]) -> dict[str, Any]:
    """Of tags_add and tags_remove."""
    return {"id": customer, "tags": list(names)}


def metafields_set(values: Mapping[CustomerId, Mapping[str, tuple[str, str]]]) -> dict[str, Any]:
    """Of metafields_set: `NAMESPACE.KEY` to (value, type) of each customer."""
    return {
        "metafields": [
            {"ownerId": customer, **_place(name), "value": value, "type": type_}
            for customer, named in values.items()
            for name, (value, type_) in named.items()
        ]
    }


def metafields_delete(customer: CustomerId, names: Sequence[str]) -> dict[str, Any]:
    """Of metafields_delete."""
    return {"metafields": [{"ownerId": customer, **_place(name)} for name in names]}


def _input(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {THEIR_NAME[name]: value for name, value in fields.items()}


def _place(name: str) -> dict[str, str]:
    namespace, _, key = name.rpartition(".")
    return {"namespace": namespace, "key": key}
