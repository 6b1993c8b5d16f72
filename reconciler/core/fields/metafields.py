"""Metafield values by type, in a form in which two spellings of one value are equal.

Source: recordings of real shops (Admin API 2025-01 to 2026-04, read 2026-11-29). Shopify adds an offset to times and
drops their fractions, truncates decimals after nine places, writes units in upper case and reorders keys of objects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Context, Decimal
from typing import Final, NoReturn

DECIMAL_PLACES: Final = Decimal("1e-9")
_TRUE: Final = frozenset({"true", "t", "1"})
_FALSE: Final = frozenset({"false", "f", "0"})
_PLACES_PRECISION: Final = 200  # more digits than any number that Shopify takes


def comparable(value: str | None, type_: str) -> str | None:
    """The value in a form for comparison. Blank is None; a value that does not fit its type stays text."""
    text = (value or "").strip()
    if not text:
        return None
    try:
        return _form_of(type_)(text)
    except (ValueError, ArithmeticError, RecursionError):
        return text


def sendable(text: str, type_: str) -> str:
    """The value in the form that Shopify accepts: decimals without an exponent, and a text as JSON where JSON is wanted.

    >>> sendable("1E-7", "number_decimal"), sendable("[0.0000001, 2]", "list.number_decimal"), sendable("gold", "json")
    ('0.0000001', '["0.0000001", "2"]', '"gold"')
    """
    if type_ == "json":
        return text if _is_json(text) else json.dumps(text, ensure_ascii=False)
    try:
        if type_ == "number_decimal":
            return _plain(text) if _has_exponent(text) else text
        content = _parsed(text) if type_ == "list.number_decimal" else None
    except (ValueError, RecursionError):
        return text
    if not isinstance(content, list) or not any(_is_read_with_exponent(each) for each in content):
        return text
    return json.dumps([_plain(each) if isinstance(each, str | Decimal) else each for each in content])


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    """`NaN` and `Infinity` are Python's, and no JSON."""
    raise ValueError(name)


def _is_read_with_exponent(value: object) -> bool:
    """Whether a program that parses this number as a float writes it with an exponent."""
    return _has_exponent(value if isinstance(value, str) else repr(float(value)) if isinstance(value, Decimal) else "")


def _has_exponent(text: str) -> bool:
    return "e" in text.lower()


def _plain(value: str | Decimal) -> str:
    """The number without an exponent; unchanged if it is not a number, or has more digits than Shopify accepts."""
    try:
        number = Decimal(value)
    except ArithmeticError:
        return str(value)
    return f"{number:f}" if number.is_finite() and abs(number.adjusted()) <= _PLACES_PRECISION else str(value)


def _form_of(type_: str) -> Callable[[str], str]:
    element = type_.removeprefix("list.")
    if element != type_:
        return lambda text: _list(text, element)
    return _FORMS.get(type_, _other)


def _list(text: str, element: str) -> str:
    """Each element in the form of its own type, whether it is a JSON string or not."""
    content = _parsed(text)
    if not isinstance(content, list):
        return _written(content)
    parts = (each if isinstance(each, str) else _written(each) for each in content)
    return _written([comparable(part, element) for part in parts])


def _json(text: str) -> str:
    return _written(_parsed(text))


def _decimal(text: str) -> str:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError("no finite number")
    if isinstance(exponent := number.as_tuple().exponent, int) and exponent < -9:  # noqa: PLR2004  Shopify keeps nine places
        number = number.quantize(DECIMAL_PLACES, ROUND_DOWN, Context(prec=_PLACES_PRECISION))
    return _number(number)


def _integer(text: str) -> str:
    return _number(Decimal(text))


def _boolean(text: str) -> str:
    word = text.lower()
    if word in _TRUE or word in _FALSE:
        return "true" if word in _TRUE else "false"
    return text


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text).replace(microsecond=0)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _numbers(text: str) -> str:
    """An object with numbers that may be strings and words in any case: a rating, money, a weight."""
    content = _parsed(text)
    if not isinstance(content, dict):
        return _written(content)
    return _written({key: _by_value(each) for key, each in content.items()})


def _by_value(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value)
    except ArithmeticError:
        return value.upper()


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _other(text: str) -> str:
    """A value of an unlisted type: a measurement (there are some forty types), or text."""
    if text.startswith("{"):
        content = _parsed(text)
        if isinstance(content, dict) and {"value", "unit"} == content.keys():
            return _numbers(text)
    return text


def _parsed(text: str) -> object:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _written(content: object) -> str:
    """JSON without blanks, with sorted keys and normalised numbers."""
    if isinstance(content, Decimal):
        return _number(content)
    if isinstance(content, dict):
        pairs = (f"{json.dumps(key)}:{_written(content[key])}" for key in sorted(content))
        return f"{{{','.join(pairs)}}}"
    if isinstance(content, list):
        return f"[{','.join(_written(each) for each in content)}]"
    return json.dumps(content)


def _number(number: Decimal) -> str:
    """The number by its value; a float would make two long numbers equal."""
    if not number.is_finite():
        return str(number)
    normal = number.normalize(Context(prec=max(1, len(number.as_tuple().digits))))
    return str(normal) if normal else "0"


_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "id": str,
    "single_line_text_field": str,
    "multi_line_text_field": _lines,
    "url": str,
    "date": str,
    "color": str.lower,
    "boolean": _boolean,
    "number_integer": _integer,
    "number_decimal": _decimal,
    "date_time": _moment,
    "json": _json,
    "rich_text_field": _json,
    "link": _json,
    "money": _numbers,
    "rating": _numbers,
    "dimension": _numbers,
    "volume": _numbers,
    "weight": _numbers,
}
