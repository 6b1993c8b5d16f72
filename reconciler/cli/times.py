"""Parse durations (`90m`, `2h`, `1d`) and moments (ISO 8601) of the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from reconciler.errors import UsageError

PLAN_MAX_AGE = "24h"  # of a saved plan, by default
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration_of(text: str) -> timedelta:
    """The duration that `text` names, such as `90m`. UsageError for anything else."""
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"'{text}' is not a duration", hint="write 45s, 90m, 2h or 1d")
    try:
        return timedelta(**{_UNITS[found.group(2)]: float(found.group(1))})
    except OverflowError as error:
        raise UsageError(f"'{text}' is too long", hint="write 45s, 90m, 2h or 1d") from error


def moment_of(text: str, now: datetime) -> datetime:
    """The moment that `text` names: a time in the past, or a duration before `now`. A time without a zone is UTC.

    UsageError for anything else. Callers print the moment with its zone, so that the user sees what was assumed.
    """
    moment = _moment_of(text, now)
    if moment > now:
        said = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        raise UsageError(f"'{text}' is {said}, which is in the future", hint="a time without a zone is read as UTC")
    return moment


def _moment_of(text: str, now: datetime) -> datetime:
    try:
        if _LENGTH.fullmatch(text.strip()):
            return now - duration_of(text)
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"'{text}' is not a time", hint="write 2026-11-23T09:00Z, or 90m, 2h, 1d ago") from error
