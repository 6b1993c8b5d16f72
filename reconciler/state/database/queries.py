"""`Database`: what the repositories of the state share: an engine, queries, retried transactions, upserts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, and_, not_
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from reconciler.errors import StateError
from reconciler.outbound.databases.away import is_away
from reconciler.state.database.engine import OUTAGE, is_sqlite, reading, writing

T = TypeVar("T")

ASK = 500  # names in one IN list
TRIES = 5
LAST = "\U0010ffff"  # sorts after every other character
# SQLSTATEs: unique violation, deadlock, serialization failure, lock timeout (for example behind a frozen process), and
# idle-in-transaction timeout (this process was the frozen one).
LOST_RACE = frozenset({"23505", "40P01", "40001", "55P03", "25P03"})
SHUTDOWN = "57P01"


def begins_with(column: Column[Any], text: str) -> ColumnElement[bool]:
    """Whether a key column begins with this text, as a range that its index serves; LIKE is served only by some."""
    return and_(column >= text, column < text + LAST)


class Database:
    """An engine and its queries. Thread-safe: each call takes its own connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _rows(self, query: Any, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """Return the rows of one statement; ask once more if the connection was lost, as a read may be repeated."""
        return read_rows(self._engine, query, values)

    def _transact(self, work: Callable[[Connection], T], engine: Engine | None = None) -> T:
        """Return the result of `work` in one transaction; repeat it if a concurrent transaction made it fail.

        Also if the database went away before the commit, where calls wait for that.
        """
        used = self._engine if engine is None else engine
        for left in reversed(range(TRIES)):
            commits = False
            try:
                with writing(used) as connection:
                    result = work(connection)
                    commits = True
                return result  # noqa: TRY300  the commit is within the block before
            except StateError as error:
                again = _lost_race(error.__cause__) or _is_uncommitted(used, error.__cause__, commits=commits)
                if not left or not again:
                    raise
        raise AssertionError("the last try returns or raises")

    def _insert(self, table: Table) -> Any:
        """Return an INSERT with `on_conflict_…` for this database."""
        return insert_into(table, is_for_sqlite=is_sqlite(self._engine))

    def _insert_new(self, connection: Connection, table: Table, row: dict[str, Any]) -> bool:
        """Insert the row unless its key exists; return whether it was inserted. (Postgres' driver does not count rows.)"""
        key = next(iter(table.primary_key))
        statement = self._insert(table).values(row).on_conflict_do_nothing().returning(key)
        return connection.execute(statement).first() is not None

    def _upsert(
        self,
        connection: Connection,
        table: Table,
        rows: list[dict[str, Any]],
        *,
        unless: Callable[[Any], ColumnElement[bool]] | None = None,
    ) -> None:
        """Insert or replace rows. `unless`: a condition on the new row under which the existing row stays."""
        connection.execute(_upsert(is_sqlite(self._engine), table, tuple(rows[0]), unless), rows)

    def _upsert_one(
        self, connection: Connection, table: Table, row: dict[str, Any], *, unless: Callable[[Any], ColumnElement[bool]]
    ) -> bool:
        """The same for one row; return whether it was written."""
        statement = _upsert(is_sqlite(self._engine), table, tuple(row), unless, returns=True)
        return connection.execute(statement, row).first() is not None


def insert_into(table: Table, *, is_for_sqlite: bool) -> Any:
    """Return an INSERT with `on_conflict_…` for one of the databases."""
    if is_for_sqlite:
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415  takes long to import, and SQLite does without

    return postgresql.insert(table)


@cache
def _upsert(
    is_for_sqlite: bool,  # noqa: FBT001  a part of the key
    table: Table,
    names: tuple[str, ...],
    unless: Callable[[Any], ColumnElement[bool]] | None,
    *,
    returns: bool = False,
) -> Any:
    """The statement of `Database._upsert`, built once: that takes longer than to write a row."""
    statement = insert_into(table, is_for_sqlite=is_for_sqlite)
    keys = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in names if name not in keys}
    where = None if unless is None else not_(unless(statement.excluded))
    upsert = statement.on_conflict_do_update(index_elements=keys, set_=values, where=where)
    return upsert.returning(next(iter(table.primary_key))) if returns else upsert


def read_rows(engine: Engine, query: Any, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
    """Return the rows of one statement; ask once more if the connection was lost, as a read may be repeated."""
    try:
        with reading(engine) as connection:
            return connection.execute(query, values).all()
    except StateError as error:
        if not isinstance(error.__cause__, DBAPIError) or not error.__cause__.connection_invalidated:
            raise
    with reading(engine) as connection:
        if not is_sqlite(engine):
            from reconciler.outbound.databases.patience import SLOW_S, wait_in_silence  # noqa: PLC0415  imports psycopg

            wait_in_silence(connection, SLOW_S)
        return connection.execute(query, values).all()


def _is_uncommitted(engine: Engine, cause: BaseException | None, *, commits: bool) -> bool:
    """Whether a transaction was lost that is certainly not committed, where calls wait for the database.

    A server that shuts down ends a session between statements. If it has committed before, its answer to COMMIT comes
    first, and psycopg raises another error for two answers (since 3.3.9; 3.3.0 showed the last one only).
    """
    if OUTAGE not in engine.get_execution_options() or not isinstance(cause, DBAPIError) or not is_away(cause):
        return False
    return not commits or getattr(cause.orig, "sqlstate", None) == SHUTDOWN


def _lost_race(cause: BaseException | None) -> bool:
    """Return whether a transaction failed because of a concurrent one: to repeat it can help."""
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in LOST_RACE


def parts(names: Collection[str]) -> Iterator[list[str]]:
    """Return the distinct names, sorted, in lists that fit into one statement."""
    ordered = sorted(set(names))
    return (ordered[i : i + ASK] for i in range(0, len(ordered), ASK))
