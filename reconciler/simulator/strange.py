"""The strange mode: returns every value in another spelling of the same value, if its type has one.

Real shops do this with values that no recording covers. `Habits.strange` is the seed that chooses the spellings. In one shop
a value always has the same spelling. Only the returned value changes; the shop stores and compares the sent one. Values of
type `id` are not changed.
"""

import json
import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final

Choose = Callable[[str, Sequence[str]], str]
"""Chooses one of several spellings of a value."""

_OFFSETS_MIN: Final = (0, 330, -480, 765)
_UNITS: Final[Mapping[str, str]] = {"CENTIMETERS": "cm", "KILOGRAMS": "kg", "MILLILITERS": "ml", "METERS": "m"}
_EAST_ASIAN: Final = 0xFEE0  # offset from an ASCII character to its full-width form


def spelling_of(seed: int | None, kind: str, value: str | None) -> str | None:
    """The value as a shop with this seed returns it. `kind`: a field of a customer, or the type of a metafield."""
    if seed is None or not value:
        return value
    element = kind.removeprefix("list.")
    if element != kind:
        return _list(seed, element, value)
    return _SPELLINGS.get(kind, _text)(partial(_chosen, seed, kind), value)


def spellings_of_tags(seed: int | None, tags: Sequence[str]) -> list[str]:
    """Each tag as it is returned."""
    return [spelling_of(seed, "tag", tag) or tag for tag in tags]


def _chosen(seed: int, kind: str, canonical: str, options: Sequence[str]) -> str:
    return options[zlib.crc32(f"{seed} {kind} {canonical}".encode("utf-8", "surrogatepass")) % len(options)]


def _text(choose: Choose, value: str) -> str:
    """Composed or decomposed, with typographic quotes, as HTML, or with wider blanks."""
    plain = unicodedata.normalize("NFC", value)
    options = (
        unicodedata.normalize("NFD", plain),
        plain.replace("'", "\u2019").replace('"', "\u201d"),
        plain.replace("&", "&amp;").replace("<", "&lt;"),
        plain.replace(" ", "\u00a0"),
        plain[:1].swapcase() + plain[1:],
        f"{plain} ",
    )
    return choose(plain, options)


def _note(choose: Choose, value: str) -> str:
    plain = value.replace("\r\n", "\n")
    return choose(plain, (plain.replace("\n", "\r\n"), f"{plain}\n", f"<p>{plain}</p>", plain.replace("\n", "\u2028")))


def _email(choose: Choose, value: str) -> str:
    local, _, domain = value.partition("@")
    key = value.casefold()
    return choose(key, (key, value.upper(), f"{local.capitalize()}@{domain}", f"mailto:{value}", f"{value}."))


def _phone(choose: Choose, value: str) -> str:
    digits = value.removeprefix("+")
    options = (f"+{digits[:1]} {digits[1:4]} {digits[4:]}", f"00{digits}", f"tel:{value}", f"{value} ", digits)
    return choose(digits, options)


def _locale(choose: Choose, value: str) -> str:
    return choose(value, (value.replace("-", "_"), value.lower(), value.upper(), f"{value}-u-co-standard"))


def _tag(choose: Choose, value: str) -> str:
    key = unicodedata.normalize("NFC", value)
    wide = "".join(chr(ord(c) + _EAST_ASIAN) if "!" <= c <= "~" and c != "," else c for c in key)
    options = (key.upper(), key.title(), f"#{key}", key.replace(" ", "-"), key.replace("-", "\u2011"), wide)
    return choose(key.casefold(), options)


def _boolean(choose: Choose, value: str) -> str:
    truth = value.strip().lower() in {"true", "t", "1", "yes"}
    return choose(str(truth), ("TRUE", "yes", "1", " t ") if truth else ("FALSE", "no", "0", " f "))


def _number(choose: Choose, value: str) -> str:
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        return value
    if not number.is_finite():
        return value
    plain = f"{number:f}"
    whole = plain.rstrip("0").rstrip(".") if "." in plain else plain
    options = (
        f"{whole}.0" if "." not in whole else f"{whole}0",
        f"{number:E}",
        f"\u2212{whole[1:]}" if whole.startswith("-") else f"+{whole}",
    )
    return choose(whole, (*options, whole.replace(".", ",")))


def _moment(choose: Choose, value: str) -> str:
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return value
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    there = [moment.astimezone(timezone(timedelta(minutes=minutes))) for minutes in _OFFSETS_MIN]
    canonical = moment.astimezone(UTC).isoformat()
    epoch = str(int(moment.timestamp()))
    return choose(
        canonical, (*(each.isoformat() for each in there), f"{canonical[:19]}.000Z", epoch, f"{canonical[:19]} UTC")
    )


def _date(choose: Choose, value: str) -> str:
    return choose(value, (f"{value}T00:00:00Z", value.replace("-", ""), value.replace("-", "/")))


def _color(choose: Choose, value: str) -> str:
    key = value.lower()
    return choose(key, (value.upper(), key, f"{key}ff", key.replace("#", "0x")))


def _url(choose: Choose, value: str) -> str:
    return choose(
        value, (f"{value}#", value.replace("https://", "HTTPS://"), value.replace(".com/", ".com:443/"), f"{value} ")
    )


def _json(choose: Choose, value: str) -> str:
    try:
        content = json.loads(value, parse_float=Decimal)
    except ValueError:
        return value
    canonical = json.dumps(content, sort_keys=True, default=str)
    turned = _turned(content)
    options = (
        json.dumps(turned, default=float, ensure_ascii=False, indent=1),
        json.dumps(turned, default=float, ensure_ascii=True),
        json.dumps(_worded(content), default=str, separators=(",", ":")),
    )
    return choose(canonical, options)


def _measure(choose: Choose, value: str) -> str:
    """{"value": 25, "unit": "centimeters"}: another order, another number, another name of the unit."""
    try:
        content = json.loads(value, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return value
    if not isinstance(content, dict):
        return _json(choose, value)
    unit = str(content.get("unit", ""))
    number = content.get("value")
    known = {**content, "value": f"{number:f}"} if isinstance(number, Decimal) else dict(content)
    short = {**known, "unit": _UNITS.get(unit.upper(), unit.title())} if unit else known
    canonical = json.dumps(known, sort_keys=True, default=str).upper()
    return choose(canonical, tuple(json.dumps(_turned(each), default=str) for each in (known, short)))


def _rating(choose: Choose, value: str) -> str:
    """{"value": "3.5", "scale_min": …}: another order, other decimals, or numbers for texts."""
    try:
        content = json.loads(value)
        numbers = {key: Decimal(str(each)) for key, each in content.items()}
    except (ValueError, InvalidOperation, AttributeError):
        return value
    canonical = json.dumps({key: str(each) for key, each in sorted(numbers.items())})
    longer = {key: f"{each:.2f}" if each.is_finite() else str(each) for key, each in numbers.items()}
    return choose(canonical, (json.dumps(_turned(longer)), json.dumps(longer), json.dumps(numbers, default=float)))


def _list(seed: int, element: str, value: str) -> str:
    try:
        content = json.loads(value, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return value
    if not isinstance(content, list):
        return value
    found = []
    for each in content:
        text = each if isinstance(each, str) else json.dumps(each, default=str)
        found.append(spelling_of(seed, element, text.strip('"') if isinstance(each, Decimal) else text))
    return json.dumps(found, ensure_ascii=zlib.crc32(f"{seed} {element}".encode()) % 2 == 0, indent=1)


def _turned(content: Any) -> Any:
    """The value with the keys of every object in another order."""
    if isinstance(content, dict):
        return {key: _turned(content[key]) for key in sorted(content, reverse=True)}
    return [_turned(each) for each in content] if isinstance(content, list) else content


def _worded(content: Any) -> Any:
    """The value with every number as a text."""
    if isinstance(content, dict):
        return {key: _worded(each) for key, each in content.items()}
    if isinstance(content, list):
        return [_worded(each) for each in content]
    return str(content) if isinstance(content, int | Decimal) and not isinstance(content, bool) else content


_SPELLINGS: Final[Mapping[str, Callable[[Choose, str], str]]] = {
    "id": lambda _, value: value,
    "email": _email,
    "phone": _phone,
    "locale": _locale,
    "note": _note,
    "multi_line_text_field": _note,
    "tag": _tag,
    "boolean": _boolean,
    "number_integer": _number,
    "number_decimal": _number,
    "date_time": _moment,
    "date": _date,
    "color": _color,
    "url": _url,
    "json": _json,
    "rich_text_field": _json,
    "link": _json,
    "money": _json,
    "rating": _rating,
    "dimension": _measure,
    "volume": _measure,
    "weight": _measure,
}
