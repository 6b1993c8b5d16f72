"""The statement that finds people in the app's table by a part of their name or by their phone.

The table has no index for it: the statement reads rows until enough match, within the limit of time that each has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from reconciler.supabase.reading.table import ProfileTable

NAMES: Final = ("first_name", "last_name", "full_name")
SEPARATORS: Final = " \u00a0-().+/"
TAIL_DIGITS: Final = 7  # the end of a number is the same with and without a country code


def people_named(table: ProfileTable, *, words: Sequence[str], limit: int) -> sa.Select[Any] | None:
    """The rows in which each word is in some name; None if no name is mapped."""
    names = [_text(table, field) for field in NAMES if field in table.columns]
    if not names or not words:
        return None
    found = [sa.or_(*(_has(table, name, word) for name in names)) for word in words]
    return table.select().where(*found).limit(limit)


def people_by_phone(table: ProfileTable, *, phones: Collection[str], limit: int) -> sa.Select[Any] | None:
    """The rows with a phone that ends like one of these; the caller compares whole numbers. None without a column."""
    if "phone" not in table.columns or not phones:
        return None
    digits = _digits(table, _text(table, "phone"))
    tails = sorted({re.sub(r"\D", "", phone)[-TAIL_DIGITS:] for phone in phones})
    return table.select().where(sa.or_(*(digits.like(f"%{tail}") for tail in tails))).limit(limit)


def _text(table: ProfileTable, field: str) -> ColumnElement[str]:
    return sa.cast(table.raw(field), sa.Text)


def _has(table: ProfileTable, name: ColumnElement[str], word: str) -> ColumnElement[bool]:
    """Whether the name contains the word in any case. SQLite knows the case of ASCII only, so it gets each spelling."""
    if table.postgres:
        return name.icontains(word, autoescape=True)
    spellings = dict.fromkeys((word, word.lower(), word.title(), word.upper()))
    return sa.or_(*(name.contains(spelling, autoescape=True) for spelling in spellings))


def _digits(table: ProfileTable, phone: ColumnElement[str]) -> ColumnElement[str]:
    if table.postgres:
        return sa.func.regexp_replace(phone, r"\D", "", "g")
    for separator in SEPARATORS:
        phone = sa.func.replace(phone, separator, "")
    return phone
