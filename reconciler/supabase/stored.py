"""What a row holds in the columns that we write: read in a form that no driver fails at, given by our field names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Table

from reconciler.core.decide.profile_row import StoredRow, Unreadable
from reconciler.supabase.columns import Target
from reconciler.supabase.rows import UnreadableError, deletion, from_seconds, json_object, moment, truth


def reading_of(targets: Mapping[str, Target], table: Table, *, sqlite_: bool) -> list[ColumnElement[Any]]:
    """The expressions of a SELECT for `stored_row`, in the order of `targets`."""
    return [
        _readable(target, table, sqlite_=sqlite_).label(f"c{place}") for place, target in enumerate(targets.values())
    ]


def stored_row(targets: Mapping[str, Target], row: Sequence[Any], *, sqlite_: bool) -> StoredRow:
    """The row that such a SELECT gave."""
    raw = dict(zip(targets, row, strict=True))
    values = {name: raw[name] for name in targets if name not in {"clerk_user_id", "updated_at", "deleted_at"}}
    spelled = False
    if "email_verified" in values:
        values["email_verified"] = _understood(truth, values["email_verified"])
    if "metadata" in values:
        values["metadata"], spelled = _object_of(values["metadata"])
    as_seconds = {name for name, target in targets.items() if not sqlite_ and target.kind in {"time", "local time"}}
    updated = raw.get("updated_at")
    return StoredRow(
        values=values,
        updated_at=_understood(_from_epoch if "updated_at" in as_seconds else moment, updated),
        deleted=_is_deleted(raw.get("deleted_at"), seconds="deleted_at" in as_seconds),
        spelled=spelled,
    )


def _readable(target: Target, table: Table, *, sqlite_: bool) -> ColumnElement[Any]:
    column = table.c[target.name]
    if sqlite_:
        return sa.type_coerce(column, sa.types.NullType())
    if target.kind in {"time", "local time"}:
        return sa.cast(sa.extract("epoch", column), sa.Numeric)
    return sa.cast(column, sa.Text) if target.kind in {"text", "json"} else sa.type_coerce(column, sa.types.NullType())


def _from_epoch(seconds: Decimal | None) -> datetime | None:
    if seconds is None:
        return None
    try:
        return from_seconds(seconds)
    except (ValueError, OverflowError, ArithmeticError) as error:
        raise UnreadableError("is no time") from error


def _is_deleted(value: Any, *, seconds: bool) -> bool:
    """A mark that can't be understood counts: nothing is written over a row that may be a deleted one."""
    if seconds:
        return value is not None
    try:
        return deletion(value)[0]
    except UnreadableError:
        return True


def _object_of(value: Any) -> tuple[Any, bool]:
    """The metadata's object, and whether it was a JSON string that holds it."""
    found = _understood(json_object, value)
    return found, isinstance(found, Mapping) and isinstance(value, str) and value.lstrip().startswith('"')


def _understood(reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except UnreadableError as error:
        return Unreadable(str(error))
