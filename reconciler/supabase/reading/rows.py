"""Converts one row of the app's table to a Profile, from any usual format. Pure.

An unreadable value is a problem of that field, which holds that user; it never ends a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from reconciler.core.fields.readings import EARLIEST, UnreadableError, moment, truth
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import PROFILE_FIELDS, Problem, Profile
from reconciler.outbound.reading import pause_collection

T = TypeVar("T")

LATEST = datetime(2900, 1, 1, tzinfo=UTC)  # 9999-12-31 means "never", as infinity does
_STATUSES = frozenset({"verified", "unverified", "failed", "expired"})


class Misfit:
    """A value in a column of an unsuitable type. `why` says so, and what to do."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


class Endless:
    """A time that has no datetime: infinity, or beyond the year 9999."""


def profile_of(key: str | bytes, values: Mapping[str, Any], *, may_lag: bool = False) -> Profile:
    """The profile of one row. `values` has our field names, including `full_name` if it is mapped.

    The key is bytes if it is not UTF-8, which SQLite allows.
    """
    mapped = set(values) - {"full_name"}
    known: dict[str, Any] = {}
    problems: list[Problem] = []
    for field in PROFILE_FIELDS:
        if field not in values or field == "deleted_at":
            continue
        try:
            known[field] = _read_value(_reader(field), values[field])
        except UnreadableError as error:
            problems.append(Problem(field=field, message=f"{field} {error}"))
    if "full_name" in values:
        mapped |= {"first_name", "last_name"}
        problems += _split_name(values["full_name"], known, problems)
    if "deleted_at" in values:
        try:
            known["deleted"], known["deleted_at"] = _read_value(deletion, values["deleted_at"])
        except UnreadableError as error:
            problems.append(Problem(field="deleted_at", message=f"deleted_at {error}"))
    if isinstance(key, bytes):
        return unusable(key.decode(errors="replace"), mapped, "the key is not in UTF-8")
    if key != key.strip():
        return unusable(key, mapped, "the key has blanks around it")
    known["may_lag"] = may_lag
    return Profile(clerk_user_id=ClerkUserId(key), mapped=frozenset(mapped), problems=tuple(problems), **known)


def unusable(key: str, mapped: set[str] | frozenset[str], message: str) -> Profile:
    """A profile with a problem in every field, so that the user is held."""
    fields = sorted({*mapped, "deleted_at", "clerk_user_id"})
    problems = tuple(Problem(field=field, message=message) for field in fields)
    return Profile(clerk_user_id=ClerkUserId(key), mapped=frozenset(mapped), problems=problems)


def _split_name(value: Any, known: dict[str, Any], problems: list[Problem]) -> list[Problem]:
    """Put the first word and the rest into `known`, if both names are missing or blank. Returns the problems."""
    if any((known.get(field) or "").strip() for field in ("first_name", "last_name")):
        return []
    if any(p.field in {"first_name", "last_name"} for p in problems):
        return []
    try:
        first, _, rest = " ".join((_read_value(text, value) or "").split()).partition(" ")
    except UnreadableError as error:
        return [Problem(field=field, message=f"full_name {error}") for field in ("first_name", "last_name")]
    known["first_name"], known["last_name"] = first or None, rest or None
    return []


def _read_value(read: Callable[[Any], T], value: Any) -> T:
    """Convert the value by `read`. UnreadableError for a value in a column of an unsuitable type."""
    if isinstance(value, Misfit):
        raise UnreadableError(value.why)
    return read(value)


def text(value: Any) -> str | None:
    """Text unchanged. A number is an error: a phone stored as a number has lost its plus and its zeros."""
    if value is None:
        return None
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise UnreadableError(f"is {_kind(value)}, not text")
    if "\0" in value:
        raise UnreadableError("has a zero character in it")
    return value


def email(value: Any) -> str | None:
    """An email. Blanks around it are ignored, blanks in it are an error."""
    address = text(value)
    if address is not None and len(address.split()) > 1:
        raise UnreadableError("has a blank in it")
    return address


def deletion(value: Any) -> tuple[bool, datetime | None]:
    """Whether the row is deleted, and when: from a time or a boolean. UnreadableError for anything else."""
    if not isinstance(value, (datetime, date)):
        try:
            return bool(truth(value)), None
        except UnreadableError:
            pass
    try:
        at = moment(value)
    except UnreadableError as error:
        raise UnreadableError("is neither a time nor yes or no") from error
    if at is not None and not _is_meant(at):
        raise UnreadableError("means no time: map a column that is empty where the user is not deleted")
    return at is not None, at


def verification(value: Any) -> bool | None:
    """Whether an email is verified: yes or no, a time, or the status as Clerk names it."""
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _STATUSES:
        return word == "verified"
    if not isinstance(value, (datetime, date)):
        try:
            return truth(value)
        except UnreadableError:
            pass
    try:
        at = moment(value)
    except UnreadableError:
        at = None
    if at is None or not _is_meant(at):
        raise UnreadableError("is neither yes nor no")
    return True


def _is_meant(at: datetime) -> bool:
    """Whether a time means one; the others are values in place of no time."""
    return EARLIEST <= at < LATEST


def json_object(value: Any) -> Mapping[str, Any] | None:
    """A JSON object, native, as text, or in a JSON string. UnreadableError if it can't be encoded as JSON again."""
    if isinstance(value, dict):
        try:
            value = json.dumps(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise UnreadableError("is no JSON") from error
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise UnreadableError(f"is {_kind(value)}, not a JSON object")
    try:
        with pause_collection():
            found = _decoded(value)
            if "\\u" in value:
                json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate is not a character
    except (ValueError, RecursionError) as error:
        raise UnreadableError("is no JSON") from error
    if found is None:
        return None
    if not isinstance(found, dict):
        raise UnreadableError(f"is {_kind(found)}, not a JSON object")
    if "\\u0000" in value:
        raise UnreadableError("has a zero character in it")
    return found


def _decoded(value: str) -> Any:
    """The value of a JSON text; for an object that was encoded twice by mistake, the object."""
    found = _DECODER.decode(value)
    return _DECODER.decode(found) if isinstance(found, str) and found.lstrip().startswith("{") else found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number beyond all measure")
    return number


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)


def _kind(value: Any) -> str:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "a yes or no"),
        ((int, float, Decimal), "a number"),
        ((bytes, bytearray, memoryview), "binary or not in UTF-8"),
        ((list, tuple, set), "a list"),
        (dict, "a JSON object"),
        ((datetime, date, Endless), "a time"),
        (str, "text"),
    )
    return next((words for type_, words in kinds if isinstance(value, type_)), f"of type {type(value).__name__}")


def _reader(field: str) -> Callable[[Any], Any]:
    return _READERS.get(field, text)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "email": email,
    "email_verified": verification,
    "updated_at": moment,
    "metadata": json_object,
}
