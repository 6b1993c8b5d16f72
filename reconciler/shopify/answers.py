"""What the answer to a write shows of the customer, in our field names: the shop's own spelling of what was sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from reconciler.core.model.ids import CustomerId
from reconciler.ports import Shown
from reconciler.shopify.failures import Path
from reconciler.shopify.shapes import Payload, WrittenCustomer, WrittenMetafield

_OWN_APP: Final = "$app"
_EXPANDED: Final = re.compile(r"app--\d+(?:--(?P<rest>.+))?")
_FIELDS: Final[Mapping[str, str]] = {
    "email": "email",
    "first_name": "firstName",
    "last_name": "lastName",
    "locale": "locale",
    "note": "note",
    "phone": "phone",
}


def shown_of(customer: WrittenCustomer | None, hidden: Collection[Path]) -> Shown:
    """All fields that customerSet shows. `hidden`: paths that may not be shown to us; their null is no value."""
    if customer is None:
        return {}
    unseen = {str(path[-1]) for path in hidden}
    found: dict[str, Any] = {ours: getattr(customer, ours) for ours, theirs in _FIELDS.items() if theirs not in unseen}
    if customer.tags is not None:
        found["tags"] = tuple(customer.tags)
    return found


def tags_of(node: WrittenCustomer | None) -> Shown:
    """All tags that tagsAdd shows."""
    return {"tags": tuple(node.tags)} if node is not None and node.tags is not None else {}


def metafields_of(names: Sequence[tuple[CustomerId, str]], payload: Payload) -> dict[CustomerId, dict[str, Any]]:
    """What metafieldsSet shows for each value, in the order in which they were sent; nothing where that is not clear."""
    found: dict[CustomerId, dict[str, Any]] = {}
    shown = payload.metafields or ()
    if len(shown) != len(names) or not all(_is(name, each) for (_, name), each in zip(names, shown, strict=True)):
        return found
    for (customer, name), each in zip(names, shown, strict=True):
        found.setdefault(customer, {})[f"metafields.{name}"] = each.value
    return found


def metafields_by_owner(payload: Payload) -> dict[CustomerId, Shown]:
    """The same of an answer that names the owners. Namespaces of the app's own are shown expanded; both names count."""
    found: dict[CustomerId, dict[str, Any]] = {}
    for each in payload.metafields or ():
        if each.owner is None:
            continue
        expanded = _EXPANDED.fullmatch(each.namespace)
        own = (f"{_OWN_APP}:{expanded['rest']}" if expanded["rest"] else _OWN_APP) if expanded else each.namespace
        for namespace in {each.namespace, own}:
            found.setdefault(CustomerId(each.owner.id), {})[f"metafields.{namespace}.{each.key}"] = each.value
    return dict(found)


def _is(name: str, shown: WrittenMetafield) -> bool:
    namespace, _, key = name.rpartition(".")
    return key == shown.key and (namespace == shown.namespace or namespace.startswith(_OWN_APP))
