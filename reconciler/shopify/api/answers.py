"""Reads the written values from the responses to writes, by our field names and in the shop's spelling."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from reconciler.core.model.ids import CustomerId
from reconciler.core.model.values import Value
from reconciler.ports import Shown
from reconciler.shopify.api.failures import Path
from reconciler.shopify.api.scalars import OURS_WRITTEN
from reconciler.shopify.api.shapes import Payload, WrittenCustomer, WrittenMetafield

_OWN_APP: Final = "$app"
_EXPANDED: Final = re.compile(r"app--\d+(?:--(?P<rest>.+))?")


def shown_of(customer: WrittenCustomer | None, hidden: Collection[Path]) -> Shown:
    """The fields in customerSet's response. `hidden`: paths that the app may not read; null there is not a value."""
    if customer is None:
        return {}
    unseen = {str(path[-1]) for path in hidden}
    found: dict[str, Value] = {
        ours: getattr(customer, theirs) for theirs, ours in OURS_WRITTEN.items() if theirs not in unseen
    }
    if customer.tags is not None:
        found["tags"] = list(customer.tags)
    return found


def tags_of(node: WrittenCustomer | None) -> Shown:
    """All tags in tagsAdd's response."""
    return {"tags": list(node.tags)} if node is not None and node.tags is not None else {}


def metafields_of(names: Sequence[tuple[CustomerId, str]], payload: Payload) -> dict[CustomerId, dict[str, Value]]:
    """The values in metafieldsSet's response, matched by the order in which they were sent; empty if it does not match."""
    found: dict[CustomerId, dict[str, Value]] = {}
    shown = payload.metafields or ()
    if len(shown) != len(names) or not all(_is(name, each) for (_, name), each in zip(names, shown, strict=True)):
        return found
    for (customer, name), each in zip(names, shown, strict=True):
        found.setdefault(customer, {})[f"metafields.{name}"] = each.value
    return found


def metafields_by_owner(payload: Payload) -> dict[CustomerId, Shown]:
    """The same for a response with owners. The app's own namespaces come expanded; the result has both names."""
    found: dict[CustomerId, dict[str, Value]] = {}
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
