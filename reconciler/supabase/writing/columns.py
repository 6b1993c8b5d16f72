"""Converts our values to those of a profile table's columns, and the database's refusals to our errors, for upsert.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Boolean, DateTime, Numeric, String, TextClause
from sqlalchemy import types as sa
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchTableError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from reconciler.core.model.frozen import frozen
from reconciler.errors import ConfigError, PermanentError, ReconcilerError, TemporaryError
from reconciler.outbound.databases.refusals import db_refusal, telling_line

Kind = Literal["text", "bool", "number", "time", "local time", "json"]


@frozen
class WriteColumn:
    """A mapped column of the table. `emptied`: its default if it may not be null."""

    name: str
    kind: Kind
    type: sa.TypeEngine[Any]
    emptied: TextClause | None = None


def cast_value(target: WriteColumn, value: Any, sqlite_: bool) -> Any:  # noqa: FBT001  the dialect
    """The value in the column's type."""
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


def _moment(target: WriteColumn, at: datetime, sqlite_: bool) -> Any:  # noqa: FBT001  the dialect
    if target.kind == "number":
        return round(at.timestamp() * 1000)
    if target.kind == "local time":
        return at.replace(tzinfo=None)
    if target.kind == "time":
        return at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds") if sqlite_ else at
    return at.isoformat(timespec="milliseconds")


def write_column(table: str, ours: str, theirs: str, type_: sa.TypeEngine[Any], *, sqlite_: bool) -> WriteColumn:
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
            hint=f"remove profiles.columns.{ours}, or set clerk.upsert_profiles: false",
        )
    return WriteColumn(theirs, kind, _bound_type(kind, type_, sqlite_=sqlite_))


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
    """The type in which values are sent. Postgres gets text untyped, so that it converts it to the column's type."""
    if sqlite_:
        return Boolean() if kind == "bool" else BigInteger() if kind == "number" else String()
    if kind == "text":
        return type_ if isinstance(type_, String) and not isinstance(type_, sa.Enum) else sa.NullType()
    return type_


# --- errors -------------------------------------------------------------------------------------------------------

_DUPLICATE: Final = "23505"
_NULL: Final = "23502"
_NO_CONSTRAINT: Final = "42P10"
_READ_ONLY: Final = "25006"  # a standby, or a full disk at Supabase
_AWAY: Final = ("08", "40", "53", "57", "58", "XX", "25P", "55P", "55006", _READ_ONLY)  # temporary errors
_BUSY: Final = ("55P03", "57014")
_FREE: Final = "a migration or a long transaction of the app holds a lock: try again when it has ended"
_SPELLED: Final = {
    "22001": "a value is too long for its column",
    "22P02": "a value is not valid for the type of its column",
    "23503": "a row that it must reference is missing",
    "23514": "a check refuses it",
    "23P01": "an exclusion constraint refuses it",
    "44000": "the view's check option refuses it",
}


class Duplicate(PermanentError):
    """Another row has the same value in a unique column."""


class translate_write_errors:  # noqa: N801  used as a statement
    """Translates the database's errors into ours, without statements and values.

    PermanentError: this row is refused. ConfigError: every row is. TemporaryError: a retry may succeed.
    """

    def __init__(self, table: str) -> None:
        self._table = table

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, SQLAlchemyError):
            raise _in_our_words(error, self._table) from error


def _in_our_words(error: SQLAlchemyError, table: str) -> ReconcilerError:
    if isinstance(error, NoSuchTableError):
        return ConfigError(f"there is no table {table}", hint="check profiles.table and profiles.url")
    if not isinstance(error, DBAPIError):
        what = type(error).__name__
        return TemporaryError(f"the profiles' database gives no connection ({what})", hint="try again in a moment")
    said = (str(error.orig).strip().splitlines() or [""])[0]
    state: str = getattr(error.orig, "sqlstate", None) or ""
    if _is_away(error, state, said):
        refusal = None if state else db_refusal(str(error.orig), setting="profiles.url")
        if state in _BUSY or (refusal is None and "locked" in said):
            return TemporaryError(f"{table} is locked or slow ({state or said})", hint=_FREE)
        what = state or (type(error.orig).__name__ if refusal is None else telling_line(str(error.orig)))
        return TemporaryError(
            f"the profiles' database does not answer ({what})",
            hint="check profiles.url, the server and the role" if refusal is None else refusal.hint,
            retry_after_s=(refusal.pause_s or None) if refusal is not None else None,
        )
    if state == _NO_CONSTRAINT or "ON CONFLICT clause does not match" in said:
        return ConfigError(f"the key of {table} is not unique", hint=f"create a unique index on the key of {table}")
    if state == "42501" and "row-level security" in said:
        return PermanentError(
            f"the profile row can't be written to {table}: row level security refuses it",
            hint=f"create policy … on {table} for insert and update to the role of profiles.url",
        )
    if state == "42501" or "readonly database" in said:
        return ConfigError(
            f"the database role may not write {table}",
            hint=f"grant select, insert, update on {table} to the role of profiles.url",
        )
    if isinstance(error, ProgrammingError | OperationalError) and not state.startswith("P0"):
        return ConfigError(f"{table} is not what it was ({state or said})", hint="check profiles.table and its columns")
    return _refusal(error, state, said, table)


def _is_away(error: DBAPIError, state: str, said: str) -> bool:
    if state:
        return state.startswith(_AWAY)
    if type(error.orig).__module__.startswith("sqlite3"):
        return isinstance(error, OperationalError) and any(
            words in said for words in ("locked", "full", "I/O", "unable")
        )
    return not isinstance(error, IntegrityError | DataError | ProgrammingError)


def _refusal(error: DBAPIError, state: str, said: str, table: str) -> PermanentError:
    """The error of a refused row, with the constraint, column or rule."""
    diagnosis = getattr(error.orig, "diag", None)
    constraint: str = getattr(diagnosis, "constraint_name", None) or ""
    named: str = constraint or getattr(diagnosis, "column_name", None) or said.partition("failed: ")[2]
    start = f"the profile row can't be written to {table}:"
    if state == _DUPLICATE or "UNIQUE constraint failed" in said:
        return Duplicate(
            f"{start} another row has the same value ({named})",
            hint="a user who signed up again has a new Clerk id: remove the old row, or make the constraint leave out rows "
            "that are marked as deleted (create unique index … where deleted_at is null)",
        )
    if state == _NULL or "NOT NULL" in said:
        return PermanentError(
            f"{start} {named} must not be empty, but Clerk has no value",
            hint=f"alter table {table} alter column {named.rpartition('.')[2]} drop not null, or set a value in Clerk",
        )
    if state in _SPELLED:
        return PermanentError(f"{start} {_SPELLED[state]} ({named or said.partition(': ')[0]})")
    if isinstance(error, DataError):
        return PermanentError(f"{start} a value does not fit its column ({said.partition(': ')[0]})")
    if "constraint failed" in said:
        return PermanentError(f"{start} {said}")
    return PermanentError(f"{start} a rule of the app refuses it ({said})", hint=f"check the triggers of {table}")
