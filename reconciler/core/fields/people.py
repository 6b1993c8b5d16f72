"""The names, emails and phones by which people search for a user, in forms that can be compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from reconciler.core.fields import normalise
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import CustomerId
from reconciler.core.model.profile import Profile

_CUSTOMER = re.compile(r"(?:gid://shopify/Customer/|https://[^\s?#]+/customers/)?(\d{1,20})(?:[/?#].*)?")
DIGITS_MIN = 5  # fewer digits are no phone that anyone searches for
LETTERS_MIN = 2
WITHOUT_ACCENT = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
"""Small letters that Unicode does not decompose."""
KEY_LETTERS_MAX = 400  # of what is stored, so that an index can hold it


def full_name(profile: Profile) -> str | None:
    """First and last name; None without either."""
    return " ".join(part.strip() for part in (profile.first_name, profile.last_name) if part and part.strip()) or None


def phone_of(profile: Profile, country: str | None) -> str | None:
    """The phone as E.164; as it is written, where it is no phone."""
    try:
        return normalise.phone(profile.phone, country)
    except ValueError:
        return normalise.name(profile.phone)


def name_key(text: str | None) -> str:
    """The key by which two names are equal: case, Unicode form and white space do not count."""
    return " ".join(unicodedata.normalize("NFKC", text or "").casefold().split())


def without_accents(text: str) -> str:
    """Small letters without their accents, as people write a name with letters that their keyboard lacks."""
    letters = unicodedata.normalize("NFD", text).translate(WITHOUT_ACCENT)
    return unicodedata.normalize("NFC", "".join(c for c in letters if not "\u0300" <= c <= "\u036f"))


def search_key(name: str | None, email: str | None, phone: str | None) -> str | None:
    """What is stored to find a person: a line each for email, phone and name; None where all are empty.

    The name has no accents, except in rows that an earlier version wrote and that have not changed since.
    """
    lines = (normalise.email_key(email) or "", normalise.phone_key(phone) or "", without_accents(name_key(name)))
    return "\n".join(lines)[:KEY_LETTERS_MAX] if any(lines) else None


@frozen
class Sought:
    """What a search for people means: a text, and all that it may be: an email, a customer, phones, words of a name."""

    text: str
    email_key: str | None
    customer: CustomerId | None
    phones: frozenset[str]
    name_words: tuple[str, ...]


def sought(text: str, countries: Collection[str | None]) -> Sought | None:
    """What this text means; None for an empty one. `countries`: where phones without a country code are dialled."""
    word = text.strip()
    if not word:
        return None
    return Sought(word, normalise.email_key(word), customer_in(word), phones_in(word, countries), name_words(word))


def customer_in(word: str) -> CustomerId | None:
    """The customer that a number, a gid or an admin URL names, or None."""
    number = _CUSTOMER.fullmatch(word)
    return CustomerId(f"gid://shopify/Customer/{number.group(1)}") if number is not None else None


def phones_in(word: str, countries: Collection[str | None]) -> frozenset[str]:
    """The phones that this text may be, as E.164: where it has no country code, one for each country."""
    if sum(character.isdecimal() for character in word) < DIGITS_MIN:
        return frozenset()
    found: set[str] = set()
    for country in countries:
        try:
            phone = normalise.phone(word, country)
        except ValueError:
            continue
        found |= {phone} if phone is not None else set()
    return frozenset(found)


def name_words(word: str) -> tuple[str, ...]:
    """The parts of a name that this text has; empty for what is no name, such as a number or an id."""
    text = name_key(word)
    if len(text) < LETTERS_MIN or any(c in "_@/\\" for c in text) or not any(c.isalpha() for c in text):
        return ()
    return tuple(text.split())
