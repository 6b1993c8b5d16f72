"""Checks values against a definition's validations.

Live replies of the Admin API, read 2026-11-29. The messages for the number of elements, the places of a decimal,
measurements and domains are not recorded. Not simulated: the schema of a `json`, and a measurement with another unit than
its limit.
"""

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from reconciler.simulator.metafields.types import MEASURES
from reconciler.simulator.metafields.values import ValueFaultError

TEXTS: Final = frozenset({"single_line_text_field", "multi_line_text_field", "id"})
_PARTS: Final[dict[str, Callable[[str], Any]]] = {
    "number_integer": Decimal,
    "number_decimal": Decimal,
    "date": lambda text: text,
    "date_time": lambda text: datetime.fromisoformat(text if "+" in text[10:] else f"{text.rstrip('Z')}+00:00"),
}


def check_limits(type_name: str, value: str, validations: Iterable[tuple[str, str]]) -> None:
    """ValueFaultError if a stored value breaks a validation."""
    limits = dict(validations)
    if type_name.startswith("list."):
        _check_list(type_name.removeprefix("list."), json.loads(value), limits)
    elif type_name in TEXTS:
        _check_text(value, limits)
    elif type_name == "rating":
        _check_scale(json.loads(value), limits)
    elif type_name in _PARTS:
        _check_range(type_name, value, limits)
        _check_places(value, limits)
    elif type_name in MEASURES:
        _check_measure(json.loads(value), limits)
    elif type_name in {"url", "link"} and "allowed_domains" in limits:
        address = value if type_name == "url" else json.loads(value)["url"]
        if urlsplit(address).hostname not in (allowed := json.loads(limits["allowed_domains"])):
            raise ValueFaultError(f"Value must be from one of the following domains: {', '.join(allowed)}.")


def _check_list(inner: str, elements: list[Any], limits: dict[str, str]) -> None:
    _check_count(len(elements), limits)
    for index, each in enumerate(elements):
        try:
            check_limits(inner, each if isinstance(each, str) else json.dumps(each), limits.items())
        except ValueFaultError as fault:
            raise ValueFaultError(fault.message, index) from fault


def _check_scale(given: dict[str, str], limits: dict[str, str]) -> None:
    for name in ("scale_min", "scale_max"):
        if Decimal(limits.get(name, given[name])) != Decimal(given[name]):
            words = "Value min and max on the rating value must be the same as the min and max on the definition."
            raise ValueFaultError(words)


def _check_count(count: int, limits: dict[str, str]) -> None:
    if count > int(limits.get("list.max", count)):
        raise ValueFaultError(f"Value has more than {limits['list.max']} elements.")
    if count < int(limits.get("list.min", count)):
        raise ValueFaultError(f"Value has fewer than {limits['list.min']} elements.")


def _check_places(value: str, limits: dict[str, str]) -> None:
    if "max_precision" in limits and len(value.partition(".")[2]) > int(limits["max_precision"]):
        raise ValueFaultError(f"Value has a maximum precision of {limits['max_precision']}.")


def _check_measure(given: dict[str, Any], limits: dict[str, str]) -> None:
    for name, sign in (("max", 1), ("min", -1)):
        limit = json.loads(limits.get(name, "null"))
        is_same = limit is not None and str(limit["unit"]).upper() == given["unit"]
        if is_same and sign * given["value"] > sign * limit["value"]:
            raise ValueFaultError(f"Value has a {name}imum of {limit['value']} {limit['unit']}.")


def _check_text(value: str, limits: dict[str, str]) -> None:
    if "max" in limits and len(value) > int(limits["max"]):
        raise ValueFaultError(f"Value has a maximum length of {limits['max']}.")
    if "min" in limits and len(value) < int(limits["min"]):
        raise ValueFaultError(f"Value has a minimum length of {limits['min']}.")
    if "regex" in limits and not re.search(limits["regex"], value):
        raise ValueFaultError("Value is not the correct format.")
    if "choices" in limits and value not in (choices := json.loads(limits["choices"])):
        raise ValueFaultError(f"Value does not exist in provided choices: {json.dumps(choices)}.")


def _check_range(type_name: str, value: str, limits: dict[str, str]) -> None:
    read = _PARTS[type_name]
    own = read(value)
    if "max" in limits and own > read(limits["max"]):
        raise ValueFaultError(f"Value has a maximum of {_shown(read(limits['max']))}.")
    if "min" in limits and own < read(limits["min"]):
        raise ValueFaultError(f"Value has a minimum of {_shown(read(limits['min']))}.")


def _shown(limit: Any) -> str:
    return limit.strftime("%Y-%m-%d %H:%M:%S %z") if isinstance(limit, datetime) else str(limit)
