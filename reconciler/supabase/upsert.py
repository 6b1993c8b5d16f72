"""Writes the profile row from what Clerk says, for `clerk.upsert_profiles: true`. The one place that writes a profile.

Only mapped columns are written, in one statement, so that the app's own insert can come before, after or between:

* A row never goes back in time: with a mapped `updated_at` the statement itself compares it with Clerk's.
* Without one there is nothing to compare with, so a webhook, which may be late, only makes rows that are missing;
  what was read from Clerk's API just now (`fresh`) is written over them.
* A deleted user stays deleted: a late `user.updated` changes no row with `deleted_at`, and makes none for a user whose
  deletion this process has seen. Nothing here deletes a row.
* `metadata` is merged, Clerk's keys over the row's: the app keeps its own in the same column.
* What is equal already is not written, so that triggers and database webhooks stay quiet.

The table's own trigger must not set the mapped `updated_at` to the time of the write: it would be later than Clerk's
next change. Knows nothing of Clerk's shapes: it is handed core.Profile.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    MetaData,
    Numeric,
    String,
    Table,
    and_,
    case,
    cast,
    func,
    inspect,
    literal,
    or_,
    text,
    type_coerce,
)
from sqlalchemy import types as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from reconciler.core.ids import ClerkUserId
from reconciler.core.profile import Profile
from reconciler.errors import ConfigError
from reconciler.supabase.columns import Duplicate, Target, cast_value, target_of, translated

Outcome = Literal["written", "kept"]

WRITTEN: Final = (
    "email", "email_verified", "first_name", "last_name", "full_name", "phone", "image_url", "locale", "metadata",
    "updated_at",
)  # fmt: skip
MS_FROM: Final = 100_000_000_000  # a number above this counts milliseconds, below it seconds
DELETED_MAX: Final = 50_000


class ProfileUpserts:
    """Writes profile rows through an engine that may write. Thread-safe; one short transaction a call."""

    def __init__(self, engine: Engine, table: str, columns: Mapping[str, str]) -> None:
        self._engine = engine
        schema, _, name = table.rpartition(".")
        self._schema = schema if schema and engine.dialect.name != "sqlite" else None
        self._name = name
        self._shown = table
        self._columns = dict(columns)
        self._lock = threading.Lock()
        self._known: dict[str, Target] | None = None
        self._deleted: OrderedDict[ClerkUserId, None] = OrderedDict()

    # --- what people call ---------------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Raise ConfigError where rows could not be written as promised; returns warnings, a line each."""
        with self._lock:
            self._known = None
        targets = self._targets()
        with translated(self._shown):
            self._check_key()
            self._check_required(targets)
            self._check_rights(targets)
        if "updated_at" not in targets:
            warning = (
                f"{self._shown} has no mapped updated_at: late webhooks could not be told from new ones, so they only "
                "make missing rows; map it, or set clerk.secret_key so that each change is read again"
            )
            return [warning]
        return self._touching_triggers()

    def write(self, profile: Profile, *, fresh: bool = False) -> Outcome:
        """Make or bring up to date this user's row. `fresh`: it was read from Clerk's API just now.

        "kept": the row is as new or newer, equal, or deleted. TemporaryError, ConfigError, or PermanentError (this
        row can't be: a column that must not be empty, another row with the same e-mail).
        """
        if profile.clerk_user_id in self._deleted:
            return "kept"
        statement = self._statement(profile, fresh=fresh)
        try:
            return self._run(statement)
        except Duplicate:
            return self._run(statement)  # the app's insert came between: now its row is there to be updated

    def delete(self, user: ClerkUserId, *, at: datetime) -> Outcome:
        """Mark the row as deleted where `deleted_at` is mapped; without it nothing is written, and it stays."""
        with self._lock:
            self._deleted[user] = None
            while len(self._deleted) > DELETED_MAX:
                self._deleted.popitem(last=False)
        target = self._targets().get("deleted_at")
        if target is None:
            return "kept"
        table = self._table()
        column = table.c[target.name]
        value = True if target.kind == "bool" else cast_value(target, at, self._is_sqlite)
        alive = or_(column.is_(None), column.is_(False)) if target.kind == "bool" else column.is_(None)
        statement = table.update().where(self._key(table) == self._key_value(user), alive).values({target.name: value})
        return self._run(statement)

    # --- the statement ------------------------------------------------------------------------------------------

    @property
    def _is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    def _statement(self, profile: Profile, *, fresh: bool) -> Any:
        targets = self._targets()
        values = {
            targets[ours].name: cast_value(targets[ours], value, self._is_sqlite)
            for ours, value in _wanted(profile).items()
            if ours in targets
        }
        table = self._table()
        key = targets["clerk_user_id"].name
        insert: Any = (sqlite.insert if self._is_sqlite else postgresql.insert)(table)
        statement = insert.values({key: self._key_value(profile.clerk_user_id), **values})
        ordered = "updated_at" in targets and profile.updated_at is not None
        if not values or not (ordered or fresh):
            return statement.on_conflict_do_nothing(index_elements=[key])
        by_name = {target.name: target for target in targets.values()}
        changes = {name: self._new_value(by_name[name], table, statement.excluded) for name in values}
        guards = [or_(*(self._differs(by_name[name], table.c[name], new) for name, new in changes.items()))]
        if ordered:
            guards.append(self._not_older(targets["updated_at"], table, statement.excluded))
        if "deleted_at" in targets:
            guards.append(_not_deleted(targets["deleted_at"], table))
        return statement.on_conflict_do_update(index_elements=[key], set_=changes, where=and_(*guards))

    def _new_value(self, target: Target, table: Table, excluded: Any) -> ColumnElement[Any]:
        """What the row gets: Clerk's value; for metadata the row's object with Clerk's keys over it."""
        new: ColumnElement[Any] = excluded[target.name]
        if target.name != self._columns.get("metadata"):
            return new
        old = table.c[target.name]
        if self._is_sqlite:
            usable = case((func.json_valid(old) == 1, old), else_=literal("{}", String()))
            return type_coerce(func.json_patch(usable, new), String())
        before = cast(old, JSONB)
        usable_before = case(
            (func.jsonb_typeof(before) == "object", before), else_=cast(literal("{}", String()), JSONB)
        )
        return cast(usable_before.op("||")(cast(new, JSONB)), target.type)

    def _differs(self, target: Target, old: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[bool]:
        if target.kind == "json" and not self._is_sqlite:
            return cast(old, JSONB).is_distinct_from(cast(new, JSONB))
        if target.name == self._columns.get("metadata") and self._is_sqlite:
            return case((func.json_valid(old) == 1, func.json(old)), else_=old).is_distinct_from(new)
        return old.is_distinct_from(new)

    def _not_older(self, target: Target, table: Table, excluded: Any) -> ColumnElement[bool]:
        old = table.c[target.name]
        if self._is_sqlite:
            return or_(old.is_(None), func.coalesce(_sqlite_ms(old) <= _sqlite_ms(excluded[target.name]), True))
        if target.kind == "number":
            return or_(old.is_(None), _in_ms(old) <= _in_ms(excluded[target.name]))
        if target.kind == "text":
            zone = postgresql.TIMESTAMP(timezone=True)
            return or_(old.is_(None), old == "", cast(old, zone) <= cast(excluded[target.name], zone))
        return or_(old.is_(None), old <= excluded[target.name])

    def _run(self, statement: Any) -> Outcome:
        with translated(self._shown), self._engine.begin() as connection:
            result = connection.execute(statement, execution_options={"preserve_rowcount": True})
            return "written" if result.rowcount > 0 else "kept"

    def _key(self, table: Table) -> Column[Any]:
        return table.c[self._columns["clerk_user_id"]]

    def _key_value(self, user: ClerkUserId) -> Any:
        return cast_value(self._targets()["clerk_user_id"], str(user), self._is_sqlite)

    # --- the table as it is -------------------------------------------------------------------------------------

    def _table(self) -> Table:
        targets = self._targets().values()
        return Table(self._name, MetaData(), *(Column(t.name, t.type) for t in targets), schema=self._schema)

    def _targets(self) -> dict[str, Target]:
        """Our field to its column, for all that can be written; looked up once."""
        with self._lock:
            if self._known is None:
                with translated(self._shown):
                    self._known = self._looked_up()
            return self._known

    def _looked_up(self) -> dict[str, Target]:
        found = {column["name"]: column for column in self._reflected()}
        targets: dict[str, Target] = {}
        for ours in ("clerk_user_id", *WRITTEN, "deleted_at"):
            theirs = self._columns.get(ours)
            if theirs is None:
                continue
            if theirs not in found:
                raise ConfigError(
                    f"{self._shown} has no column {theirs}",
                    hint=f"profiles.columns.{ours} names a column that is there",
                )
            if found[theirs].get("computed") is None:  # a generated column follows the others by itself
                targets[ours] = target_of(self._shown, ours, theirs, found[theirs]["type"], sqlite_=self._is_sqlite)
        return targets

    def _reflected(self) -> list[Any]:
        with self._engine.connect() as connection:
            return list(inspect(connection).get_columns(self._name, schema=self._schema))

    def _check_key(self) -> None:
        key = self._columns["clerk_user_id"]
        inspector = inspect(self._engine)
        place = {"schema": self._schema}
        uniques: list[list[Any]] = [list(inspector.get_pk_constraint(self._name, **place)["constrained_columns"])]
        uniques += [list(unique["column_names"]) for unique in inspector.get_unique_constraints(self._name, **place)]
        uniques += [
            list(index["column_names"])
            for index in inspector.get_indexes(self._name, **place)
            if index["unique"]
            and not index.get("dialect_options", {}).get("postgresql_where")
            and index.get("dialect_options", {}).get("sqlite_where") is None
        ]
        if [key] not in uniques:
            raise ConfigError(
                f"{self._shown}.{key} is not unique: two writers could make two rows of one user",
                hint=f"create unique index on {self._shown} ({key}), or set clerk.upsert_profiles: false",
            )

    def _check_required(self, targets: Mapping[str, Target]) -> None:
        ours = {target.name for target in targets.values()}
        missing = [
            column["name"]
            for column in self._reflected()
            if not column["nullable"]
            and column["default"] is None
            and column["name"] not in ours
            and column.get("computed") is None
            and column.get("identity") is None
            and not self._fills_itself(column["name"])
        ]
        if missing:
            raise ConfigError(
                f"{self._shown} needs {', '.join(missing)}, which Clerk does not know",
                hint="give them a default or let them be null, or set clerk.upsert_profiles: false",
            )

    def _fills_itself(self, column: str) -> bool:
        """SQLite's INTEGER PRIMARY KEY."""
        if not self._is_sqlite:
            return False
        key = inspect(self._engine).get_pk_constraint(self._name)["constrained_columns"]
        kinds = {c["name"]: c["type"] for c in self._reflected()}
        return key == [column] and isinstance(kinds[column], sa.Integer)

    def _check_rights(self, targets: Mapping[str, Target]) -> None:
        if self._is_sqlite:
            return
        quoted = self._engine.dialect.identifier_preparer.format_table(self._table())
        names = [target.name for target in targets.values()]
        with self._engine.connect() as connection:
            for right, columns in (("INSERT", names), ("UPDATE", names), ("SELECT", names)):
                refused = [
                    name
                    for name in columns
                    if not connection.execute(
                        text("SELECT has_column_privilege(:table, :column, :right)"),
                        {"table": quoted, "column": name, "right": right},
                    ).scalar_one()
                ]
                if refused:
                    raise ConfigError(
                        f"the database role may not {right} {', '.join(refused)} of {self._shown}",
                        hint=f"grant select, insert, update on {self._shown} to the role of profiles.url",
                    )

    def _touching_triggers(self) -> list[str]:
        if self._is_sqlite:
            return []
        quoted = self._engine.dialect.identifier_preparer.format_table(self._table())
        query = (
            "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND NOT tgisinternal "
            "AND tgtype & 19 = 19 AND tgenabled <> 'D' ORDER BY tgname"  # 1 row, 2 before, 16 update
        )
        with self._engine.connect() as connection:
            names = list(connection.execute(text(query), {"table": quoted}).scalars())
        return [
            f"{self._shown} has a trigger {name} before updates: if it sets updated_at to the time of the write, "
            "Clerk's next change may look older than the row"
            for name in names
        ]


# --- parts ----------------------------------------------------------------------------------------------------------


def _wanted(profile: Profile) -> dict[str, Any]:
    """Our fields to their values, for all that the profile knows. The flag never outlives a doubt about the address."""
    values = {name: getattr(profile, name, None) for name in WRITTEN if name != "full_name" and profile.knows(name)}
    if profile.knows("email"):
        values["email_verified"] = bool(profile.email and profile.email_verified)
    else:
        values.pop("email_verified", None)
    if profile.knows("first_name") and profile.knows("last_name"):
        values["full_name"] = " ".join(part for part in (profile.first_name, profile.last_name) if part) or None
    if profile.metadata is None:
        values.pop("metadata", None)
    if profile.updated_at is None:
        values.pop("updated_at", None)
    return values


def _not_deleted(target: Target, table: Table) -> ColumnElement[bool]:
    column = table.c[target.name]
    if target.kind == "bool":
        return column.is_not(True)
    return column.is_(None)


def _in_ms(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((column < MS_FROM, column * 1000), else_=column)


def _sqlite_ms(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Milliseconds of a SQLite time in any usual spelling; NULL for what is none."""
    number = case((type_coerce(column, Numeric()) < MS_FROM, column.op("*")(1000)), else_=column)
    days = func.julianday(column) - 2440587.5
    return case((func.typeof(column).in_(["integer", "real"]), number), else_=func.round(days * 86_400_000))
