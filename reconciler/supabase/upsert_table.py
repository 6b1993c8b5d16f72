"""The profiles' table as a writer finds it: its columns and their types, and whether rows can be written as promised."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Column, Connection, Engine, Inspector, MetaData, Table, TextClause, inspect, text
from sqlalchemy import types as sa

from reconciler.core.decide.profile_row import TEXTS
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import ConfigError
from reconciler.supabase.columns import Target, cast_value, target_of, translated
from reconciler.supabase.limits import limit

_DEFERRABLE: Final = text(
    """
SELECT k.condeferrable FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.conname = :name AND n.nspname = :schema AND c.relname = :table
"""
)
WRITTEN: Final = (*TEXTS, "email_verified", "metadata", "updated_at")
WAIT_S: Final = 2.0  # of each statement: for a lock, and to run


@dataclass(frozen=True)
class Shape:
    """Our field to its column, for all that can be written; the key is among them."""

    targets: Mapping[str, Target]
    table: Table
    is_sqlite: bool

    @property
    def key(self) -> Column[Any]:
        return self.table.c[self.targets["clerk_user_id"].name]

    def key_value(self, user: ClerkUserId) -> Any:
        """The user's id as the key's column takes it."""
        return cast_value(self.targets["clerk_user_id"], str(user), self.is_sqlite)


class UpsertTable:
    """One table and the columns that are mapped to our fields. Thread-safe; looked up once, and again after `forget`."""

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
    def writing(self) -> Iterator[Connection]:
        """One transaction whose statements wait and run for WAIT_S at most; errors in our own words."""
        with translated(self.shown), self.engine.begin() as connection:
            limit(connection, lock_s=WAIT_S, statement_s=WAIT_S)
            yield connection

    @contextmanager
    def describing(self) -> Iterator[Connection]:
        """A connection that reads the catalog, many statements long. On Postgres each is a transaction of its own.

        So no transaction is open between two of them, however long this process stalls there. They read the catalog
        alone, where nothing is locked for long. SQLite's file is read in one transaction.
        """
        if self.is_sqlite:
            with self.writing() as connection:
                yield connection
            return
        with translated(self.shown), self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def shape(self) -> Shape:
        """The columns as they were looked up. Ask for it before a transaction begins: it may need a connection."""
        with self._lock:
            shape = self._shape
        if shape is not None:
            return shape
        with self.describing() as connection:
            targets = self._look_up(connection)
        columns = (Column(t.name, t.type) for t in targets.values())
        # One object for all statements: SQLAlchemy compiles a statement once for it, and not once a row.
        shape = Shape(targets, Table(self.name, MetaData(), *columns, schema=self.schema), self.is_sqlite)
        with self._lock:
            self._shape = shape
        return shape

    def forget(self) -> None:
        """Look the columns up again before the next write: the table may have been altered."""
        with self._lock:
            self._shape = None

    def check(self) -> None:
        """Raise ConfigError where rows could not be written as promised."""
        self.forget()
        shape = self.shape()
        with self.describing() as connection:
            self._check_key(connection)
            self._check_required(connection, shape.targets)
            self._check_rights(connection, shape)

    def _look_up(self, connection: Connection) -> dict[str, Target]:
        found = {column["name"]: column for column in inspect(connection).get_columns(self.name, schema=self.schema)}
        targets: dict[str, Target] = {}
        for ours in ("clerk_user_id", *WRITTEN, "deleted_at"):
            theirs = self._columns.get(ours)
            if theirs is None:
                continue
            if theirs not in found:
                raise ConfigError(
                    f"{self.shown} has no column {theirs}",
                    hint=f"profiles.columns.{ours} names a column that is there",
                )
            column = found[theirs]
            if column.get("computed") is None:  # a generated column follows the others by itself
                target = target_of(self.shown, ours, theirs, column["type"], sqlite_=self.is_sqlite)
                given = None if column["nullable"] else column["default"]
                targets[ours] = replace(target, emptied=None if given is None else _default(given, self.is_sqlite))
            elif ours == "clerk_user_id":
                raise ConfigError(
                    f"{self.shown}.{theirs} is generated by the table: no row of a user can be made",
                    hint="map a column that can be written, or set clerk.upsert_profiles: false",
                )
        return targets

    def _reflected(self, connection: Connection) -> list[Any]:
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
                f"{self.shown} is a view: two writers could make two rows of one user",
                hint="name the table below it in profiles.table, or set clerk.upsert_profiles: false",
            )
        if [key] not in uniques:
            raise ConfigError(
                f"{self.shown}.{key} is not unique: two writers could make two rows of one user",
                hint=f"create unique index on {self.shown} ({key}), or set clerk.upsert_profiles: false",
            )

    def _views(self, inspector: Inspector) -> list[str]:
        views = inspector.get_view_names(schema=self.schema)
        return views if self.is_sqlite else [*views, *inspector.get_materialized_view_names(schema=self.schema)]

    def _is_deferrable(self, connection: Connection, constraint: str | None) -> bool:
        """Whether a constraint of Postgres may be checked at the end of a transaction: it stops no second row of a key."""
        if self.is_sqlite:
            return False
        asked = {"name": constraint, "schema": self.schema, "table": self.name}
        return bool(connection.execute(_DEFERRABLE, asked).scalar_one_or_none())

    def _check_required(self, connection: Connection, targets: Mapping[str, Target]) -> None:
        ours = {target.name for target in targets.values()}
        missing = [
            column["name"]
            for column in self._reflected(connection)
            if not column["nullable"]
            and column["default"] is None
            and column["name"] not in ours
            and column.get("computed") is None
            and column.get("identity") is None
            and not self._fills_itself(connection, column["name"])
        ]
        if missing:
            raise ConfigError(
                f"{self.shown} needs {', '.join(missing)}, which Clerk does not know",
                hint="give them a default or let them be null, or set clerk.upsert_profiles: false",
            )

    def _fills_itself(self, connection: Connection, column: str) -> bool:
        """SQLite's INTEGER PRIMARY KEY."""
        if not self.is_sqlite:
            return False
        key = inspect(connection).get_pk_constraint(self.name)["constrained_columns"]
        kinds = {c["name"]: c["type"] for c in self._reflected(connection)}
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
