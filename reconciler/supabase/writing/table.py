"""The profiles table for writes: its columns and their types, and checks that rows can be written safely."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Column, Connection, Engine, Inspector, MetaData, Table, TextClause, inspect, text
from sqlalchemy import types as sa

from reconciler.core.decide.profile_rows.merge import TEXTS
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import ConfigError
from reconciler.supabase.limits import limit
from reconciler.supabase.writing.columns import WriteColumn, cast_value, translate_write_errors, write_column

_DEFERRABLE: Final = text(
    """
SELECT k.condeferrable FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.conname = :name AND n.nspname = :schema AND c.relname = :table
"""
)
WRITTEN: Final = (*TEXTS, "email_verified", "metadata", "updated_at")
WAIT_S: Final = 2.0  # limits of each statement: to get a lock, and to run


@dataclass(frozen=True)
class Shape:
    """The writable columns by our field names, including the key."""

    targets: Mapping[str, WriteColumn]
    table: Table
    is_sqlite: bool

    @property
    def key(self) -> Column[Any]:
        return self.table.c[self.targets["clerk_user_id"].name]

    def key_value(self, user: ClerkUserId) -> Any:
        """The user's id in the type of the key column."""
        return cast_value(self.targets["clerk_user_id"], str(user), self.is_sqlite)


class UpsertTable:
    """One table and its mapped columns. Thread-safe; the columns are read once, and again after `forget`."""

    def __init__(self, engine: Engine, table: str, columns: Mapping[str, str]) -> None:
        self.engine = engine
        schema, _, name = table.rpartition(".")
        self.schema = (schema or "public") if engine.dialect.name != "sqlite" else None  # never by search_path
        self.name = name
        self.shown = table
        self._columns = dict(columns)
        self._lock = threading.Lock()
        self._shape: Shape | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction in which each statement waits and runs for WAIT_S at most. Errors are translated."""
        with translate_write_errors(self.shown), self.engine.begin() as connection:
            limit(connection, lock_s=WAIT_S, statement_s=WAIT_S)
            yield connection

    @contextmanager
    def catalog(self) -> Iterator[Connection]:
        """A connection for many reads of the catalog. On Postgres each statement is its own transaction.

        So no transaction is open between two of them, even if this process stalls. SQLite's file is read in one transaction.
        """
        if self.is_sqlite:
            with self.transaction() as connection:
                yield connection
            return
        with translate_write_errors(self.shown), self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def shape(self) -> Shape:
        """The columns, read on the first call. Call it before a transaction begins: it may need a connection."""
        with self._lock:
            shape = self._shape
        if shape is not None:
            return shape
        with self.catalog() as connection:
            targets = self._read_columns(connection)
        columns = (Column(t.name, t.type) for t in targets.values())
        # One Table object for all statements, so that SQLAlchemy compiles each statement once and not for every row.
        shape = Shape(targets, Table(self.name, MetaData(), *columns, schema=self.schema), self.is_sqlite)
        with self._lock:
            self._shape = shape
        return shape

    def forget(self) -> None:
        """Read the columns again before the next write, as the table may have been altered."""
        with self._lock:
            self._shape = None

    def check(self) -> None:
        """Raise ConfigError where rows could not be written as promised."""
        self.forget()
        shape = self.shape()
        with self.catalog() as connection:
            self._check_key(connection)
            self._check_required(connection, shape.targets)
            self._check_rights(connection, shape)

    def _read_columns(self, connection: Connection) -> dict[str, WriteColumn]:
        found = {column["name"]: column for column in inspect(connection).get_columns(self.name, schema=self.schema)}
        targets: dict[str, WriteColumn] = {}
        for ours in ("clerk_user_id", *WRITTEN, "deleted_at"):
            theirs = self._columns.get(ours)
            if theirs is None:
                continue
            if theirs not in found:
                raise ConfigError(
                    f"{self.shown} has no column {theirs}",
                    hint=f"set profiles.columns.{ours} to an existing column",
                )
            column = found[theirs]
            if column.get("computed") is None:  # a generated column follows the others by itself
                target = write_column(self.shown, ours, theirs, column["type"], sqlite_=self.is_sqlite)
                given = None if column["nullable"] else column["default"]
                targets[ours] = replace(target, emptied=None if given is None else _default(given, self.is_sqlite))
            elif ours == "clerk_user_id":
                raise ConfigError(
                    f"{self.shown}.{theirs} is generated by the table: no row can be inserted",
                    hint="map a column that can be written, or set clerk.upsert_profiles: false",
                )
        return targets

    def _fetch_columns(self, connection: Connection) -> list[Any]:
        return list(inspect(connection).get_columns(self.name, schema=self.schema))

    def _check_key(self, connection: Connection) -> None:
        key = self._columns["clerk_user_id"]
        inspector = inspect(connection)
        place = {"schema": self.schema}
        primary = inspector.get_pk_constraint(self.name, **place)
        constraints = [(primary["name"], primary["constrained_columns"])]
        constraints += [(c["name"], c["column_names"]) for c in inspector.get_unique_constraints(self.name, **place)]
        uniques: list[list[Any]] = [
            list(columns) for name, columns in constraints if not self._is_deferrable(connection, name)
        ]
        uniques += [
            list(index["column_names"])
            for index in inspector.get_indexes(self.name, **place)
            if index["unique"]
            and "duplicates_constraint" not in index
            and not index.get("dialect_options", {}).get("postgresql_where")
            and index.get("dialect_options", {}).get("sqlite_where") is None
        ]
        if self.name in self._views(inspector):
            raise ConfigError(
                f"{self.shown} is a view: two writers could insert two rows of one user",
                hint="set profiles.table to the underlying table, or set clerk.upsert_profiles: false",
            )
        if [key] not in uniques:
            raise ConfigError(
                f"{self.shown}.{key} is not unique: two writers could insert two rows of one user",
                hint=f"create unique index on {self.shown} ({key}), or set clerk.upsert_profiles: false",
            )

    def _views(self, inspector: Inspector) -> list[str]:
        views = inspector.get_view_names(schema=self.schema)
        return views if self.is_sqlite else [*views, *inspector.get_materialized_view_names(schema=self.schema)]

    def _is_deferrable(self, connection: Connection, constraint: str | None) -> bool:
        """Whether a constraint of Postgres is deferrable: such a constraint can't be used by ON CONFLICT."""
        if self.is_sqlite:
            return False
        asked = {"name": constraint, "schema": self.schema, "table": self.name}
        return bool(connection.execute(_DEFERRABLE, asked).scalar_one_or_none())

    def _check_required(self, connection: Connection, targets: Mapping[str, WriteColumn]) -> None:
        ours = {target.name for target in targets.values()}
        missing = [
            column["name"]
            for column in self._fetch_columns(connection)
            if not column["nullable"]
            and column["default"] is None
            and column["name"] not in ours
            and column.get("computed") is None
            and column.get("identity") is None
            and not self._fills_itself(connection, column["name"])
        ]
        if missing:
            raise ConfigError(
                f"{self.shown} needs {', '.join(missing)}, which Clerk does not have",
                hint="give them a default or let them be null, or set clerk.upsert_profiles: false",
            )

    def _fills_itself(self, connection: Connection, column: str) -> bool:
        """SQLite's INTEGER PRIMARY KEY."""
        if not self.is_sqlite:
            return False
        key = inspect(connection).get_pk_constraint(self.name)["constrained_columns"]
        kinds = {c["name"]: c["type"] for c in self._fetch_columns(connection)}
        return key == [column] and isinstance(kinds[column], sa.Integer)

    def _check_rights(self, connection: Connection, shape: Shape) -> None:
        if shape.is_sqlite:
            return
        quoted = self.engine.dialect.identifier_preparer.format_table(shape.table)
        may = text("SELECT has_column_privilege(:table, :column, :right)")
        for right in ("INSERT", "UPDATE", "SELECT"):
            asked = {c.name: {"table": quoted, "column": c.name, "right": right} for c in shape.table.c}
            refused = [name for name, values in asked.items() if not connection.execute(may, values).scalar_one()]
            if refused:
                raise ConfigError(
                    f"the database role may not {right} {', '.join(refused)} of {self.shown}",
                    hint=f"grant select, insert, update on {self.shown} to the role of profiles.url",
                )


def _default(given: str, sqlite_: bool) -> TextClause:  # noqa: FBT001  the dialect
    """What a column holds when no value is given. SQLite has no word for it in an UPDATE."""
    return text(f"({given})".replace(":", r"\:")) if sqlite_ else text("DEFAULT")
