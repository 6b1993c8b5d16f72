"""Shopify's `userErrors` in our words: which of our fields, a code that can be relied on, and what Shopify said.

customerSet, metafieldsSet, merges and erasures send codes; tags, deletes and metafieldsDelete do not, and their texts
differ from version to version, so a code is derived from text and field together (API 2026-01 to 2026-10, read 2026-11-23).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.errors import Refusal, Refused

OUR_NAME: Final[Mapping[str, str]] = {
    "email": "email",
    "firstName": "first_name",
    "lastName": "last_name",
    "phone": "phone",
    "locale": "locale",
    "note": "note",
    "tags": "tags",
    "metafields": "metafields",
    "customId": "backlink",
}
_SAME: Final[Mapping[str, str]] = {"DOES_NOT_EXIST": "NOT_FOUND", "INVALID_CUSTOMER_ID": "NOT_FOUND"}
_BY_TEXT: Final[tuple[tuple[str, str], ...]] = (
    (r"already been taken|already exists|must be unique", "TAKEN"),
    (r"associated orders|has orders", "HAS_ORDERS"),
    (r"does ?n[o']t exist|no longer exists|can(?:'t|not) be found|could not be found|not found", "NOT_FOUND"),
    (r"too long|cannot be more than|can't be more than|or less", "TOO_LONG"),
    (r"too short", "TOO_SHORT"),
    (r"must be present|must have a name|can(?:'t|not) be blank|is required", "BLANK"),
    (r"not allowed|not authorized|permission", "NOT_ALLOWED"),
)
HINTS: Final[Mapping[str, str]] = {
    "HAS_ORDERS": "Shopify never deletes a customer with orders: use on_leave: erase, tag or keep",
    "APP_NOT_AUTHORIZED": "the metafield's namespace belongs to another app: choose another one in stores.yaml",
    "CUSTOMER_HAS_GIFT_CARDS": "merge the two by hand in Shopify, or settle the gift cards first",
}

# Shopify names the person in these; we don't.
_NAMELESS: Final[Mapping[str, str]] = {
    "CUSTOMER_HAS_GIFT_CARDS": "one of the two has gift cards",
    "INVALID_CUSTOMER": "one of the two can't be merged",
}


def refused(errors: Sequence[Mapping[str, Any]], *, items: Sequence[str] = ()) -> Refused:
    """The Refused of a payload's userErrors. `items`: our names of what was sent as a list, by position."""
    refusals = tuple(refusal(error, items=items) for error in errors)
    hints = [HINTS[r.code] for r in refusals if r.code in HINTS]
    return Refused(refusals, hint=hints[0] if hints else "")


def refusal(error: Mapping[str, Any], *, items: Sequence[str] = ()) -> Refusal:
    """One userError."""
    message = str(error.get("message") or "no reason given")
    path = [str(step) for step in error.get("field") or ()]
    code = _code(error.get("code"), message, path)
    return Refusal(_field(path, error.get("elementIndex"), items), code, _NAMELESS.get(code, message))


def merge_reasons(errors: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What stands in the way of a merge, from its `errorFields`: the messages may name the person."""
    reasons = []
    for error in errors:
        fields = [str(field) for field in error.get("errorFields") or () if field != "OVERRIDE_FIELDS"]
        words = ", ".join(field.replace("_", " ").lower() for field in fields)
        reasons.append(words or str(error.get("message") or "no reason given"))
    return tuple(dict.fromkeys(reasons))


def _code(code: object, message: str, path: Sequence[str]) -> str:
    plain = message.replace("’", "'").lower()
    if "owner does not exist" in plain:  # metafieldsSet says INVALID_VALUE: the customer is gone, not the value bad
        return "NOT_FOUND"
    if isinstance(code, str) and code:
        return _SAME.get(code, code)
    for pattern, derived in _BY_TEXT:
        if re.search(pattern, plain):
            return derived
    if path and path[-1] in {"id", "customerId"}:
        return "NOT_FOUND" if "customer" in plain and "delete" not in plain else "INVALID"
    return "INVALID"


def _field(path: Sequence[str], index: object, items: Sequence[str]) -> str | None:
    steps = [step for step in path if step not in {"input", "identifier"}]
    if items:
        position = index if isinstance(index, int) else next((int(s) for s in steps if s.isdigit()), None)
        if position is not None and position < len(items):
            return items[position]
        return items[0] if len(items) == 1 else "metafields"
    return OUR_NAME.get(steps[0]) if steps else None
