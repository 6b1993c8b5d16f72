"""The app's table in SQL: its columns and their types, and the expressions to read them on Postgres and SQLite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.types import UserDefinedType

from reconciler.core.fields.readings import from_seconds
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import USER_ID_MAX
from reconciler.errors import SourceError
from reconciler.supabase.reading.rows import Endless, Misfit
from reconciler.supabase.reading.types import can_be_key, misfit

KEY = "clerk_user_id"
TIMES = frozenset({"timestamptz", "timestamp", "date"})
_TEXTS = frozenset({"text", "varchar"})
_INTEGERS = {"int2": 1 << 15, "int4": 1 << 31, "int8": 1 << 63}
_COMPARABLE = frozenset({*_TEXTS, "bpchar", "name", "citext", "uuid", *_INTEGERS})
# The Kelvin sign and the dotted capital I are the only non-ASCII letters with an ASCII letter in their lower case. They are
# literals, so that an index on the same expression matches; E'…' means the same whatever standard_conforming_strings says.
_Text = ColumnElement[str]
_LOWER_TO_ASCII: tuple[_Text, ...] = (sa.literal_column("E'\\u212A\\u0130'"), sa.literal_column("'ki'"))
_UNSEEN: tuple[_Text, ...] = (
    sa.literal_column("E'[^\\\\x21-\\\\x7e]'"),
    sa.literal_column("''"),
    sa.literal_column("'g'"),
)

_COLUMNS = """
WITH RECURSIVE base (type, oid) AS (
  SELECT t.oid, t.oid FROM pg_type t
  UNION ALL
  SELECT base.type, d.typbasetype FROM base JOIN pg_type d ON d.oid = base.oid AND d.typtype = 'd'
)
SELECT a.attname, bn.nspname, b.typname,
       has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT'), current_user,
       CASE WHEN co.oid IS NULL THEN ''
            WHEN co.collprovider = 'd' AND COALESCE(to_jsonb(d)->>'datlocprovider', 'c') = 'c'
              AND d.datcollate IN ('C', 'POSIX') THEN 'code points'
            WHEN co.collprovider = 'd' THEN 'total'
            WHEN co.collprovider = 'c' AND co.collcollate IN ('C', 'POSIX') THEN 'code points'
            WHEN to_jsonb(co)->>'collisdeterministic' = 'true' THEN 'total'
            ELSE '' END,
       b.typtype::text || b.typcategory::text, format_type(a.atttypid, a.atttypmod)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN base ON base.type = a.atttypid
JOIN pg_type b ON b.oid = base.oid AND b.typtype <> 'd'
JOIN pg_namespace bn ON bn.oid = b.typnamespace
LEFT JOIN pg_collation co ON co.oid = a.attcollation
JOIN pg_database d ON d.datname = current_database()
WHERE n.nspname = :schema AND c.relname = :name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg_%' AND n.nspname NOT IN (
  'information_schema', 'reconciler', 'reconciler_outbox',
  'auth', 'storage', 'realtime', 'vault', 'extensions', 'graphql', 'graphql_public', 'net', 'cron', 'pgmq', 'pgsodium',
  'supabase_functions', 'supabase_migrations', '_realtime', '_analytics', '_supavisor')
"""
_TABLES_SQLITE = """
SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
AND name NOT LIKE 'reconciler!_%' ESCAPE '!'
"""
OURS = "reconciler"


_INDEXED = """
SELECT count(*) FROM pragma_index_list(:name) AS l, pragma_index_xinfo(l.name) AS x
WHERE x.seqno = 0 AND x.name = :column AND x.coll = 'BINARY' AND NOT l.partial
"""
_EPOCHS = ((1, 1e11), (1000, 1e14), (1_000_000, ""))  # seconds, milliseconds, microseconds, as in rows.py
_ZONES = timedelta(days=2)  # more than any zone's offset
_YEARS_MAX = 300


class _Named(UserDefinedType[Any]):
    """A database type by its name, to cast a parameter to it."""

    cache_ok = True

    def __init__(self, schema: str, name: str, suffix: str = "") -> None:
        self.schema, self.name, self.suffix = schema, name, suffix

    def get_col_spec(self, **_: Any) -> str:
        return ".".join('"{}"'.format(part.replace('"', '""')) for part in (self.schema, self.name)) + self.suffix


@frozen
class Column:
    """A column with its type's schema and name; on SQLite empty, except for a text column.

    `sorts` says how a text's collation sorts on Postgres: by code points, in another total order, or (empty) in none.
    `family` is the typtype and the typcategory of its type, `shown` the type as SQL spells it; empty on SQLite.
    """

    name: str
    type_schema: str = ""
    type_name: str = ""
    sorts: str = ""
    family: str = ""
    shown: str = ""


@dataclass(frozen=True)
class Walk:
    """An order in which rows can be read page by page, by an index on the key if there is one.

    `in_order`: it is the code-point order of the key. `behind` returns the condition for rows after a key; `fits` says
    whether a text can be compared by it. `has_texts` is False for binary keys, which come after all others.
    """

    by: ColumnElement[Any]
    behind: Callable[[str | bytes], ColumnElement[bool]]
    where: ColumnElement[bool]
    in_order: bool = True
    has_texts: bool = True
    fits: Callable[[str], bool] = lambda _text: True


@dataclass(frozen=True)
class ProfileTable:
    """The table with its mapped columns: `columns` by our field names. `is_standby`: the server may lag behind another."""

    schema: str | None
    name: str
    columns: Mapping[str, Column]
    source: sa.TableClause
    is_standby: bool = False

    @property
    def postgres(self) -> bool:
        return self.schema is not None

    @cached_property
    def fields(self) -> tuple[str, ...]:
        return tuple(field for field in self.columns if field != KEY)

    @cached_property
    def _times(self) -> tuple[str, ...]:
        times = (field for field in self.fields if self.columns[field].type_name in TIMES)
        return tuple(field for field in times if field not in self.misfits)

    @cached_property
    def misfits(self) -> Mapping[str, Misfit]:
        """Our fields with columns of unsuitable types."""
        found = ((field, misfit(field, self.columns[field])) for field in self.fields)
        return {field: why for field, why in found if why is not None}

    def raw(self, field: str) -> ColumnElement[Any]:
        """The column without conversion."""
        return self.source.c[self.columns[field].name]

    @property
    def key(self) -> ColumnElement[str]:
        """The key as text, sorted and compared by code point."""
        return sa.cast(self.raw(KEY), sa.Text).collate("C" if self.postgres else "BINARY")

    @property
    def key_type(self) -> Column:
        """The key's column."""
        return self.columns[KEY]

    @cached_property
    def walks(self) -> tuple[Walk, ...]:
        """The walks that together cover all rows."""
        return (self._walk,) if self.postgres else self._sqlite_walks

    @property
    def _walk(self) -> Walk:
        """By the column itself if its order is total: then its index, in any collation, supports each page."""
        raw, column = self.raw(KEY), self.key_type
        if column.type_schema == "pg_catalog" and (column.type_name in _TEXTS and column.sorts):
            in_order = column.sorts == "code points"
            return Walk(raw, lambda key: raw > sa.literal(key, sa.Text), sa.true(), in_order=in_order)
        if column.type_schema == "pg_catalog" and column.type_name in {"uuid", *_INTEGERS}:
            typed = _Named("pg_catalog", column.type_name)
            is_uuid = column.type_name == "uuid"  # sorts like its text
            return Walk(
                raw,
                lambda key: raw > sa.cast(sa.literal(key, sa.Text), typed),
                sa.true(),
                in_order=is_uuid,
                fits=_is_uuid,
            )
        return self.plain_walk

    @property
    def plain_walk(self) -> Walk:
        """By the key as text, which no index on the column supports."""
        key = self.key
        return Walk(key, lambda last: key > sa.cast(sa.literal(last), sa.Text), sa.true())

    @property
    def _sqlite_walks(self) -> tuple[Walk, ...]:
        """Text keys, by an expression that an index supports, then binary keys; one walk if the key is not a text column."""
        if self.key_type.type_name != "text":
            return (self.plain_walk,)
        raw, blob = self.raw(KEY).collate("BINARY"), sa.literal_column("x''", sa.LargeBinary)
        return (
            Walk(raw, lambda last: raw > sa.cast(sa.literal(last), sa.Text), raw < blob),
            Walk(raw, lambda last: raw > sa.literal(_bytes(last), sa.LargeBinary), raw >= blob, has_texts=False),
        )

    @property
    def has_user(self) -> ColumnElement[bool]:
        """Whether a row has a user: its key is neither null nor blank, nor longer than any user's id.

        The state could not keep a longer one, and the error would end the scan of all users.
        """
        blanks: ColumnElement[str] = sa.literal_column("E' \\t\\r\\n'" if self.postgres else "' ' || char(9, 10, 13)")
        trim = sa.func.btrim if self.postgres else sa.func.trim
        text = sa.cast(self.raw(KEY), sa.Text)
        return sa.and_(self.raw(KEY).is_not(None), trim(text, blanks) != "", sa.func.length(text) <= USER_ID_MAX)

    def read(self, field: str) -> ColumnElement[Any]:
        """The column in a form that every driver can read: times as seconds (they may be infinite), JSON as text."""
        column = self.columns[field]
        if field in self.misfits or column.type_name == "bpchar":  # as text, char(n) has no trailing blanks
            return sa.cast(self.raw(field), sa.Text)
        if column.type_name in TIMES:
            return sa.cast(sa.extract("epoch", self.raw(field)), sa.Numeric)
        if column.type_name in {"json", "jsonb"}:
            return sa.cast(self.raw(field), sa.Text)
        return self.raw(field)

    def select(self) -> sa.Select[Any]:
        """Key and fields of the rows that have a user."""
        return sa.select(self.key, *(self.read(field) for field in self.fields)).where(self.has_user)

    def values(self, row: Sequence[Any]) -> dict[str, Any]:
        """The fields of a row of `select`, by our names."""
        values = dict(zip(self.fields, row[1:], strict=False))
        for field in self._times:
            values[field] = _time_of(values[field])
        for field, why in self.misfits.items():
            values[field] = None if values[field] is None else why
        return values

    @cached_property
    def among(self) -> ColumnElement[bool]:
        """Whether the key is one of the parameter `users`, so that an index supports it. It may match others, too."""
        column = self.columns[KEY]
        if not self.postgres:
            key = self.raw(KEY) if column.type_name == "text" else sa.cast(self.raw(KEY), sa.Text)
            users = sa.func.json_each(sa.bindparam("users", type_=sa.JSON)).table_valued("value")
            return key.in_(sa.select(users.c.value))
        if column.type_name not in _COMPARABLE:
            return sa.cast(self.raw(KEY), sa.Text) == _any_user("pg_catalog", "text")
        return self.raw(KEY) == _any_user(column.type_schema, column.type_name)

    def fitting(self, users: Iterable[str]) -> list[str]:
        """The value of the parameter `users`: those that a key of this type can be."""
        type_name = self.columns[KEY].type_name
        return [user for user in users if not self.postgres or _fits(user, type_name)]

    @cached_property
    def rows_among(self) -> sa.Select[Any]:
        """`select` for the users of the parameter `users`, in key order. Built once, as most of a small read is building."""
        return self.select().where(self.among).order_by(self.key)

    @cached_property
    def keys_among(self) -> sa.Select[Any]:
        """The keys of these users that have rows."""
        return sa.select(self.key).where(self.has_user, self.among)

    @cached_property
    def rows_with_rough_email(self) -> sa.Select[Any]:
        """`select` for the rows with a rough email of the parameter `emails`. Postgres only."""
        return self.select().where(self.rough_email().in_(sa.bindparam("emails", type_=sa.Text, expanding=True)))

    @cached_property
    def first_with_rough_email(self) -> sa.Select[Any]:
        """The same, and no more than the parameter `enough`, in key order."""
        return self.rows_with_rough_email.order_by(self.key).limit(sa.bindparam("enough", type_=sa.Integer))

    def rough_email(self) -> ColumnElement[str]:
        """An expression that is equal for emails with the same email_key, and maybe for others. Postgres only.

        It lower-cases by collation "C" and compares only visible ASCII.
        """
        folded = sa.func.translate(sa.cast(self.raw("email"), sa.Text), *_LOWER_TO_ASCII)
        visible: ColumnElement[str] = sa.func.regexp_replace(folded, *_UNSEEN)
        return sa.func.lower(visible.collate("C"))

    def rough_emails(self, keys: Iterable[str]) -> list[str]:
        """The values of that expression for emails in email_key form."""
        return sorted({"".join(c for c in key if "\x21" <= c <= "\x7e") for key in keys} - {""})

    def perhaps_since(self, at: datetime) -> ColumnElement[bool]:
        """SQLite: whether `updated_at` may be at or after `at`, by SQLite's date functions; unreadable values may be."""
        value = self.raw("updated_at")
        day = sa.func.julianday(value)
        late = day >= sa.func.julianday(at.astimezone(UTC).isoformat(sep=" ")[:19]) - 1
        return sa.or_(sa.func.typeof(value) != "text", value.not_like("____-__-__%"), day.is_(None), late)

    def recent_ranges(self, at: datetime) -> tuple[ColumnElement[bool], ...]:
        """The same as disjoint ranges, to be queried one by one: so SQLite's index supports them.

        Valid only if `begins_with_years` holds.
        """
        value, bound = self.raw("updated_at"), at.astimezone(UTC) - _ZONES if at.year > 1 else at
        day, seconds = bound.date().isoformat(), bound.timestamp()
        numbers = [sa.and_(value >= seconds * scale, value < below) for scale, below in _EPOCHS]
        return (value.is_(None), value == "", *numbers, value >= day)

    def begins_with_years(self, connection: Connection) -> bool:
        """SQLite: whether `updated_at` is indexed, and each text in it begins with a year and a hyphen.

        Reads the first text of each year, so one index lookup for each year.
        """
        column = self.columns["updated_at"].name
        if not connection.execute(sa.text(_INDEXED), {"name": self.name, "column": column}).scalar_one():
            return False
        value, text = self.raw("updated_at"), ""
        for _ in range(_YEARS_MAX):
            later = sa.select(sa.func.min(value)).where(value > text, value < b"")
            text = connection.execute(later).scalar_one()
            if text is None:
                return True
            if not (isinstance(text, str) and text[:4].isascii() and text[:4].isdigit() and text[4:5] == "-"):
                return False
            text = text[:5] + chr(sys.maxunicode)
        return False

    def is_touched_since(self, at: datetime) -> ColumnElement[bool] | None:
        """Whether `updated_at` is null, or at or after `at`; None if the database can't compare it."""
        type_name = self.columns["updated_at"].type_name
        if type_name not in TIMES:
            return None
        zoned = at.astimezone(UTC)
        bound = sa.literal(zoned if type_name == "timestamptz" else zoned.replace(tzinfo=None))
        typed = sa.cast(bound, _Named("pg_catalog", type_name))
        return sa.or_(self.raw("updated_at").is_(None), self.raw("updated_at") >= typed)


def _any_user(schema: str, name: str) -> ColumnElement[Any]:
    """One array parameter for all users, so that the statement's text never changes."""
    return sa.any_(sa.cast(sa.bindparam("users", type_=sa.ARRAY(sa.Text)), _Named(schema, name, "[]")))


def _time_of(seconds: Decimal | None) -> datetime | Endless | None:
    try:
        return None if seconds is None else from_seconds(seconds)
    except (ValueError, OverflowError):
        return Endless()


def find_table(connection: Connection, table: str, columns: Mapping[str, str]) -> ProfileTable:
    """Find the table in the catalog. SourceError if the table, a column or the right to read is missing."""
    postgres = connection.dialect.name == "postgresql"
    schema, _, name = table.rpartition(".")
    if postgres:
        schema = schema or "public"
        rows = connection.execute(sa.text(_COLUMNS), {"schema": schema, "name": name}).all()
        there = {row[0]: Column(row[0], row[1], row[2], row[5], row[6], row[7]) for row in rows}
        denied = [row[0] for row in rows if row[0] in columns.values() and not row[3]]
        if denied:
            _deny(f"{schema}.{name}", sorted(denied), rows[0][4])
    else:
        if schema not in {"", "main", "public"}:
            raise SourceError(f"SQLite has no schema '{schema}'", hint=f"profiles.table: {name}")
        query = sa.text("SELECT name, type FROM pragma_table_xinfo(:name)")
        found = connection.execute(query, {"name": name}).all()
        there = {n: Column(n, "", "text" if _is_textual(type_.upper()) else "") for n, type_ in found}
    full = f"{schema}.{name}" if postgres else name
    if (postgres and schema in {OURS, f"{OURS}_outbox"}) or (not postgres and name.startswith(f"{OURS}_")):
        raise SourceError(
            f"{full} is a table of our own state, not the app's", hint="set profiles.table to the app's table"
        )
    if not there:
        raise _no_table(connection, full)
    _refuse_missing(full, columns, there)
    key = there[columns[KEY]]
    if not can_be_key(key):
        raise SourceError(
            f"the key of {full}, {key.name}, is of type {key.shown}, which can't be a user id",
            hint="map profiles.columns.clerk_user_id to a column of text with Clerk's id",
        )
    theirs: list[sa.ColumnClause[Any]] = [sa.column(quoted_name(c, quote=True)) for c in sorted(set(columns.values()))]
    in_schema = quoted_name(schema, quote=True) if postgres else None
    source = sa.table(quoted_name(name, quote=True), *theirs, schema=in_schema)
    return ProfileTable(in_schema, name, {field: there[column] for field, column in columns.items()}, source)


def _is_textual(declared: str) -> bool:
    """Whether the declared type has SQLite's text affinity, which stores numbers as text."""
    return "INT" not in declared and any(word in declared for word in ("CHAR", "CLOB", "TEXT"))


def _fits(text: str, type_name: str) -> bool:
    """Whether this is the canonical text of a value of this type."""
    if type_name in _INTEGERS:
        return _is_integer(text, _INTEGERS[type_name])
    return type_name != "uuid" or _is_uuid(text)


def _is_integer(text: str, bound: int) -> bool:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(bound))):
        return False
    return str(int(text)) == text and -bound <= int(text) < bound


def _bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _deny(table: str, columns: list[str], role: str) -> None:
    schema, _, name = table.partition(".")
    quoted_schema, quoted_role = _quoted(schema), _quoted(role)
    raise SourceError(
        f"the role {role} may not read {', '.join(columns)} of {table}",
        hint=f"grant usage on schema {quoted_schema} to {quoted_role}; "
        f"grant select on {quoted_schema}.{_quoted(name)} to {quoted_role};",
    )


def _quoted(name: str) -> str:
    """The name as an SQL identifier."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and not name[:1].isdigit()
    return name if plain else '"{}"'.format(name.replace('"', '""'))


def names_of_tables(connection: Connection) -> list[str]:
    """The app's tables and views, without those of the platform and of our state; with their schema on Postgres."""
    query = _TABLES if connection.dialect.name == "postgresql" else _TABLES_SQLITE
    return [str(name) for name in connection.execute(sa.text(query)).scalars()]


def _no_table(connection: Connection, table: str) -> SourceError:
    near = get_close_matches(table, names_of_tables(connection), n=1, cutoff=0.0)
    hint = (
        f"the nearest is {near[0]}; set profiles.table"
        if near
        else "the database has no app tables: check profiles.url"
    )
    return SourceError(f"there is no table or view {table}", hint=hint)


def _refuse_missing(table: str, columns: Mapping[str, str], there: Mapping[str, Column]) -> None:
    missing = {field: column for field, column in columns.items() if column not in there}
    if not missing:
        return
    said = "; ".join(
        f"{field}: {column} (the nearest is {get_close_matches(column, there, n=1, cutoff=0.0)[0]})"
        for field, column in missing.items()
    )
    raise SourceError(
        f"{table} lacks {'a column that is' if len(missing) == 1 else 'columns that are'} mapped: {said}",
        hint="correct profiles.columns, or remove the columns that the table does not have",
    )
