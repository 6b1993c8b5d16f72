"""Formats values for people, and escapes external text so that no terminal interprets it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

JOINERS = frozenset("\u200c\u200d")  # words of Persian, Hindi and others, and many emoji, need them
WAVE_UNKNOWN = "what its wave will write is not known"
LONGEST = 200  # characters of one value in text; JSON does not shorten it


def clean(text: str) -> str:
    r"""The same text with every invisible character escaped: `\x1b`, `\u202e`, `\n`.

    These are control characters (C0 and C1, so escape sequences too), direction marks, unassigned and private code points,
    and lone surrogates.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _visible(c) else _spelled(c) for c in text)


def sentence(text: str) -> str:
    """An external message on one line: every run of white space becomes one blank, the rest is cleaned."""
    return clean(" ".join(text.split()))


def short_text(text: str, limit: int = LONGEST) -> str:
    """At most `limit` characters, with `…` at the end if the text was longer."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def value_text(value: Any) -> str:
    """One value for people: text unchanged, None as `–`, lists joined by commas."""
    if value is None:
        return "–"
    if value == "":
        return '""'
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(clean(str(item)) for item in value) or "–"
    return short_text(clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)))


def customer_text(customer: str | None) -> str:
    """`customer 7` for `gid://shopify/Customer/7`."""
    return f"customer {clean(customer.rpartition('/')[2])}" if customer else ""


def time_text(at: datetime | None) -> str:
    """`2026-11-23 09:00 UTC`."""
    return "never" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def seconds_text(seconds: float) -> str:
    """`0.4 s`, `25 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:  # noqa: PLR2004  tenths matter below it
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004  two minutes
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"


def count_text(count: int, one: str, many: str = "") -> str:
    """`1 change`, `1,200 changes`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _visible(character: str) -> bool:
    if character in JOINERS:
        return True
    kind = unicodedata.category(character)
    return kind[0] != "C" and kind not in {"Zl", "Zp"}


def _spelled(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if named is not None:
        return named
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004  widths of the escapes
