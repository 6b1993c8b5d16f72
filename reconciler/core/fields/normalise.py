"""Values as Shopify stores them, for comparison.

Shopify Admin API 2026-10, read 2026-11-23: blank names and phones become null. White space inside an email is removed,
and its case does not count for uniqueness. Phones are stored as E.164. Tags are trimmed, split at commas, unique
ignoring case, and returned sorted ignoring case. It is unknown whether names are trimmed and emails lower-cased when
stored: the comparison works in both cases.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from reconciler.core.fields import metafields, phones
from reconciler.core.model.scalars import FIELDS, Form

NOTE_MAX = FIELDS["note"].length_max
EMAIL_MAX = FIELDS["email"].length_max
TAGS_MAX = 250

# Somewhat stricter than Shopify: one @, no blanks, a domain of labels with a dot.
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]+@(?:[^\s@.<>()\[\],;:\\\"]+\.)+[^\s@.<>()\[\],;:\\\"]{2,}")
_SPACE = re.compile(r"\s+")
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
)  # invisible, although Unicode classifies them as letters or marks


def name(value: str | None) -> str | None:
    """A first or last name: trimmed; blank is None."""
    return (value or "").strip() or None


def note(value: str | None) -> str | None:
    """A note: trimmed, with line ends of one character; blank is None."""
    return (value or "").replace("\r\n", "\n").strip() or None


def locale(value: str | None) -> str | None:
    """A language tag with its usual case: `en_us` is `en-US`."""
    text = (value or "").strip().replace("_", "-")
    if not text:
        return None
    head, *rest = text.split("-")
    return "-".join([head.lower(), *(part.upper() if len(part) == 2 else part.title() for part in rest)])  # noqa: PLR2004


def email(value: str | None) -> str | None:
    """An email in its own spelling: trimmed; blank is None."""
    return (value or "").strip() or None


def email_key(value: str | None) -> str | None:
    """The key by which two emails are equal: no white space, lower case. Plus and dot variants stay different."""
    return _SPACE.sub("", value or "").lower() or None


def email_is_valid(value: str) -> bool:
    """Whether Shopify accepts the email, as far as its rules are known, and it has no invisible character."""
    known = len(value) <= EMAIL_MAX and _EMAIL.fullmatch(value) is not None and ".." not in value
    return known and unseen_in(value) is None


def unseen_in(value: str) -> str | None:
    """The first invisible or bidirectional character, which makes different emails appear equal; None without one."""
    if value.isascii() and value.isprintable():  # as nearly all are
        return None
    return next((c for c in value if _is_unseen(c)), None)


def _is_unseen(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\u180b" <= character <= "\u180f" or character >= "\U000e0000"
    return is_selector or character in _UNSEEN or unicodedata.category(character) in _UNSEEN_CATEGORIES


def phone(value: str | None, country: str | None) -> str | None:
    """E.164, or None where blank.

    ValueError with the cause, if it is not a phone, or has no country code and no country is given.
    """
    text = (value or "").strip()
    return phones.e164(text, country) if text else None


def phone_key(value: str | None) -> str | None:
    """The key by which two stored phones are equal: digits and plus only."""
    return re.sub(r"[^+\d]", "", value or "") or None


def tags(values: Iterable[str]) -> tuple[str, ...]:
    """Tags as Shopify returns them: trimmed, split, unique ignoring case (the first spelling wins), sorted ignoring
    case.
    """
    return _tags(tuple(values))


def tag_keys(values: Iterable[str]) -> frozenset[str]:
    """The tags in lower case, since Shopify may change their case."""
    return _tag_keys(tuple(values))


@lru_cache(maxsize=1024)  # most users of a store have the same ones
def _tags(values: tuple[str, ...]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for value in values:
        for part in value.split(","):
            tag = part.strip()
            if tag:
                kept.setdefault(tag.casefold(), tag)
    return tuple(sorted(kept.values(), key=lambda tag: (tag.casefold(), tag)))


@lru_cache(maxsize=1024)
def _tag_keys(values: tuple[str, ...]) -> frozenset[str]:
    return frozenset(tag.casefold() for tag in _tags(values))


def metafield(value: str | None, type_: str) -> str | None:
    """A metafield's value in a form that can be compared, by its type; blank is None."""
    return metafields.comparable(value, type_)


def is_same_email(shown: str | None, asked: str) -> bool:
    """Whether these are spellings of one address: another case, another form of its letters, or something around it.

    A shop that ignores accents, dots or plus parts, or answers wrongly, would show one person's customer for another's
    address; so whatever else differs makes another address.
    """
    return shown is not None and _address(shown) == _address(asked)


def other_spellings(email: str) -> tuple[str, ...]:
    """Other spellings of this email that a shop may have: its domain in letters or in ASCII, its accents composed or not."""
    if email.isascii() and "xn--" not in email.lower():  # as nearly all are
        return ()
    local, _, domain = email.rpartition("@")
    labels = [_label(label) for label in unicodedata.normalize("NFKC", domain).lower().split(".")]
    names = (unicodedata.normalize("NFC", local), unicodedata.normalize("NFD", local))
    domains = (".".join(labels), ".".join(map(_ascii_label, labels)))
    found = (f"{name}@{domain}" for name in names for domain in domains)
    return tuple(dict.fromkeys(each for each in found if each.lower() != email.lower() and email_is_valid(each)))


def _ascii_label(label: str) -> str:
    """A label of a domain in ASCII: `münchen` is `xn--mnchen-3ya`."""
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"


def bare_email(value: str | None) -> str | None:
    """An email without what a shop may show around it: `mailto:`, angle brackets, a full stop at the end."""
    text = _SPACE.sub("", value or "")
    return text[7 if text[:7].lower() == "mailto:" else 0 :].removeprefix("<").rstrip(">.") or None


def _address(value: str) -> tuple[str, str]:
    """Local part and domain in one spelling. Not casefold: it makes one of `ß` and `ss`."""
    text = _SPACE.sub("", unicodedata.normalize("NFC", value)).lower()
    local, _, domain = text.removeprefix("mailto:").removeprefix("<").rstrip(">.").rpartition("@")
    return local, ".".join(_label(label) for label in unicodedata.normalize("NFKC", domain).split("."))


def _label(label: str) -> str:
    """A label of a domain in its own letters: `xn--mnchen-3ya` is `münchen`."""
    try:
        return label[4:].encode().decode("punycode") if label.startswith("xn--") else label
    except UnicodeError:
        return label


KEYS: Final[Mapping[Form, Callable[[str | None], str | None]]] = {
    "name": name,
    "note": note,
    "locale": locale,
    "email": email_key,
    "phone": phone_key,
}
"""By form: the function that makes two spellings of one value equal; None where there is no value."""
