"""Reads the columns of a row that we write, in a form that every driver can read, by our field names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Table

from reconciler.core.decide.profile_rows.merge import StoredRow, Unreadable
from reconciler.core.fields.readings import UnreadableError, from_seconds, moment, truth
from reconciler.supabase.reading.rows import deletion, json_object
from reconciler.supabase.writing.columns import WriteColumn


def select_columns(targets: Mapping[str, WriteColumn], table: Table, *, sqlite_: bool) -> list[ColumnElement[Any]]:
    """The expressions of a SELECT for `stored_row`, in the order of `targets`."""
    return [
        _readable(target, table, sqlite_=sqlite_).label(f"c{place}") for place, target in enumerate(targets.values())
    ]


def stored_row(targets: Mapping[str, WriteColumn], row: Sequence[Any], *, sqlite_: bool) -> StoredRow:
    """The row from the result of such a SELECT."""
    raw = dict(zip(targets, row, strict=True))
    values = {name: raw[name] for name in targets if name not in {"clerk_user_id", "updated_at", "deleted_at"}}
    spelled = False
    if "email_verified" in values:
        values["email_verified"] = _read_or_unreadable(truth, values["email_verified"])
    if "metadata" in values:
        values["metadata"], spelled = _object_of(values["metadata"])
    as_seconds = {name for name, target in targets.items() if not sqlite_ and target.kind in {"time", "local time"}}
    updated = raw.get("updated_at")
    return StoredRow(
        values=values,
        updated_at=_read_or_unreadable(_from_epoch if "updated_at" in as_seconds else moment, updated),
        deleted=_is_deleted(raw.get("deleted_at"), seconds="deleted_at" in as_seconds),
        spelled=spelled,
    )


def _readable(target: WriteColumn, table: Table, *, sqlite_: bool) -> ColumnElement[Any]:
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
    """Whether the row is marked as deleted. An unreadable mark counts, so that no deleted row is overwritten."""
    if seconds:
        return value is not None
    try:
        return deletion(value)[0]
    except UnreadableError:
        return True


def _object_of(value: Any) -> tuple[Any, bool]:
    """The metadata's object, and whether it was encoded twice, as a JSON string."""
    found = _read_or_unreadable(json_object, value)
    return found, isinstance(found, Mapping) and isinstance(value, str) and value.lstrip().startswith('"')


def _read_or_unreadable(reader: Any, value: Any) -> Any:
    try:
        return reader(value)
    except UnreadableError as error:
        return Unreadable(str(error))
