"""Normalises or refuses the values of metafields, as Shopify does.

Shopify accepts several spellings of many types and stores one: a time gets an offset and loses fractions of a second, a
number loses superfluous zeros, a unit becomes upper case. Live replies of the Admin API, read 2026-11-29.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from reconciler.simulator.graphql.documents import load_schema
from reconciler.simulator.metafields.json_values import compact, json_words, load_json
from reconciler.simulator.metafields.types import MEASURES, OLD_NAMES, OLD_TEXT
from reconciler.simulator.metafields.units import BELOW_ZERO, long_unit, shown_measure, whole

LIST_MAX: Final = 128
ID_BYTES_MAX: Final = 2048
INTEGER_MAX: Final = 9_007_199_254_740_991
DECIMAL_MAX: Final = 9_999_999_999_999
DECIMAL_PLACES: Final = 9
MONEY_MAX: Final = 1_000_000_000_000_000_000
SCHEMES: Final = ("http", "https", "mailto", "sms", "tel")
BLANK: Final = "Value can't be blank."
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?")
_TIME_WORDS: Final = "Value must be in “YYYY-MM-DDTHH:MM:SS” format. For example: 2022-06-01T15:30:00"
_MONEY_WORDS: Final = (
    "Value must be a stringified JSON object with amount (numeric) and currency_code (string matching the shop's "
    "currency) fields."
)
_GID: Final = re.compile(r"gid://shopify/\w+/\d+")
Exists = Callable[[str], bool]
"""Whether the resource with a gid exists."""


class ValueFaultError(Exception):
    """A refused value: Shopify's message, and the index if it is an element of a list."""

    def __init__(self, message: str, element: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.element = element


def kept_value(type_name: str, value: str, exists: Exists) -> str:
    """The stored spelling of a value. ValueFaultError if it is refused."""
    if not value.strip():
        raise ValueFaultError(BLANK)
    if not type_name.startswith("list."):
        return _kept(type_name, value, exists)
    try:
        elements = load_json(value)
    except ValueError as error:
        raise ValueFaultError(json_words(value, error)) from error
    if not isinstance(elements, list):
        raise ValueFaultError("Value must be an array.")
    if len(elements) > LIST_MAX:
        raise ValueFaultError(f"Value has more than {LIST_MAX} elements.")
    inner = type_name.removeprefix("list.")
    return compact([_element(inner, index, each, exists) for index, each in enumerate(elements)])


def _element(type_name: str, index: int, value: Any, exists: Exists) -> Any:
    """An element of a list as stored: text as text, other values as JSON."""
    try:
        kept = _kept(type_name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), exists)
    except ValueFaultError as fault:
        is_reference = type_name.endswith("_reference")
        raise ValueFaultError(fault.message, None if is_reference else index) from fault
    is_json = type_name in MEASURES or type_name in {"boolean", "number_integer", "rating", "link"}
    return json.loads(kept) if is_json else kept


def _kept(type_name: str, value: str, exists: Exists) -> str:
    name = OLD_NAMES.get(type_name, type_name)
    if name in MEASURES:
        return _measure(name, value)
    if name.endswith("_reference"):
        if not _GID.fullmatch(value) or not exists(value):
            raise ValueFaultError(f"Value references non-existent resource {value}.")
        return value
    read = _READERS.get(name)
    return value if read is None else read(value)


# --- one type each ------------------------------------------------------------------------------------------------


def _id(value: str) -> str:
    if len(value.encode()) > ID_BYTES_MAX:
        raise ValueFaultError(f"Value is too long (maximum is {ID_BYTES_MAX} bytes).")
    return value


def _single_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueFaultError("Value must be a single line text string.")
    return value


def _url(value: str) -> str:
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", value)
    if scheme is None:
        named = json.dumps(list(SCHEMES))
        words = (
            f"Value cannot have an empty scheme (protocol), must include one of the following URL schemes: {named}.'"
        )
        raise ValueFaultError(words)
    if scheme[1].lower() not in SCHEMES:
        raise ValueFaultError(f"Value must be one of the following URL schemes: {', '.join(SCHEMES)}.")
    return value


def _boolean(value: str) -> str:
    text = value.strip().lower()
    if text in {"true", "t", "1"}:
        return "true"
    if text in {"false", "f", "0"}:
        return "false"
    raise ValueFaultError("Value must be true or false.")


def _integer(value: str) -> str:
    found = re.fullmatch(r"(-?\d+)(?:\.0+)?", value.strip())
    if found is None:
        raise ValueFaultError("Value must be an integer.")
    if abs(int(found[1])) > INTEGER_MAX:
        raise ValueFaultError(f"Value can't exceed {INTEGER_MAX}.")
    return str(int(found[1]))


def _decimal(value: str) -> str:
    text = value.strip()
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise ValueFaultError("Value must be a decimal.")
    if abs(Decimal(text)) > DECIMAL_MAX:
        raise ValueFaultError(f"Value can't exceed {DECIMAL_MAX}.")
    whole, point, places = text.partition(".")
    return f"{whole}{point}{places[:DECIMAL_PLACES]}"


def _date(value: str) -> str:
    try:
        return datetime.strptime(value, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a day has no zone
    except ValueError as error:
        raise ValueFaultError("Value must be in YYYY-MM-DD format.") from error


def _date_time(value: str) -> str:
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueFaultError(_TIME_WORDS)
    zone = found[2] or "+00:00"
    if zone == "Z":
        zone = "+00:00"
    if ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    try:
        datetime.fromisoformat(found[1] + zone)
    except ValueError as error:
        raise ValueFaultError(_TIME_WORDS) from error
    return found[1] + zone


def _color(value: str) -> str:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ValueFaultError("Value must be a hex color code.")
    return value


def _json(value: str) -> str:
    try:
        load_json(value)
    except ValueError as error:
        raise ValueFaultError(json_words(value, error)) from error
    return value


def _money(value: str) -> str:
    given = _object(value, _MONEY_WORDS)
    if "amount" not in given or "currency_code" not in given:
        raise ValueFaultError(_MONEY_WORDS)
    if not given["currency_code"]:
        raise ValueFaultError("Value must have a currency code.")
    try:
        amount = Decimal(str(given["amount"]))
    except InvalidOperation as error:
        raise ValueFaultError("Value must have a numeric amount.") from error
    if not amount.is_finite():
        raise ValueFaultError("Value must have a numeric amount.")
    if abs(amount) > MONEY_MAX:
        raise ValueFaultError(f"Value must be within +/-{MONEY_MAX}.")
    currencies: Any = load_schema().type_map["CurrencyCode"]
    if given["currency_code"] not in currencies.values:
        raise ValueFaultError(f"Value contains an invalid currency, {given['currency_code']}.")
    return value


def _rating(value: str) -> str:
    words = "Value must be a stringified JSON object with value, scale_min and scale_max fields."
    given = _object(value, words)
    try:
        low, high, own = (Decimal(str(given[name])) for name in ("scale_min", "scale_max", "value"))
    except (KeyError, InvalidOperation) as error:
        raise ValueFaultError(words) from error
    if not all(each.is_finite() for each in (low, high, own)):
        raise ValueFaultError(words)
    if own > high:
        raise ValueFaultError(f"Value has a maximum of {given['scale_max']}.")
    if own < low:
        raise ValueFaultError(f"Value has a minimum of {given['scale_min']}.")
    return compact({name: str(given[name]) for name in ("scale_min", "scale_max", "value")})


def _link(value: str) -> str:
    words = "Value must be a valid link."
    given = _object(value, words)
    if not given.get("text") or not re.match(r"(https?|mailto|sms|tel):|/", str(given.get("url") or "")):
        raise ValueFaultError(words)
    return value


def _measure(name: str, value: str) -> str:
    words = "Value must be a stringified JSON object with value and unit fields."
    given = _object(value, words)
    number, unit = given.get("value"), str(given.get("unit") or "")
    if not isinstance(number, int | float) or isinstance(number, bool) or (number < 0 and name not in BELOW_ZERO):
        raise ValueFaultError("Value must be a non-negative number.")
    long_name = long_unit(name, unit)
    if long_name is None:
        raise ValueFaultError("Value must be a supported unit.")
    try:
        return compact({"value": float(number), "unit": long_name})
    except OverflowError as error:
        raise ValueFaultError("Value must be a non-negative number.") from error


_READERS: Final[dict[str, Callable[[str], str]]] = {
    "id": _id,
    "single_line_text_field": _single_line,
    OLD_TEXT: _single_line,
    "url": _url,
    "boolean": _boolean,
    "number_integer": _integer,
    "number_decimal": _decimal,
    "date": _date,
    "date_time": _date_time,
    "color": _color,
    "json": _json,
    "rich_text_field": _json,
    "money": _money,
    "rating": _rating,
    "link": _link,
}


# --- JSON ---------------------------------------------------------------------------------------------------------


def _object(value: str, words: str) -> dict[str, Any]:
    try:
        given = load_json(value)
    except ValueError as error:
        raise ValueFaultError(words) from error
    if not isinstance(given, dict):
        raise ValueFaultError(words)
    return given


def json_value(type_name: str, value: str) -> Any:
    """Metafield.jsonValue of a stored value."""
    if type_name == "boolean":
        return True if value == "true" else value  # false is returned as text
    if type_name.startswith("list."):
        inner = type_name.removeprefix("list.")
        elements = load_json(value)
        return [shown_measure(inner, each) for each in elements] if inner in MEASURES else elements
    if type_name in MEASURES:
        given = load_json(value)
        return given | {"value": whole(given["value"])}
    if type_name in {"number_integer", "json", "rating", "money", "link", "rich_text_field"}:
        return load_json(value)
    return value
