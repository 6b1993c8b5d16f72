"""Reads booleans and times in any usual spelling."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Before it: 0, 1970-01-01, 0001-01-01 and other values in place of no time."""
_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "n", "no", "off"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_TEXT = re.compile(r"-?\d{9,17}(\.\d+)?")
_MS_FROM = 100_000_000_000  # as seconds: the year 5138; as milliseconds: 1973
_US_FROM = 100_000_000_000_000


class UnreadableError(Exception):
    """A value can't be read. The message says why, without the value."""


def truth(value: object) -> bool | None:
    """A boolean. A time (`email_verified_at`) is True."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (datetime, date)):
        return True
    if isinstance(value, (int, float, Decimal)) and value in {0, 1}:
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        if not word:
            return None
    raise UnreadableError("is neither yes nor no")


def moment(value: object) -> datetime | None:
    """A time, aware and in UTC, from ISO 8601 or seconds or milliseconds since 1970; without a zone it is read as UTC."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, str) and not _EPOCH_TEXT.fullmatch(value.strip()):
            return _utc(datetime.fromisoformat(value.strip()))
        if isinstance(value, datetime):
            return _utc(value)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool):
            return since_1970(Decimal(value))
    except (ValueError, OverflowError, ArithmeticError) as error:
        raise UnreadableError("is no time") from error
    raise UnreadableError("is no time")


def lacks_zone(value: object) -> bool:
    """Whether this is a time as text without a zone, which `moment` reads as UTC."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value.strip()).tzinfo is None
    except ValueError:
        return False


def since_1970(number: Decimal) -> datetime:
    """The time of seconds, milliseconds or microseconds, by their size. ValueError or OverflowError if not a time."""
    if not number.is_finite():
        raise ValueError("no finite time")
    size = abs(number)
    seconds = number / (1 if size < _MS_FROM else 1000 if size < _US_FROM else 1_000_000)
    return from_seconds(seconds)


def from_seconds(seconds: Decimal) -> datetime:
    """The time that is these seconds after the start of 1970. ValueError or OverflowError if there is none."""
    if not seconds.is_finite():
        raise ValueError("no finite time")
    return _EPOCH + timedelta(microseconds=int(seconds.scaleb(6)))


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
