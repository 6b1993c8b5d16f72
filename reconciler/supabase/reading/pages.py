"""Pages through a table by short statements with key conditions, so that no lock is held between two pages.

Callers need rows in code-point order of the key, as the state sorts its mappings. An index has this order only if the
column's collation is "C", or its type has only one order. Otherwise only the keys are read, in the order of the index; they
are sorted here, and the rows are read by key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import TEMPORARY_SPACE, PermanentError, SourceBusy
from reconciler.supabase.reading.page_size import PageSize
from reconciler.supabase.reading.table import ProfileTable, Walk

KEYS = 20_000  # keys in one page that has only keys
SAME_MAX = 4096  # rows of one key that are read together
SORT_BATCH = 2000

Row = tuple[Any, ...]
Walks = Callable[[ProfileTable], tuple[Walk, ...]]
Build = Callable[[ProfileTable, ColumnElement[bool], ColumnElement[Any]], sa.Select[Any] | sa.CompoundSelect[Any]]
RunQuery = Callable[[Callable[[ProfileTable], Any]], tuple[ProfileTable, list[Row]]]


def by_index(table: ProfileTable) -> tuple[Walk, ...]:
    """The walks that an index on the key supports."""
    return table.walks


def by_value(table: ProfileTable) -> tuple[Walk, ...]:
    """The walk in code-point order without an index on the key, for queries that another index supports."""
    return (table.plain_walk,)


def pages(
    ask: RunQuery,
    table: ProfileTable,
    build: Build,
    *,
    size: int,
    after: ClerkUserId | None = None,
    walks: Walks = by_index,
) -> Iterator[tuple[ProfileTable, list[Row]]]:
    """Read rows in the order of these walks, `size` at most in a page or so; rows of one key are in one page.

    `build` makes the statement from a condition and an order; its first column is the key. `ask` runs it for the current
    table in its own transaction. A row that exists throughout comes once; rows that appear or disappear meanwhile may or may
    not come.
    """
    for number in range(len(walks(table))):
        yield from _pages_of_walk(ask, table, partial(_walk_at, number, walks), build, size, after)


def _walk_at(number: int, walks: Walks, table: ProfileTable) -> Walk:
    return walks(table)[number]


def _pages_of_walk(
    ask: RunQuery,
    began: ProfileTable,
    walk_of: Callable[[ProfileTable], Walk],
    build: Build,
    size: int,
    after: ClerkUserId | None,
) -> Iterator[tuple[ProfileTable, list[Row]]]:
    last: str | bytes | None = None
    fitting = PageSize()
    limit = fitting.rows(size) + 1

    def statement(table: ProfileTable) -> Any:
        if table.key_type != began.key_type:
            raise SourceBusy(
                f"the key column of {table.name} was altered while it was read", hint="the read is repeated later"
            )
        walk = walk_of(table)
        conditions = [walk.where, *_behind(table, walk, after, last)]
        return build(table, sa.and_(*conditions), walk.by).limit(limit)

    while True:
        table, rows = ask(statement)
        fitting.learn(rows)
        if len(rows) < limit:
            if rows:
                yield table, rows
            return
        end = _last_group(rows)
        if not end and limit < SAME_MAX:
            limit *= 2  # all rows have one key: there may be more
            continue
        end = end or len(rows)
        yield table, rows[:end]
        last, limit = rows[end - 1][0], fitting.rows(size) + 1


def _behind(
    table: ProfileTable, walk: Walk, after: ClerkUserId | None, last: str | bytes | None
) -> Iterator[ColumnElement[bool]]:
    if last is not None:
        yield walk.behind(last)
    if after is not None and walk.has_texts and (last is None or not walk.in_order):
        yield walk.behind(after) if walk.in_order and walk.fits(after) else table.key > after


def _last_group(rows: Sequence[Row]) -> int:
    """The index at which the rows of the last key begin."""
    last, end = rows[-1][0], len(rows) - 1
    while end and rows[end - 1][0] == last:
        end -= 1
    return end


def keys_in_order(
    ask: RunQuery,
    table: ProfileTable,
    build: Build,
    *,
    after: ClerkUserId | None = None,
    walks: Walks = by_index,
    keep: Callable[[Row], bool] = lambda _row: True,
) -> Iterator[str]:
    """The keys of the rows from `build` that `keep` accepts: text keys only, each once, in code-point order.

    Memory does not grow with their number.
    """
    found = pages(ask, table, build, size=KEYS, after=after, walks=walks)
    kept = ([row[0] for row in rows if isinstance(row[0], str) and keep(row)] for _, rows in found)
    if all(walk.in_order for walk in walks(table)):
        yield from (key for keys in kept for key, _ in groupby(keys))
        return
    with closing(Sorter(1)) as sorter:
        for keys in kept:
            sorter.add((key,) for key in keys)
        yield from (row[0] for row, _ in groupby(sorter.rows()))


class Sorter:
    """Sorts rows of text that may not fit into memory, by code point, in a private temporary SQLite file.

    PermanentError where that file can't be written.
    """

    def __init__(self, columns: int) -> None:
        self._names = [f"c{number}" for number in range(columns)]
        with _temporary_file():
            self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._connection.execute(f"CREATE TABLE row ({', '.join(f'{name} TEXT' for name in self._names)})")
            self._connection.execute("BEGIN")

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Add rows."""
        marks = ", ".join("?" for _ in self._names)
        with _temporary_file():
            self._connection.executemany(f"INSERT INTO row VALUES ({marks})", rows)  # noqa: S608  without values

    def rows(self) -> Iterator[Row]:
        """All added rows, sorted."""
        with _temporary_file():
            cursor = self._connection.execute(f"SELECT * FROM row ORDER BY {', '.join(self._names)}")  # noqa: S608  as above
            rows = cursor.fetchmany(SORT_BATCH)
        while rows:
            yield from rows
            with _temporary_file():
                rows = cursor.fetchmany(SORT_BATCH)

    def close(self) -> None:
        """Remove the file."""
        self._connection.close()


@contextmanager
def _temporary_file() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise PermanentError(f"a temporary file can't be written: {error}", hint=TEMPORARY_SPACE) from error


def shared_keys(found: Iterable[Iterable[tuple[str, str]]]) -> Iterator[str]:
    """From pages of (value, key), the keys with a value that another key has too; a key may come more than once."""
    with closing(Sorter(2)) as sorter:
        for page in found:
            sorter.add(page)
        before: Row | None = None
        was_shared = False
        for row in sorter.rows():
            is_shared = before is not None and row[0] == before[0] and (was_shared or row[1] != before[1])
            if is_shared and not was_shared and before is not None:
                yield before[1]
            if is_shared:
                yield row[1]
            was_shared = is_shared
            before = row
