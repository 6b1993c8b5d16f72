"""How a profile table's columns take our values, and what the database's refusals mean. Used by upsert.py only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Boolean, DateTime, Numeric, String
from sqlalchemy import types as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NoSuchTableError, OperationalError, ProgrammingError

from reconciler.errors import ConfigError, PermanentError, ReconcilerError, TemporaryError

Kind = Literal["text", "bool", "number", "time", "local time", "json"]

_DUPLICATE: Final = "23505"
_NULL: Final = "23502"
_NO_CONSTRAINT: Final = "42P10"


@dataclass(frozen=True, slots=True)
class Target:
    """A mapped column as the table has it."""

    name: str
    kind: Kind
    type: sa.TypeEngine[Any]


def cast_value(target: Target, value: Any, sqlite_: bool) -> Any:  # noqa: FBT001  the dialect
    """The value as the column takes it."""
    if value is None:
        return None
    if isinstance(value, bool):
        as_text = "true" if value else "false"
        return value if target.kind == "bool" else int(value) if target.kind == "number" else as_text
    if isinstance(value, datetime):
        return _moment(target, value.astimezone(UTC), sqlite_)
    if isinstance(value, Mapping):
        return dict(value) if target.kind == "json" and not sqlite_ else json.dumps(value, ensure_ascii=False)
    return value


def _moment(target: Target, at: datetime, sqlite_: bool) -> Any:  # noqa: FBT001  the dialect
    if target.kind == "number":
        return round(at.timestamp() * 1000)
    if target.kind == "local time":
        return at.replace(tzinfo=None)
    if target.kind == "time":
        return at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds") if sqlite_ else at
    return at.isoformat(timespec="milliseconds")


def target_of(table: str, ours: str, theirs: str, type_: sa.TypeEngine[Any], *, sqlite_: bool) -> Target:
    kind = _kind_of(type_, sqlite_=sqlite_)
    fits: dict[str, set[Kind]] = {
        "metadata": {"json", "text"},
        "email_verified": {"bool", "number", "text"},
        "updated_at": {"time", "local time", "number", "text"},
        "deleted_at": {"time", "local time", "number", "text", "bool"},
    }
    if kind is None or kind not in fits.get(ours, {"text"}):
        raise ConfigError(
            f"{table}.{theirs} is {type_}: {ours} can't be written into it",
            hint=f"leave profiles.columns.{ours} out, or set clerk.upsert_profiles: false",
        )
    return Target(theirs, kind, _bound_type(kind, type_, sqlite_=sqlite_))


def _kind_of(type_: sa.TypeEngine[Any], *, sqlite_: bool) -> Kind | None:
    if isinstance(type_, Boolean):
        return "bool"
    if isinstance(type_, DateTime):
        return "time" if sqlite_ or type_.timezone else "local time"
    if isinstance(type_, sa.JSON):
        return "json"
    if isinstance(type_, sa.Integer | Numeric):
        return "number"
    if isinstance(type_, sa.Date | sa.Time | sa.LargeBinary | sa.ARRAY | sa.Interval) and not (
        sqlite_ and isinstance(type_, sa.LargeBinary)
    ):
        return None
    return "text"  # citext, enums, uuid and domains too: Postgres reads them from text


def _bound_type(kind: Kind, type_: sa.TypeEngine[Any], *, sqlite_: bool) -> sa.TypeEngine[Any]:
    """The type values are sent as. Text is sent untyped on Postgres, so that it becomes what the column is."""
    if sqlite_:
        return Boolean() if kind == "bool" else BigInteger() if kind == "number" else String()
    if kind == "text":
        return type_ if isinstance(type_, String) and not isinstance(type_, sa.Enum) else sa.NullType()
    return type_


# --- errors -------------------------------------------------------------------------------------------------------


class Duplicate(PermanentError):
    """A unique constraint was hit that the statement does not settle by itself."""


class translated:  # noqa: N801  used as a statement
    """Errors of the database in our words, without statements and values."""

    def __init__(self, table: str) -> None:
        self._table = table

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DBAPIError | NoSuchTableError):
            raise _in_our_words(error, self._table) from error


def _in_our_words(error: DBAPIError | NoSuchTableError, table: str) -> ReconcilerError:
    if isinstance(error, NoSuchTableError):
        return ConfigError(f"there is no table {table}", hint="check profiles.table and profiles.url")
    state = getattr(error.orig, "sqlstate", None) or ""
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    said = str(error.orig)
    if isinstance(error, IntegrityError):
        if state == _DUPLICATE or "UNIQUE constraint failed" in said:
            name = constraint or said.partition("failed: ")[2]
            return Duplicate(
                f"{table} has another row with the same value: {name}",
                hint="a user who was deleted and came back has a new Clerk id; remove or mark the old row",
            )
        column = getattr(getattr(error.orig, "diag", None), "column_name", None) or said.partition("failed: ")[2]
        empty = state == _NULL or "NOT NULL" in said
        why = (
            f"{column} must not be empty, and Clerk has none"
            if empty
            else f"the table refuses it: {constraint or column}"
        )
        return PermanentError(f"the profile row can't be written to {table}: {why}")
    if state == _NO_CONSTRAINT or "ON CONFLICT clause does not match" in said:
        return ConfigError(f"the key of {table} is not unique", hint=f"create a unique index on the key of {table}")
    if state == "42501" or "readonly database" in said:
        return ConfigError(
            f"the database role may not write {table}",
            hint=f"grant select, insert, update on {table}; with RLS, a policy",
        )
    if isinstance(error, DataError):
        return PermanentError(f"the profile row can't be written to {table}: a value does not fit its column ({state})")
    if isinstance(error, OperationalError):
        return TemporaryError(f"the profiles' database does not answer ({state or type(error.orig).__name__})")
    if isinstance(error, ProgrammingError):
        return ConfigError(f"{table} is not what it was ({state})", hint="check profiles.table and profiles.columns")
    return TemporaryError(f"the profiles' database failed ({state or type(error.orig).__name__})")
