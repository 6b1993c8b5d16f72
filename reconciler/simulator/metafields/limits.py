"""Checks values against a definition's validations. Live replies of the Admin API, read 2026-11-29."""

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

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
        inner = type_name.removeprefix("list.")
        for index, each in enumerate(json.loads(value)):
            try:
                check_limits(inner, each if isinstance(each, str) else json.dumps(each), limits.items())
            except ValueFaultError as fault:
                raise ValueFaultError(fault.message, index) from fault
        return
    if type_name in TEXTS:
        _check_text(value, limits)
    elif type_name == "rating":
        given = json.loads(value)
        scale = [limits.get(name, given[name]) for name in ("scale_min", "scale_max")]
        if [Decimal(each) for each in scale] != [Decimal(given[name]) for name in ("scale_min", "scale_max")]:
            words = "Value min and max on the rating value must be the same as the min and max on the definition."
            raise ValueFaultError(words)
    elif type_name in _PARTS:
        _check_range(type_name, value, limits)


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
