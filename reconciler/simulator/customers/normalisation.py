"""Normalises values as Shopify does, before they are stored or compared.

Live replies of the Admin API, read 2026-11-23. Where Shopify's behaviour is not known, `Habits` has a switch, so that
clients can be tested with both.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import phonenumbers

_LETTER: Final = re.compile(r"[^\W\d_]")
_SPACE: Final = re.compile(r"\s+")
_EMAIL: Final = re.compile(r"[^@\s]+@(?:[\w-]+\.)+[\w-]{2,}")
_STRICT_TLD: Final = re.compile(r".+\.[^\W\d_]{2,}")
_LOCALE: Final = re.compile(r"[a-zA-Z]{2,3}([-_][a-zA-Z]{4})?([-_]([a-zA-Z]{2}|\d{3}))?")
_EMOJI: Final = re.compile("[\u2600-\u27bf\U0001f000-\U0010ffff]")
URL: Final = re.compile(r"https?://|www\.", re.IGNORECASE)
LOCAL_PART_MAX: Final = 128


@dataclass(slots=True)
class Habits:
    """Switches for behaviour that is not known for certain of Shopify.

    Each may be changed at any time. Those that decide identity (`fold_plus_addresses`, `id_values_case_sensitive`) must be
    changed by `Shop.change_habits` if the shop has customers.
    """

    fold_email_case: bool = False
    """Emails are stored in lower case."""
    fold_plus_addresses: bool = False
    """`a+b@c.d` is the same person as `a@c.d`."""
    trim_names: bool = True
    names_refuse_urls: bool = True
    strict_tld: bool = False
    """Digits and hyphens in the last label, and local parts above 128, are refused (dataSaleOptOut always does)."""
    refused_domains: frozenset[str] = frozenset()
    """Email domains that do not resolve."""
    snap_tag_casing: bool = False
    """A tag gets the casing that the shop already has for it."""
    id_values_case_sensitive: bool = True
    custom_id_adopts_email: bool = False
    """customerSet by an unknown customId writes to the customer with this email, instead of TAKEN."""
    unique_metafield_code: Literal["TAKEN", "CAPABILITY_VIOLATION"] = "TAKEN"
    metafields_bump_updated_at: bool = True
    erasure_wipes_metafields: bool = True
    consent_stays_with_customer: bool = True
    """A consent remains when the email or the phone that it was given for is replaced; False: the new one has none."""
    merge_s: float = 2.0
    """A merge is done after this time, or at the second poll of its job."""
    merge_sends_delete: bool = False
    """A merge also emits customers/delete for the loser."""
    updated_at_whole_days: bool = False
    """`updated_at:` in a search compares only the day."""
    identity_message: str = "A name, phone number, or email address must be present"
    strange: int | None = None
    """The seed of the strange mode: each value is returned in another spelling than it was sent (`strange.py`)."""
    loopback_callbacks: bool = True
    """Webhooks may go to http:// on loopback, which Shopify refuses."""


def email(value: str | None, habits: Habits) -> str | None:
    """The stored form: without white space."""
    text = _SPACE.sub("", value or "")
    return (text.lower() if habits.fold_email_case else text) or None


def email_key(value: str, habits: Habits) -> str:
    """The key by which emails are compared."""
    key = _SPACE.sub("", value).lower()
    if habits.fold_plus_addresses:
        local, at, domain = key.partition("@")
        key = local.partition("+")[0] + at + domain
    return key


def email_is_valid(value: str) -> bool:
    return _EMAIL.fullmatch(value) is not None and ".." not in value


def email_is_strictly_valid(value: str) -> bool:
    """The form that dataSaleOptOut requires."""
    local, _, domain = value.partition("@")
    dots = local.startswith(".") or local.endswith(".") or has_emoji(local)
    hyphens = any(label.startswith("-") or label.endswith("-") for label in domain.split("."))
    if dots or hyphens or len(local) > LOCAL_PART_MAX:
        return False
    return email_is_valid(value) and _STRICT_TLD.fullmatch(domain) is not None


def name(value: str | None, habits: Habits) -> str | None:
    if value is None or not value.strip():
        return None
    return value.strip() if habits.trim_names else value


@lru_cache(maxsize=65_536)
def phone(value: str, country: str) -> str | None:
    """E.164, or None if it is not a phone number. A number without `+` is read with the country's prefix.

    Letters and local-only numbers are refused.
    """
    if _LETTER.search(value):
        return None
    try:
        number = phonenumbers.parse(value, country)
    except phonenumbers.NumberParseException:
        return None
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE or number.extension:
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


@lru_cache(maxsize=65_536)
def address_phone(value: str, country: str) -> str:
    """The phone of an address: E.164 if possible, otherwise unchanged."""
    try:
        number = phonenumbers.parse(value, country)
    except phonenumbers.NumberParseException:
        return value
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


@lru_cache(maxsize=65_536)
def phone_as_name(e164: str) -> str:
    """A phone as a display name: with blanks and hyphens."""
    number = phonenumbers.parse(e164, None)
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL))


def split_tags(values: Iterable[str]) -> list[str]:
    """Tags split at commas and trimmed, without empty ones, in the given order."""
    return [tag for value in values for part in value.split(",") if (tag := part.strip())]


def tags(values: Iterable[str]) -> tuple[str, ...]:
    """Tags without duplicates and sorted, both ignoring case; the first casing wins."""
    kept: dict[str, str] = {}
    for tag in split_tags(values):
        kept.setdefault(tag.casefold(), tag)
    return tuple(kept[key] for key in sorted(kept))


def locale_is_valid(value: str) -> bool:
    return _LOCALE.fullmatch(value) is not None


def id_key(value: str, habits: Habits) -> str:
    """The key by which values of an `id` metafield are compared."""
    return value if habits.id_values_case_sensitive else value.casefold()


def has_emoji(text: str) -> bool:
    return _EMOJI.search(text) is not None
