"""What was in a store before its recording began, as far as its replies show it: customers and definitions."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from tests.simulator.replay.recordings import Json, Recording

PLACEHOLDER: Final = re.compile(r"<[a-z-]+-id>")
_PLAIN: Final = {
    "firstName": "first_name", "lastName": "last_name", "email": "email", "phone": "phone", "note": "note",
    "tags": "tags", "locale": "locale", "taxExempt": "tax_exempt", "taxExemptions": "taxExemptions",
}  # fmt: skip
_KEPT: Final = ("address1", "city", "provinceCode", "countryCodeV2", "zip")
_ADDRESS: Final = {"countryCodeV2": "countryCode"}


def facts_of(recording: Recording) -> dict[str, Json]:
    """Per recorded customer what is first said of it, in the words of `staff_create`."""
    found: dict[str, Json] = {}
    for call in recording.calls:
        sets = '"metafields"' in json.dumps(call.variables)
        for shown in _customers(call.reply.get("data")):
            facts = found.setdefault(str(shown["id"]), {})
            for name, value in _shown(shown):
                facts.setdefault(name, () if sets and name == "metafields" else value)
    return found


def _customers(value: Any) -> Iterator[Json]:
    if isinstance(value, list):
        for each in value:
            yield from _customers(each)
    elif isinstance(value, dict):
        if str(value.get("id")).startswith("gid://shopify/Customer/"):
            yield value
        for each in value.values():
            yield from _customers(each)


def _shown(customer: Json) -> Iterator[tuple[str, Any]]:
    for theirs, ours in _PLAIN.items():
        if theirs in customer:
            yield ours, customer[theirs]
    for theirs, inner, ours in (
        ("defaultEmailAddress", "emailAddress", "email"),
        ("defaultPhoneNumber", "phoneNumber", "phone"),
    ):
        if isinstance(customer.get(theirs), dict) and inner in customer[theirs]:
            yield ours, customer[theirs][inner]
    if customer.get("numberOfOrders"):
        yield "orders", customer["numberOfOrders"]
    if customer.get("state") not in {None, "DISABLED"}:
        yield "state", customer["state"]
    metafields = _nodes(customer.get("metafields"))
    if "metafields" in customer and (not metafields or "value" in metafields[0]):
        yield "metafields", metafields
    addresses = _nodes(customer.get("addressesV2"))
    if addresses and {"id", "zip", "countryCodeV2"} <= set(addresses[0]) and all(each["zip"] for each in addresses):
        yield "addresses", [{_ADDRESS.get(name, name): each.get(name) for name in _KEPT} for each in addresses]
        yield "places", [each["id"].partition("?")[0] for each in addresses]


def _nodes(connection: Any) -> list[Json]:
    return list(connection.get("nodes") or ()) if isinstance(connection, dict) else []


def definitions_before(recording: Recording) -> list[tuple[str, Json]]:
    """Metafield definitions that no call of the recording made: id and input, in the order of their ids."""
    found: dict[str, Json] = {}
    made: set[str] = set()
    for call in recording.calls:
        for key, shown in _definitions(call.reply.get("data"), ""):
            identifier = str(shown["id"])
            if key == "createdDefinition":
                made.add(identifier)
            elif {"ownerType", "namespace", "key"} <= set(shown) and identifier not in made:
                names = ("ownerType", "namespace", "key", "name", "description", "pinnedPosition")
                facts = {name: shown.get(name) for name in names}
                if key == "pinnedDefinition" or identifier in found:
                    facts["pinnedPosition"] = None  # The recording itself pins it.
                facts["type"] = (shown.get("type") or {}).get("name", "single_line_text_field")
                known = found.setdefault(identifier, facts)
                known.update({name: value for name, value in facts.items() if known[name] is None})
    return sorted(found.items(), key=lambda item: int(item[0].rpartition("/")[2]))


def _definitions(value: Any, key: str) -> Iterator[tuple[str, Json]]:
    """Every definition in a reply, with the key that it has there."""
    if isinstance(value, list):
        for each in value:
            yield from _definitions(each, key)
    elif isinstance(value, dict):
        if str(value.get("id")).startswith("gid://shopify/MetafieldDefinition/"):
            yield key, value
        for name, each in value.items():
            yield from _definitions(each, name)
