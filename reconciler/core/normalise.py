"""Values as Shopify stores them, so that what we compare is what it would make of our words.

Shopify Admin API 2026-10, read 2026-11-23: blank names and phones become null; white space inside an e-mail is removed and
its case does not count for uniqueness; phones are stored as E.164; tags are trimmed, split at commas, unique ignoring case,
and come back sorted ignoring case. Whether names are trimmed and e-mails folded when stored is not known: comparing here
survives both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Context, Decimal

NAME_MAX = 255
NOTE_MAX = 5000
EMAIL_MAX = 255

# What Shopify accepts, on the strict side: one @, no blanks, a domain of labels with a dot.
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]+@(?:[^\s@.<>()\[\],;:\\\"]+\.)+[^\s@.<>()\[\],;:\\\"]{2,}")
_SPACE = re.compile(r"\s+")


def name(value: str | None) -> str | None:
    """A first or last name: trimmed; blank is None."""
    return (value or "").strip() or None


def note(value: str | None) -> str | None:
    """A note: blank is None; line ends are one character, and blanks at the ends don't count."""
    return (value or "").replace("\r\n", "\n").strip() or None


def locale(value: str | None) -> str | None:
    """A language tag with its usual case: `en_us` is `en-US`."""
    text = (value or "").strip().replace("_", "-")
    if not text:
        return None
    head, *rest = text.split("-")
    return "-".join([head.lower(), *(part.upper() if len(part) == 2 else part.title() for part in rest)])  # noqa: PLR2004


def email(value: str | None) -> str | None:
    """An e-mail as it is written: white space at the ends removed; blank is None."""
    return (value or "").strip() or None


def email_key(value: str | None) -> str | None:
    """What makes two e-mails one: all white space removed, lower case. Plus and dot variants stay different."""
    return _SPACE.sub("", value or "").lower() or None


def email_is_valid(value: str) -> bool:
    """Whether Shopify would take it, as far as its known rules go."""
    return len(value) <= EMAIL_MAX and _EMAIL.fullmatch(value) is not None and ".." not in value


def phone(value: str | None, country: str | None) -> str | None:
    """E.164, or None where blank.

    Raises ValueError for what is no phone number, and for one without a country code where no country is given.
    """
    text = (value or "").strip()
    if not text:
        return None
    import phonenumbers  # noqa: PLC0415  sixty modules, which nobody needs who has no phone to look at

    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException as error:
        if not text.startswith("+") and country is None:
            raise ValueError("it has no country code, and the store names no country") from error
        raise ValueError("it is no phone number") from error
    if not phonenumbers.is_possible_number(number) or number.extension:
        raise ValueError("it is no phone number that Shopify takes")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def phone_key(value: str | None) -> str | None:
    """What makes two stored phones one: digits and plus only."""
    return re.sub(r"[^+\d]", "", value or "") or None


def tags(values: Iterable[str]) -> tuple[str, ...]:
    """Tags as Shopify gives them back: trimmed, split, unique ignoring case (first casing wins), sorted ignoring case."""
    kept: dict[str, str] = {}
    for value in values:
        for part in value.split(","):
            tag = part.strip()
            if tag:
                kept.setdefault(tag.casefold(), tag)
    return tuple(sorted(kept.values(), key=lambda tag: (tag.casefold(), tag)))


def tag_keys(values: Iterable[str]) -> frozenset[str]:
    """The same without their casing, which Shopify may change on its own."""
    return frozenset(tag.casefold() for tag in tags(values))


def metafield(value: str | None, type_: str) -> str | None:
    """A metafield's value in a form that can be compared: JSON by content, numbers by value, the rest trimmed."""
    text = (value or "").strip()
    if not text:
        return None
    if type_ == "json" or type_.startswith("list."):
        try:
            return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        except ValueError:
            return text
    if type_ in {"number_integer", "number_decimal"}:
        try:
            number = Decimal(text).normalize(Context(prec=len(text)))  # a float would make one of two long numbers
        except ArithmeticError:
            return text
        return str(number) if number else "0"
    return text
