"""Merge Clerk's values into a profile row. Pure.

Two writers share a row: the app, and this program on behalf of Clerk. Each column is merged three ways, from Clerk's
value now, Clerk's value when the row was last written, and the row's value:

* An empty column gets Clerk's value, independent of times.
* A value that Clerk has changed is written. A value that Clerk has not changed stays as the app left it.
* A value that Clerk has removed is cleared, unless the app has set another one.
* `email_verified` belongs to one address, and is written only together with that address.
* Keys of `metadata` are merged one by one, by the same rules.

Times of the row are never compared with Clerk's: they come from another clock, and a trigger may set them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from reconciler.core.fields import normalise
from reconciler.core.model.frozen import frozen
from reconciler.core.model.profile import Profile
from reconciler.core.model.scalars import FIELDS

TEXTS: Final = (*(name for name, field in FIELDS.items() if field.in_clerk), "full_name", "image_url")

Values = Mapping[str, object]


@frozen
class Unreadable:
    """A column that can't be merged: why, without its value."""

    message: str


@frozen
class StoredRow:
    """A row of the profiles table. `values` by our field names, Unreadable where a value can't be parsed.

    `updated_at` is None where there is none, Unreadable where it is not a time. `spelled`: metadata is a JSON string
    that contains the object.
    """

    values: Values
    updated_at: datetime | Unreadable | None = None
    deleted: bool = False
    spelled: bool = False


@frozen
class RowChanges:
    """The new values by our field names; of `metadata` the merged object. `held`: why a part is not written, or None."""

    values: Values
    held: str | None = None


def clerk_values(profile: Profile) -> dict[str, object]:
    """Clerk's values by our field names, for all known fields, without the time of the change."""
    current = {name: getattr(profile, name) or None for name in TEXTS if name != "full_name" and profile.knows(name)}
    if "email" in current:
        current["email_verified"] = bool(profile.email and profile.email_verified)
    if profile.knows("first_name") and profile.knows("last_name"):
        current["full_name"] = " ".join(part for part in (profile.first_name, profile.last_name) if part) or None
    if profile.metadata is not None and profile.knows("metadata"):
        current["metadata"] = dict(profile.metadata)
    return current


def row_changes(
    current: Values, row: Values, last: Values | None, *, tried: Sequence[Values] = (), fill_only: bool = False
) -> RowChanges:
    """The changes to write to this row.

    `current`: the result of `clerk_values`. `row`: the mapped columns, each a value or Unreadable. `last`: the
    `clerk_values` of the last write; None where they are unknown. `tried`: later ones, for writes that may have reached
    the row without being recorded. `fill_only`: only empty columns get a value.
    """
    for earlier in tried:
        last = _with_tried(row, last, earlier, _is_equal)
    values: dict[str, object] = {}
    for name in TEXTS:
        if name in current and name in row:
            values |= _text_change(name, current[name], row[name], last, fill_only=fill_only)
    values |= _flag_change(current, row, values)
    if (
        not (current.get("metadata") or (last or {}).get("metadata"))
        or "metadata" not in row
        or "metadata" not in current
    ):
        return RowChanges(values)
    before = row["metadata"]
    if isinstance(before, Unreadable):
        return RowChanges(values, f"metadata {before.message}: Clerk's metadata is not merged into it")
    known = _object_in(last["metadata"]) if last is not None and last.get("metadata") is not None else None
    there = _object_in(before)
    merged = merged_object(there, _object_in(current["metadata"]), known, fill_only=fill_only)
    return RowChanges(values | ({"metadata": merged} if merged != there else {}))


def _object_in(metadata: object) -> Values:
    """The metadata of a row or of Clerk; empty for none."""
    assert metadata is None or isinstance(metadata, Mapping)
    return metadata or {}


def merged_object(
    before: Values, current: Values, last: Values | None, *, fill_only: bool = False
) -> dict[str, object]:
    """The row's JSON object with Clerk's keys: objects are merged key by key, other values replaced."""
    merged = dict(before)
    for key, value in current.items():
        there = before.get(key)
        said = last.get(key) if last is not None else None
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            known = said if isinstance(said, Mapping) else None
            merged[key] = merged_object(there, value, known, fill_only=fill_only)
        elif there is None:
            merged |= {key: value} if value is not None else {}
        elif not fill_only and (last is None or key not in last or not _is_same(said, value)):
            merged[key] = value
    for key in (last or {}).keys() - current.keys():
        if key in before and _is_same(before[key], (last or {})[key]):
            del merged[key]
    return merged


def _with_tried(
    there: Values, last: Values | None, earlier: Values, is_equal: Callable[[str, object, object], bool]
) -> dict[str, object]:
    """The `last` values, with the earlier ones that an unrecorded write may have set: those that the row holds."""
    found = dict(last or {})
    for key, value in earlier.items():
        held, known = there.get(key), found.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            found[key] = _with_tried(held, known if isinstance(known, Mapping) else None, value, _is_same_member)
        elif key in there and is_equal(key, held, value):
            found[key] = value
    return found


def _is_same_member(_name: str, one: object, other: object) -> bool:
    return _is_same(one, other)


def _is_same(one: object, other: object) -> bool:
    """Whether two JSON values are equal: true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _text_change(
    name: str, current: object, there: object, last: Values | None, *, fill_only: bool
) -> dict[str, object]:
    known = last is not None and name in last
    said = last[name] if last is not None and known else None
    if current is None:
        return {name: None} if said and _is_equal(name, there, said) else {}
    if _is_empty(there):
        return {name: current}
    if _is_equal(name, there, current) or fill_only or (known and said == current):
        return {}
    return {name: current}


def _flag_change(current: Values, row: Values, values: Values) -> dict[str, object]:
    if "email_verified" not in current or "email_verified" not in row:
        return {}
    flag = current["email_verified"]
    if "email" in row:
        address = values.get("email", row["email"])
        if not _is_equal("email", address, current["email"]) or (address is None and "email" not in values):
            return {}
    return {} if row["email_verified"] is flag else {"email_verified": flag}


def _is_equal(name: str, one: object, other: object) -> bool:
    """Whether two values are equal; emails by their keys, since the app may keep capitals that the user typed."""
    if name == "email" and isinstance(one, str) and isinstance(other, str):
        return normalise.email_key(one) == normalise.email_key(other)
    return one == other


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
