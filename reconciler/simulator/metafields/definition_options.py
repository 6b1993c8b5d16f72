"""The validations of metafield definitions: which type allows which, and their valid values.

Live replies of the Admin API, read 2026-11-29.
"""

import json
import re
from typing import Final

from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import user_error
from reconciler.simulator.metafields.types import MEASURES

_RANGE: Final = frozenset({"min", "max"})
_LISTS: Final = frozenset({"list.min", "list.max"})
_OPTIONS: Final = {
    "single_line_text_field": frozenset({"min", "max", "regex", "choices"}),
    "multi_line_text_field": frozenset({"min", "max", "regex"}),
    "id": frozenset({"min", "max", "regex"}),
    "number_integer": _RANGE,
    "number_decimal": frozenset({"min", "max", "max_precision"}),
    "date": _RANGE,
    "date_time": _RANGE,
    "rating": frozenset({"scale_min", "scale_max"}),
    "json": frozenset({"schema"}),
    "url": frozenset({"allowed_domains"}),
    "link": frozenset({"allowed_domains"}),
    "file_reference": frozenset({"file_type_options"}),
    "metaobject_reference": frozenset({"metaobject_definition_id"}),
    "mixed_reference": frozenset({"metaobject_definition_ids"}),
}
_INTEGERS: Final = {
    "single_line_text_field": _RANGE, "multi_line_text_field": _RANGE, "id": _RANGE, "number_integer": _RANGE,
}  # fmt: skip
_COUNTS: Final = _LISTS | {"max_precision"}
_INTEGER: Final = re.compile(r"-?\d+")
_DECIMAL: Final = re.compile(r"-?\d+(\.\d+)?")
TEXT_MAX: Final = 255
Faults = list[tuple[str, str]]
"""Pairs of a message and a code."""


def option_faults(type_name: str, validations: tuple[tuple[str, str], ...]) -> Faults:
    """The errors in the validations of a definition of this type."""
    names = [name for name, _ in validations]
    if len(set(names)) < len(names):
        return [('Validations cannot contain duplicate "name" options.', "DUPLICATE_OPTION")]
    found: Faults = []
    plain = type_name.removeprefix("list.")
    known = _OPTIONS.get(plain, _RANGE if plain in MEASURES else frozenset())
    known |= _LISTS if type_name.startswith("list.") else frozenset()
    for name, value in validations:
        head = f"Validations value for option {name}"
        if name not in known:
            words = f"{head} contains an invalid value: '{name}' isn't supported for {type_name}."
            found.append((words, "INVALID_OPTION"))
        elif wanted := _unmet(plain, name, value):
            found.append((f"{head} must be {wanted}.", "INVALID_OPTION"))
    limits = dict(validations)
    is_range = not found and plain.startswith("number") and {"min", "max"} <= set(limits)
    if is_range and float(limits["min"]) > float(limits["max"]):
        found.append(("Validations contains an invalid value: 'min' must be less than 'max'.", "INVALID_OPTION"))
    if plain == "metaobject_reference" and not limits:
        found.append(("Validations require that you select a metaobject.", "INVALID_OPTION"))
    if plain == "rating" and not {"scale_min", "scale_max"} <= set(limits) and not found:
        found.append(("Validations requires 'scale_min' and 'scale_max'.", "INVALID_OPTION"))
    return found


def _unmet(plain: str, name: str, value: str) -> str | None:
    """The unmet requirement of an option's value, or None."""
    if name in _INTEGERS.get(plain, ()) and not _INTEGER.fullmatch(value):
        return "an integer"
    if plain == "number_decimal" and name in _RANGE and not _DECIMAL.fullmatch(value):
        return "a decimal"
    if name in _COUNTS and not _INTEGER.fullmatch(value):
        return "an integer"
    if plain in MEASURES and not _is_measure(value):
        return "a measurement"
    if name == "regex" and not _is_pattern(value):
        return "a regular expression"
    return "a list" if name in {"choices", "allowed_domains"} and not isinstance(_parsed(value), list) else None


def _parsed(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return None


def _is_measure(value: str) -> bool:
    given = _parsed(value)
    return isinstance(given, dict) and isinstance(given.get("value"), int | float) and bool(given.get("unit"))


def _is_pattern(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True


def validations(given: Json) -> tuple[tuple[str, str], ...]:
    return tuple((each["name"], each["value"]) for each in given.get("validations") or ())


def option_errors(type_name: str, given: Json) -> list[Json]:
    return [
        user_error(("definition", "validations"), message, code)
        for message, code in option_faults(type_name, validations(given))
    ]


def text_errors(given: Json) -> list[Json]:
    """The errors in the name and the description."""
    found = []
    if "name" in given and not (given["name"] or "").strip():
        found.append(user_error(("definition", "name"), "Name can't be blank", "BLANK"))
    for field in ("name", "description"):
        if len(given.get(field) or "") > TEXT_MAX:
            words = f"{field.capitalize()} is too long (maximum is {TEXT_MAX} characters)"
            found.append(user_error(("definition", field), words, "TOO_LONG"))
    return found
