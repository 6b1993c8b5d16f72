"""`BulkTable`: files and lines of bulk mutations in the state. Plain rows, since whole shops pass through here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Connection, Table, bindparam, case, delete, func, select, update

from reconciler.core.model.batches import batches
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.ports import BulkCounts, BulkFile, BulkLine, Settled
from reconciler.state.database.engine import writing
from reconciler.state.database.queries import ASK, parts
from reconciler.state.erasure import erasures_of
from reconciler.state.mappings import MappingTable
from reconciler.state.tables.bulk import BulkFileRow, BulkLineRow

_file: Table = BulkFileRow.__table__
_line: Table = BulkLineRow.__table__
_FILE = ("key", "rides_in", "path", "digest", "lines", "begun_at", "operation")
_LINE = ("rides_in", "decision", "plan_digest", "position", "tries", "file", "number")

_SHOPS: BindParameter[Any] = bindparam("shops", expanding=True)
_FILES = (
    select(
        _file.c.shopify_shop,
        func.min(_file.c.begun_at),
        func.count(),
        func.count(_file.c.operation),
        func.sum(_file.c.lines),
    )
    .where(_file.c.shopify_shop.in_(_SHOPS))
    .group_by(_file.c.shopify_shop)
)
_EACH = (
    select(_line.c.shopify_shop, _line.c.file, func.count().label("lines"))
    .where(_line.c.shopify_shop.in_(_SHOPS))
    .group_by(_line.c.shopify_shop, _line.c.file, _line.c.number)
    .subquery()
)
"""Lines of one number in a file are one line of that file, with metafields of several users."""
_LINES = select(
    _EACH.c.shopify_shop,
    func.sum(case((_EACH.c.file.is_(None), _EACH.c.lines), else_=0)),
    func.count(_EACH.c.file),
).group_by(_EACH.c.shopify_shop)


class BulkTable(MappingTable):
    """`ports.BulkRepository` on SQLite or Postgres."""

    def bulk_files(self, shop: ShopDomain) -> list[BulkFile]:
        query = select(_file).where(_file.c.shopify_shop == shop).order_by(_file.c.begun_at, _file.c.path)
        return [_file_of(row) for row in self._rows(query)]

    def bulk_waiting(self, shop: ShopDomain) -> dict[str, int]:
        query = (
            select(_line.c.rides_in, func.count())
            .where(_line.c.shopify_shop == shop, _line.c.file.is_(None))
            .group_by(_line.c.rides_in)
            .order_by(_line.c.rides_in)
        )
        return dict(self._rows(query))

    def bulk_counts(self, shops: Collection[ShopDomain]) -> dict[ShopDomain, BulkCounts]:
        found: dict[ShopDomain, BulkCounts] = {}
        for part in parts(shops):
            for shop, *counts in self._rows(_FILES, {"shops": part}):
                found[shop] = BulkCounts(*counts)
            for shop, waiting, left in self._rows(_LINES, {"shops": part}):
                found[shop] = replace(found.get(shop, BulkCounts()), waiting=int(waiting), left=left)
        return found

    def enqueue_lines(self, shop: ShopDomain, lines: Sequence[BulkLine]) -> None:
        if lines:
            with writing(self._engine) as connection:
                self._enqueue(connection, shop, lines)

    def next_lines(
        self, shop: ShopDomain, rides_in: str, *, limit: int, after: ClerkUserId | None = None
    ) -> list[BulkLine]:
        waiting = select(_line).where(
            _line.c.shopify_shop == shop, _line.c.file.is_(None), _line.c.rides_in == rides_in
        )
        if after is not None:
            waiting = waiting.where(_line.c.clerk_user_id > after)
        return [_line_of(row) for row in self._rows(waiting.order_by(_line.c.clerk_user_id).limit(limit))]

    def begin_file(self, file: BulkFile, numbers: MappingOf[ClerkUserId, int]) -> None:
        row = {name: getattr(file, name) for name in _FILE} | {"shopify_shop": file.shop}
        # The names of bindparam must differ from those of columns.
        assign = (
            update(_line)
            .where(_line.c.shopify_shop == file.shop, _line.c.clerk_user_id == bindparam("user_is"))
            .values(file=file.key, number=bindparam("at"), tries=_line.c.tries + 1)
        )
        with writing(self._engine) as connection:
            connection.execute(_file.insert(), [row])
            for part in batches(numbers.items(), ASK):
                connection.execute(assign, [{"user_is": user, "at": number} for user, number in part])

    def note_operation(self, file: BulkFile, operation: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(update(_file).where(_file.c.key == file.key).values(operation=operation))

    def file_lines(
        self, file: BulkFile, *, numbers: Collection[int] | None = None, limit: int | None = None
    ) -> list[BulkLine]:
        mine = select(_line).where(_line.c.file == file.key, _line.c.shopify_shop == file.shop)
        ordered = mine.order_by(_line.c.number, _line.c.clerk_user_id)
        if numbers is None:
            return [_line_of(row) for row in self._rows(ordered.limit(limit))]
        pieces = batches(sorted(set(numbers)), ASK)
        return [_line_of(row) for piece in pieces for row in self._rows(ordered.where(_line.c.number.in_(piece)))]

    def settle_lines(
        self,
        shop: ShopDomain,
        rows: Sequence[Mapping],
        events: Sequence[Event],
        *,
        done: Collection[ClerkUserId] = (),
        more: Sequence[BulkLine] = (),
        before: MappingOf[ClerkUserId, Mapping | None] | None = None,
    ) -> Settled:
        overtaken: set[ClerkUserId] = set()

        def also(connection: Connection, kept: Sequence[Mapping]) -> None:
            overtaken.clear()  # the transaction may run again after a lost race
            if before is not None:
                overtaken.update({row.clerk_user_id for row in rows} - {row.clerk_user_id for row in kept})
            for users in parts([user for user in done if user not in overtaken]):
                connection.execute(delete(_line).where(_line.c.shopify_shop == shop, _line.c.clerk_user_id.in_(users)))
            if left := [line for line in more if line.user not in overtaken]:
                self._enqueue(connection, shop, left)

        if rows:
            was = None if before is None else {(row.shop, row.clerk_user_id): before[row.clerk_user_id] for row in rows}
            return Settled(self._put(rows, events, also=also, before=was), frozenset(overtaken))
        with writing(self._engine) as connection:
            also(connection, ())
        return Settled()

    def end_file(self, file: BulkFile) -> None:
        with writing(self._engine) as connection:
            connection.execute(update(_line).where(_line.c.file == file.key).values(file=None, number=None))
            connection.execute(delete(_file).where(_file.c.key == file.key))

    def unsent_lines(self, shop: ShopDomain, *, limit: int) -> list[BulkLine]:
        query = (
            select(_line)
            .where(_line.c.shopify_shop == shop, _line.c.file.is_(None), _line.c.position == 0)
            .order_by(_line.c.clerk_user_id)
            .limit(limit)
        )
        return [_line_of(row) for row in self._rows(query)]

    def _enqueue(self, connection: Connection, shop: ShopDomain, lines: Sequence[BulkLine]) -> None:
        """Insert or replace these lines, without those of erased users."""
        gone = erasures_of(connection, shop, [line.user for line in lines])
        rows = [_line_row(shop, line) for line in lines if line.user not in gone]
        if rows:
            self._upsert(connection, _line, rows)


def _line_row(shop: ShopDomain, line: BulkLine) -> dict[str, Any]:
    own = {"shopify_shop": shop, "clerk_user_id": line.user, "shopify_customer_id": line.customer}
    return own | {name: getattr(line, name) for name in _LINE}


def _line_of(row: Any) -> BulkLine:
    customer = row.shopify_customer_id
    return BulkLine(
        user=ClerkUserId(row.clerk_user_id),
        customer=CustomerId(customer) if customer is not None else None,
        **{name: getattr(row, name) for name in _LINE},
    )


def _file_of(row: Any) -> BulkFile:
    return BulkFile(shop=ShopDomain(row.shopify_shop), **{name: getattr(row, name) for name in _FILE})
