"""Phone numbers as people write them, parsed to E.164. Ambiguous texts are refused rather than guessed.

Shopify accepts phones that can be dialled internationally and refuses letters (live replies of the Admin API, read
2026-11-29). phonenumbers alone accepts too much: it drops letters, words and the `.0` that a spreadsheet adds.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

NOT_A_PHONE: Final = "it is not a phone number"
NOT_TAKEN: Final = "it is not a phone number that Shopify takes"
_NO_COUNTRY: Final = "it has no country code, and the store names no country"
_PLAIN: Final = str.maketrans(  # hyphens, dashes and the full-width forms of the usual separators
    {**dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\uff0d", "-"),
     "\uff0b": "+", "\uff08": "(", "\uff09": ")", "\uff0e": ".", "\uff0f": "/"}
)  # fmt: skip
_SECOND: Final = re.compile(r"\D0\d{6,}\Z")  # a second number after a complete one
_WRITTEN: Final = re.compile(r"\(?\+?[(\d][\d ().\-/]*[\d)]")
_DECIMAL_TAIL: Final = re.compile(r"\+?\d+\.\d{1,2}|\d\.\d{6,}")
_DATE: Final = re.compile(r"(?:19|20)\d\d([-./ ])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])")
_DATE_BACKWARDS: Final = re.compile(r"(?:0?[1-9]|[12]\d|3[01])([-./ ])(?:0?[1-9]|[12]\d|3[01])\1(?:19|20)\d\d")
_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}(?:([ .])\d{3})(?:\1\d{3}){2,}")  # as a spreadsheet shows a long number
_GROUPS: Final = re.compile(r"\d+")
_AREA_DIGITS_MAX: Final = 6  # 0 and five digits before a slash, as in Germany
_COUNTRY_DIGITS_MAX: Final = 3
_AFTER_SLASH_MIN: Final = 4  # fewer are an alternative ending: 1234567/89
_WHOLE_DIGITS_MIN: Final = 6


def e164(text: str, country: str | None) -> str:
    """The number as E.164. `country`: where a number without a country code is dialled.

    ValueError with the cause, if the text is not a phone number, can be dialled locally only, or has no country code
    and is not valid in the country.
    """
    written = _plain(text)
    if written.startswith("+"):
        return _international(written)
    if written.startswith("00"):
        return _international(f"+{written[2:]}")
    return _national(written, country)


def _plain(text: str) -> str:
    """The text with ASCII digits, blanks and hyphens. ValueError if it has other characters."""
    characters = (_digit(c) or (" " if unicodedata.category(c) == "Zs" else c) for c in text.strip())
    plain = "".join(characters).translate(_PLAIN)
    if not _WRITTEN.fullmatch(plain) or any(p.fullmatch(plain) for p in (_DECIMAL_TAIL, _DATE, _DATE_BACKWARDS)):
        raise ValueError(NOT_A_PHONE)
    if _THOUSANDS.fullmatch(plain):
        return re.sub(r"\D", "", plain)
    if plain.count("(") != plain.count(")") or plain.count("(") > 1 or not _is_one_number(plain):
        raise ValueError(NOT_A_PHONE)
    return plain.replace("(+", "+").replace(")", " ").replace("(", " ") if plain.startswith("(+") else plain


def _digit(character: str) -> str:
    """A decimal digit of any script as ASCII; empty for other characters."""
    return str(unicodedata.decimal(character)) if character.isdecimal() else ""


def _is_one_number(plain: str) -> bool:
    """Whether this is a single number: at most one slash, after an area code, and no second number."""
    second = _SECOND.search(plain)
    if second and len(re.sub(r"\D", "", plain[: second.start()])) >= _WHOLE_DIGITS_MIN:
        return False
    is_international = plain.lstrip("(").startswith(("+", "00"))
    if not is_international and sum(len(group) >= _WHOLE_DIGITS_MIN for group in _GROUPS.findall(plain)) > 1:
        return False
    head, slash, tail = plain.partition("/")
    if not slash:
        return True
    before = len(re.sub(r"\D", "", head))
    after = len(re.sub(r"\D", "", tail))
    most = _AREA_DIGITS_MAX + (_COUNTRY_DIGITS_MAX if is_international else 0)
    return "/" not in tail and before <= most and after >= _AFTER_SLASH_MIN


def _international(written: str) -> str:
    import phonenumbers  # noqa: PLC0415  sixty modules, only needed for phones

    number = _parsed(written, None)
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise ValueError(NOT_TAKEN)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _national(written: str, country: str | None) -> str:
    """A number that is valid in the country, or one that only lacks its plus sign.

    Digits that begin with the country's own code and are valid after a plus sign are parsed as international: Germany
    has no fixed length, and `4915112345678` would also be valid as a national number.
    """
    import phonenumbers  # noqa: PLC0415  as above

    if country is None:
        raise ValueError(_NO_COUNTRY)
    number = _parsed(written, country)
    if number.country_code_source == phonenumbers.CountryCodeSource.FROM_NUMBER_WITH_IDD:
        if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
            raise ValueError(NOT_TAKEN)
    else:
        with_plus = _with_plus(written)
        is_own = with_plus is not None and with_plus.country_code == number.country_code
        if with_plus is not None and (is_own or not phonenumbers.is_valid_number(number)):
            number = with_plus
        elif not phonenumbers.is_valid_number(number):
            raise ValueError(f"{NOT_TAKEN}: it is not valid in the store's country")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _with_plus(written: str) -> PhoneNumber | None:
    """The digits as a valid international number; None where they are not valid, or their groups contradict that."""
    import phonenumbers  # noqa: PLC0415  as above

    groups = _GROUPS.findall(written)
    try:
        number = _parsed(f"+{''.join(groups)}", None)
    except ValueError:
        return None
    is_grouped_so = len(groups) == 1 or groups[0] == str(number.country_code)
    return number if is_grouped_so and phonenumbers.is_valid_number(number) else None


def _parsed(written: str, country: str | None) -> PhoneNumber:
    import phonenumbers  # noqa: PLC0415  as above

    try:
        number = phonenumbers.parse(written, country, keep_raw_input=True)
    except phonenumbers.NumberParseException as error:
        raise ValueError(NOT_A_PHONE) from error
    if number.extension:
        raise ValueError(NOT_TAKEN)
    return number
