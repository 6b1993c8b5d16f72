"""Translates Shopify's `userErrors` into refusals: our field name, a stable code, and Shopify's message.

customerSet, metafieldsSet, merges and erasures send codes. Tags, deletes and metafieldsDelete do not, and their texts
differ between versions, so a code is derived from text and field (API 2026-01 to 2026-10, read 2026-11-23).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.core.fields.normalise import NOTE_MAX, TAGS_MAX
from reconciler.errors import Refusal, Refused, TemporaryError
from reconciler.outbound.reading import words_of
from reconciler.shopify.api.failures import Sent
from reconciler.shopify.api.scalars import OURS_WRITTEN

OUR_NAME: Final[Mapping[str, str]] = {
    **OURS_WRITTEN,
    "tags": "tags",
    "metafields": "metafields",
    "customId": "backlink",
}
FAILED: Final = "INTERNAL_ERROR"  # Shopify failed at the write: nothing is wrong with what was sent
SAID_MAX: Final = 500  # characters of a message of Shopify in ours
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
    "CUSTOMER_HAS_GIFT_CARDS": "merge the two manually in Shopify, or use up the gift cards first",
    "INVALID_CUSTOMER": "resolve that in Shopify, or set on_email_conflict: relink or hold",
}

# Refused merges. Shopify's texts contain names of people, so only their cause is reported (live replies, read 2026-11-29:
# the code is INVALID_CUSTOMER for every cause, with one error for each of the two customers).
_MERGE_CODES: Final = frozenset({"CUSTOMER_HAS_GIFT_CARDS", "INVALID_CUSTOMER"})
_TOO_MANY_TAGS: Final = "the two together have more than 250 tags"
_TOO_LONG_NOTES: Final = "the notes of the two together are longer than 5,000 characters"
_MERGE_CAUSES: Final[tuple[tuple[str, str], ...]] = (
    (r"tags or (?:less|fewer)|more than \d+ tags|too many tags", _TOO_MANY_TAGS),
    (r"\bnotes? must be|\bnotes? (?:is|are) too long|characters or (?:less|fewer)", _TOO_LONG_NOTES),
    (r"gift card", "one of the two has gift cards"),
    (r"subscription", "one of the two has subscriptions"),
    (r"store credit", "one of the two has store credit"),
    (r"payment method", "one of the two has stored payment methods"),
    (r"company|b2b", "one of the two is a company contact"),
    (r"multipass", "one of the two has a Multipass identifier"),
    (r"merge in progress|being merged|already merging", "one of the two is being merged already"),
    (r"data request|erasure|being erased|pending request", "one of the two has a pending data request"),
    (r"redact", "the data of one of the two was redacted"),
    (r"deleted|no longer exists", "one of the two is deleted"),
)
# The part of an unknown text from its last verb on; a name has capitals.
_PREDICATE: Final = re.compile(
    r".*\s(?P<said>(?:has|have|is|are|was|were|must|needs?)\s+[a-z0-9 ,.%'-]{3,100}?)(?: and can't be merged)?\.?"
)


def write_error(
    sent: Sent, errors: Sequence[Mapping[str, Any]], *, items: Sequence[str] = ()
) -> Refused | TemporaryError:
    """The error of a write, from the userErrors of its payload. `items`: our names of a sent list's items, in order.

    Refused with what is refused. Where nothing is, as Shopify itself failed: AnswerLost, like any other failure of a write.
    """
    refused = refusal_error(errors, items=items)
    reasons = tuple(each for each in refused.refusals if each.code != FAILED)
    if not reasons:
        return sent.no_answer(f"{FAILED}: {refused.refusals[0].message}")
    return Refused(reasons, hint=refused.hint)


def refusal_error(errors: Sequence[Mapping[str, Any]], *, items: Sequence[str] = ()) -> Refused:
    """The Refused error of these userErrors, each cause once. `items`: our names of a sent list's items, in order."""
    refusals = tuple(dict.fromkeys(refusal(error, items=items) for error in errors))
    hints = [HINTS[r.code] for r in refusals if r.code in HINTS]
    return Refused(refusals, hint=hints[0] if hints else "")


def refusal(error: Mapping[str, Any], *, items: Sequence[str] = ()) -> Refusal:
    """The refusal of one userError."""
    message = words_of(error.get("message") or "no reason given", length_max=SAID_MAX)
    path = [words_of(step, length_max=SAID_MAX) for step in error.get("field") or ()]
    code = words_of(_code(error.get("code"), message, path), length_max=SAID_MAX)
    return Refusal(_field(path, items), code, _merge_cause(message) if code in _MERGE_CODES else message)


def merge_reasons(errors: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why a merge is not possible, from its `errorFields`, as the messages may contain names of people."""
    reasons = []
    for error in errors:
        fields = [str(field) for field in error.get("errorFields") or () if field != "OVERRIDE_FIELDS"]
        words = ", ".join(field.replace("_", " ").lower() for field in fields)
        reasons.append(words or _merge_cause(words_of(error.get("message") or "no reason given", length_max=SAID_MAX)))
    return tuple(dict.fromkeys(reasons))


def too_much(blocking: Mapping[str, Any]) -> str:
    """What two customers together have more of than one customer may, from `blockingFields` of a preview."""
    causes = [_TOO_MANY_TAGS] if len(blocking.get("tags") or ()) > TAGS_MAX else []
    causes += [_TOO_LONG_NOTES] if len(blocking.get("note") or "") > NOTE_MAX else []
    return " and ".join(causes) or "the two together have too many tags or too long a note"


def _merge_cause(message: str) -> str:
    """One sentence on the cause of a refused merge, without names of people."""
    plain = message.replace("\u2019", "'")
    for pattern, cause in _MERGE_CAUSES:
        if re.search(pattern, plain, re.IGNORECASE):
            return cause
    predicate = _PREDICATE.fullmatch(plain)
    if predicate is not None:
        return f"one of the two {predicate['said']}"
    return "Shopify can't merge one of the two; its reason contains a name: try the merge in Shopify to see it"


def _code(code: object, message: str, path: Sequence[str]) -> str:
    plain = message.replace("’", "'").lower()
    if (
        "owner does not exist" in plain
    ):  # metafieldsSet sends INVALID_VALUE, but the customer is deleted and the value is valid
        return "NOT_FOUND"
    if plain.startswith("customer not found"):  # consent: INVALID, or no code at all
        return "NOT_FOUND"
    if isinstance(code, str) and code:
        return _SAME.get(code, code)
    for pattern, derived in _BY_TEXT:
        if re.search(pattern, plain):
            return derived
    if path and path[-1] in {"id", "customerId"}:
        return "NOT_FOUND" if "customer" in plain and "delete" not in plain else "INVALID"
    return "INVALID"


def _field(path: Sequence[str], items: Sequence[str]) -> str | None:
    """Our name of the field. In a list, the path has the item's position; `elementIndex` counts inside an item's list."""
    steps = [step for step in path if step not in {"input", "identifier"}]
    if items:
        position = next((int(step) for step in steps if step.isdecimal()), None)
        if position is not None and position < len(items):
            return items[position]
        return items[0] if len(items) == 1 else "metafields"
    return OUR_NAME.get(steps[0]) if steps else None
