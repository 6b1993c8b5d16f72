"""Which columns of a profile row change by what Clerk says of the user. Pure.

Two writers share a row: the app, and this program on behalf of Clerk. Each column is merged three ways, from what Clerk
says now, what Clerk said when the row was written last, and what the row holds:

* An empty column gets Clerk's value, whatever the times say.
* A value that Clerk has changed since is written. One that Clerk has not changed stays as the app left it.
* A value that Clerk has removed is cleared, unless the app has put another one there.
* `email_verified` is Clerk's word on one address: it is written only beside that address.
* Keys of `metadata` are merged by the same rules, one by one.

Times of the row are never compared with Clerk's: the row's clock is another one, and a trigger may set it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from reconciler.core.fields import normalise
from reconciler.core.model.profile import Profile

TEXTS: Final = ("email", "first_name", "last_name", "full_name", "phone", "image_url", "locale")

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a column holds and can't be merged with, in words and without the value."""

    message: str


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it is. `values` by our field names, Unreadable where a value can't be understood.

    `updated_at` is None where there is none, Unreadable where it is no time. `spelled`: metadata is a JSON string that
    holds the object.
    """

    values: Values
    updated_at: datetime | Unreadable | None = None
    deleted: bool = False
    spelled: bool = False


@dataclass(frozen=True, slots=True)
class RowChanges:
    """The new values by our field names; of `metadata` the merged object. `held`: why a part is left as it is, or None."""

    values: Values
    held: str | None = None


def clerk_values(profile: Profile) -> dict[str, Any]:
    """Clerk's values by our field names, for all that the profile knows; the time of the change is not among them."""
    told = {name: getattr(profile, name) or None for name in TEXTS if name != "full_name" and profile.knows(name)}
    if "email" in told:
        told["email_verified"] = bool(profile.email and profile.email_verified)
    if profile.knows("first_name") and profile.knows("last_name"):
        told["full_name"] = " ".join(part for part in (profile.first_name, profile.last_name) if part) or None
    if profile.metadata is not None and profile.knows("metadata"):
        told["metadata"] = dict(profile.metadata)
    return told


def row_changes(
    told: Values, row: Values, last: Values | None, *, tried: Sequence[Values] = (), fill_only: bool = False
) -> RowChanges:
    """What is to be written over this row.

    `row`: what the mapped columns hold, or Unreadable. `last`: what `clerk_values` gave when the row was last written; None
    where that is not known. `tried`: what it gave since then, for writes that may have reached the row without being
    recorded. `fill_only`: only empty columns take a value.
    """
    for earlier in tried:
        last = _with_tried(row, last, earlier)
    values: dict[str, Any] = {}
    for name in TEXTS:
        if name in told and name in row:
            values |= _text_change(name, told[name], row[name], last, fill_only=fill_only)
    values |= _flag_change(told, row, values)
    if not (told.get("metadata") or (last or {}).get("metadata")) or "metadata" not in row or "metadata" not in told:
        return RowChanges(values)
    before = row["metadata"]
    if isinstance(before, Unreadable):
        return RowChanges(values, f"metadata {before.message}: Clerk's metadata is not merged into it")
    known = last.get("metadata") if last is not None else None
    merged = merged_object(before or {}, told["metadata"], known, fill_only=fill_only)
    return RowChanges(values | ({"metadata": merged} if merged != (before or {}) else {}))


def merged_object(before: Values, told: Values, last: Values | None, *, fill_only: bool = False) -> dict[str, Any]:
    """The row's object with Clerk's keys: objects are merged key by key, other values whole."""
    merged = dict(before)
    for key, value in told.items():
        there = before.get(key)
        said = last.get(key) if last is not None else None
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            known = said if isinstance(said, Mapping) else None
            merged[key] = merged_object(there, value, known, fill_only=fill_only)
        elif there is None:
            merged |= {key: value} if value is not None else {}
        elif not fill_only and (last is None or key not in last or not _is_same(said, value)):
            merged[key] = value
    for key in (last or {}).keys() - told.keys():
        if key in before and _is_same(before[key], (last or {})[key]):
            del merged[key]
    return merged


def _with_tried(row: Values, last: Values | None, earlier: Values) -> Values | None:
    """What Clerk said when the row was last written, where the row holds what an unrecorded write may have put there."""
    found = {
        name: value for name, value in earlier.items() if value is not None and _is_equal(name, row.get(name), value)
    }
    there, known, value = row.get("metadata"), (last or {}).get("metadata"), earlier.get("metadata")
    if isinstance(there, Mapping) and isinstance(value, Mapping):
        merged = _object_with_tried(there, known if isinstance(known, Mapping) else {}, value)
        found["metadata"] = merged
    return {**(last or {}), **found} if found else last


def _object_with_tried(there: Values, last: Values, earlier: Values) -> dict[str, Any]:
    """The same for the members of an object."""
    found = dict(last)
    for key, value in earlier.items():
        held, known = there.get(key), last.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            found[key] = _object_with_tried(held, known if isinstance(known, Mapping) else {}, value)
        elif key in there and _is_same(held, value):
            found[key] = value
    return found


def _is_same(one: object, other: object) -> bool:
    """Equal as JSON is: true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _text_change(name: str, told: Any, there: Any, last: Values | None, *, fill_only: bool) -> dict[str, Any]:
    known = last is not None and name in last
    said = last[name] if last is not None and known else None
    if told is None:
        return {name: None} if said and _is_equal(name, there, said) else {}
    if _is_empty(there):
        return {name: told}
    if _is_equal(name, there, told) or fill_only or (known and said == told):
        return {}
    return {name: told}


def _flag_change(told: Values, row: Values, values: Values) -> dict[str, Any]:
    if "email_verified" not in told or "email_verified" not in row:
        return {}
    flag = told["email_verified"]
    if "email" in row:
        address = values.get("email", row["email"])
        if not _is_equal("email", address, told["email"]) or (address is None and "email" not in values):
            return {}
    return {} if row["email_verified"] is flag else {"email_verified": flag}


def _is_equal(name: str, one: object, other: object) -> bool:
    """E-mails are equal in any spelling: the app may have kept the capitals that the user typed."""
    if name == "email" and isinstance(one, str) and isinstance(other, str):
        return normalise.email_key(one) == normalise.email_key(other)
    return one == other


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
