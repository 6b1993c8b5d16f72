"""`MirrorTable`: the mirror's customers, and which of them still equal their users' mappings.

Loops over whole shops: SQLAlchemy Core statements and plain driver tuples, a bounded number at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Case,
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.ports import FoundEqual, Known, MirrorMark, Pair, Seen, Source, Touched
from reconciler.state import equal
from reconciler.state.database.engine import reading, writing
from reconciler.state.database.queries import parts
from reconciler.state.mappings import MappingTable
from reconciler.state.tables.mappings import TOMBSTONES, MappingRow, index_key
from reconciler.state.tables.mirror import MirrorMarkRow, MirrorRow
from reconciler.state.tables.rows import number_of

PAGE = 500
LOW = (1 << 32) - 1
SURELY = timedelta(seconds=5)  # covers a shop's times in whole seconds and the difference between two clocks

_mapping: Table = MappingRow.__table__
_mirror: Table = MirrorRow.__table__
_mark: Table = MirrorMarkRow.__table__
_living = _mapping.c.status.not_in(TOMBSTONES)
_user = _mapping.c.clerk_user_id
_customer = _mirror.c.shopify_customer_id
_here = _mirror.c.gone == false()


class MirrorTable(MappingTable):
    """`ports.State` and `ports.Mirror` on SQLite or Postgres: the mappings beside the mirror of their customers."""

    # --- questions of a scan ---------------------------------------------------------------------------------------

    def pairs(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[Pair]:
        query = select(_user, _equal(config)).where(_mapping.c.shopify_shop == shop, _living, *_range(after, upto))
        return self._raw(query.order_by(_user).limit(limit))

    def found_equal(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[FoundEqual]:
        fp = _in_sync(config, _mapping.c.profile_fp)
        query = select(_user, fp, _mapping.c.shopify_customer_id, _mapping.c.observed_fp)
        query = query.where(_mapping.c.shopify_shop == shop, _living, *_range(after, upto))
        return self._raw(query.order_by(_user).limit(limit))

    def sums(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None
    ) -> tuple[int, int, int]:
        fp = _equal(config).label("fp")
        rows = select(fp).where(_mapping.c.shopify_shop == shop, _living, *_range(after, upto)).subquery()
        halves = (
            func.sum(rows.c.fp.bitwise_rshift(literal_column("32"))),
            func.sum(rows.c.fp.bitwise_and(LOW)),
        )  # SQLite's sum has 64 bits
        count, equal, high, low = self._raw(select(func.count(), func.count(rows.c.fp), *halves))[0]
        return count, equal, (int(high or 0) << 32) + int(low or 0)

    def moves_since(self, shop: ShopDomain, at: datetime) -> Iterator[list[ClerkUserId]]:
        moved_at, after = at, ""
        while True:  # by the index on moved_at, not through the mappings: few customers moved, all are mapped
            later = or_(_mirror.c.moved_at > moved_at, and_(_mirror.c.moved_at == moved_at, _customer > after))
            query = select(_customer, _mirror.c.observed_fp, _mirror.c.gone, _mirror.c.moved_at)
            query = query.where(_mirror.c.shopify_shop == shop, _mirror.c.moved_at >= moved_at, later)
            page = self._rows(query.order_by(_mirror.c.moved_at, _customer).limit(PAGE))
            now = {row[0]: None if row.gone else row.observed_fp for row in page}
            users = sorted(self._differing(shop, now))
            if users:
                yield users
            if len(page) < PAGE:
                return
            moved_at, after = page[-1].moved_at, page[-1][0]

    def _differing(self, shop: ShopDomain, now: dict[str, int | None]) -> list[ClerkUserId]:
        """Return users with a mapping that does not equal what their customer shows now."""
        columns = (_user, _mapping.c.shopify_customer_id, _mapping.c.observed_fp)
        found: list[ClerkUserId] = []
        for part in parts(now):
            query = select(*columns).where(
                _mapping.c.shopify_shop == shop, _mapping.c.shopify_customer_id.in_(part), _living
            )
            found += [
                ClerkUserId(u) for u, customer, fp in self._raw(query) if now[customer] is None or now[customer] != fp
            ]
        return found

    # --- known customers -------------------------------------------------------------------------------------------

    def is_whole(self, shop: ShopDomain) -> bool:
        doubted = select(_customer).where(_mirror.c.shopify_shop == shop, _here, _mirror.c.observed_fp.is_(None))
        return not self._rows(doubted.limit(1))

    def known(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, Known]:
        columns = (_customer, _mirror.c.observed, _mirror.c.observed_fp, _mirror.c.updated_at)
        there = (_mirror.c.shopify_shop == shop, _here, _mirror.c.observed_fp.is_not(None))
        found = (self._rows(select(*columns).where(*there, _customer.in_(part))) for part in parts(customers))
        return {CustomerId(row[0]): Known(row[1], row[2], row[3]) for rows in found for row in rows}

    def known_backlinks(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> set[ClerkUserId]:
        return {ClerkUserId(user) for user in self._values_among(shop, _mirror.c.backlink, users)}

    def known_emails(self, shop: ShopDomain, keys: Collection[str]) -> set[str]:
        return self._values_among(shop, _mirror.c.email_key, keys)

    def known_phones(self, shop: ShopDomain, keys: Collection[str]) -> set[str]:
        return self._values_among(shop, _mirror.c.phone_key, keys)

    def _values_among(self, shop: ShopDomain, column: ColumnElement[Any], values: Collection[str]) -> set[str]:
        there = select(column).where(_mirror.c.shopify_shop == shop, _here)
        return {row[0] for part in parts(values) for row in self._rows(there.where(column.in_(part)))}

    def _raw(self, query: Any) -> list[Any]:
        """Return the driver's tuples: SQLAlchemy's Row objects would double the cost."""
        with reading(self._engine) as connection:
            return list(connection.execute(query).cursor.fetchall())

    # --- progress --------------------------------------------------------------------------------------------------

    def mirror_mark(self, shop: ShopDomain) -> MirrorMark:
        return self.mirror_marks([shop]).get(shop, MirrorMark())

    def mirror_marks(self, shops: Collection[ShopDomain]) -> dict[ShopDomain, MirrorMark]:
        """Return the marks of those of these shops that have had a mirror."""
        query = select(_mark).where(_mark.c.shopify_shop.in_(bindparam("shops", expanding=True)))
        rows = [row for part in parts(shops) for row in self._rows(query, {"shops": part})]
        return {
            ShopDomain(row.shopify_shop): MirrorMark(
                row.operation,
                row.began_at,
                row.lines,
                row.expected,
                row.complete_at,
                row.listed_at,
                row.shape,
                row.begun_shape,
            )
            for row in rows
        }

    def mirror_size(self, shop: ShopDomain) -> int:
        query = select(func.count()).select_from(_mirror).where(_mirror.c.shopify_shop == shop, _here)
        return int(self._rows(query)[0][0])

    def begin_mirror(
        self, shop: ShopDomain, operation: str, *, now: datetime, expected: int | None, shape: str = ""
    ) -> MirrorMark:
        last = self.mirror_mark(shop).complete_at  # later than the last one, even if the clocks of two replicas differ
        began_at = now if last is None or now > last else last + timedelta(microseconds=1)
        fresh = {"operation": operation, "began_at": began_at, "lines": 0, "expected": expected, "begun_shape": shape}
        with writing(self._engine) as connection:
            self._upsert(connection, _mark, [{"shopify_shop": shop, **fresh}])
        return self.mirror_mark(shop)

    def end_mirror(self, shop: ShopDomain, *, complete: bool, now: datetime) -> int:
        def end(connection: Connection) -> int:
            began_at = connection.execute(select(_mark.c.began_at).where(_mark.c.shopify_shop == shop)).scalar_one()
            gone = 0
            values: dict[str, Any] = {"operation": None, "began_at": None, "begun_shape": None}
            if complete:
                values["shape"] = _mark.c.begun_shape
                unseen = and_(_mirror.c.shopify_shop == shop, _here, _mirror.c.seen_at < began_at)
                values |= {"complete_at": began_at, "listed_at": began_at}
                statement = update(_mirror).where(unseen).values(gone=true(), moved_at=now)
                gone = connection.execute(statement).rowcount
                equal.update_equal_of_gone(connection, shop, now)
            connection.execute(update(_mark).where(_mark.c.shopify_shop == shop).values(values))
            return gone

        return self._transact(end)

    def customers_to_read(self, shop: ShopDomain, touched: Collection[Touched]) -> list[CustomerId]:
        when = dict(touched)
        columns = (_customer, _mirror.c.updated_at, _mirror.c.seen_at)
        seen: set[str] = set()
        for part in parts(when):
            query = select(*columns).where(_mirror.c.shopify_shop == shop, _customer.in_(part), _here)
            for customer, updated_at, seen_at in self._rows(query.where(_mirror.c.observed_fp.is_not(None))):
                at = when[customer]
                if updated_at is not None and updated_at >= at and seen_at > at + SURELY:
                    seen.add(customer)
        return [customer for customer in when if customer not in seen]

    def mark_listed(self, shop: ShopDomain, at: datetime) -> None:
        with writing(self._engine) as connection:
            connection.execute(update(_mark).where(_mark.c.shopify_shop == shop).values(listed_at=at))

    # --- observations ----------------------------------------------------------------------------------------------

    def put_seen(
        self,
        shop: ShopDomain,
        seen: Sequence[Seen],
        *,
        as_of: datetime,
        now: datetime,
        source: Source,
        lines: int | None = None,
    ) -> int:
        newest = {s.customer_id: s for s in seen}

        def keep(connection: Connection) -> int:
            known = self._known(connection, shop, newest)
            moved = []
            for customer, found in sorted(newest.items()):
                before = known.get(customer)
                if before is None or not (_is_newer(before, found, as_of) or _is_same(before, found)):
                    moved.append(_row(shop, found, as_of, now, source))
            self._mark_seen(connection, shop, known, newest, as_of)
            if moved:
                self._upsert(connection, _mirror, moved)
            equal.update_equal(
                connection, shop, newest if source == "read" else [row["shopify_customer_id"] for row in moved]
            )
            if lines is not None:
                connection.execute(update(_mark).where(_mark.c.shopify_shop == shop).values(lines=lines))
            return len(moved)

        return self._transact(keep)

    def _mark_seen(
        self, connection: Connection, shop: ShopDomain, known: Any, newest: dict[CustomerId, Seen], as_of: datetime
    ) -> None:
        """Record that these customers existed at this time, and when the shop changed them last."""
        for part in parts([customer for customer, before in known.items() if not before.gone]):
            statement = update(_mirror).where(_mirror.c.shopify_shop == shop, _customer.in_(part))
            connection.execute(statement.where(_mirror.c.seen_at < as_of).values(seen_at=as_of))
        touched = [
            {"shop": shop, "customer": customer, "at": newest[customer].updated_at}
            for customer, before in known.items()
            if _is_same(before, newest[customer]) and _is_later(newest[customer].updated_at, before.updated_at)
        ]
        if touched:
            one = update(_mirror).where(_mirror.c.shopify_shop == bindparam("shop"), _customer == bindparam("customer"))
            connection.execute(one.values(updated_at=bindparam("at")), touched)

    def touch(self, shop: ShopDomain, customers: Collection[CustomerId], *, now: datetime, gone: bool) -> None:
        values: dict[str, Any] = {"moved_at": now, "source": "webhook"}
        values |= {"gone": true()} if gone else {"observed_fp": None}

        def mark(connection: Connection) -> None:
            for part in parts(customers):
                touched = update(_mirror).where(_mirror.c.shopify_shop == shop, _customer.in_(part), _here)
                connection.execute(touched.values(values))
            equal.update_equal(connection, shop, customers)

        self._transact(mark)

    def _known(self, connection: Connection, shop: ShopDomain, customers: Collection[str]) -> dict[Any, Any]:
        """Return the mirror's rows of these customers, locked in the order of all writes."""
        columns = (_customer, _mirror.c.observed_fp, _mirror.c.updated_at, _mirror.c.moved_at, _mirror.c.gone)
        found: dict[Any, Any] = {}
        for part in parts(customers):
            query = select(*columns, _mirror.c.seen_at).where(_mirror.c.shopify_shop == shop, _customer.in_(part))
            found |= {row[0]: row for row in connection.execute(query.order_by(_customer).with_for_update())}
        return found


def _equal(config: str) -> Case[Any]:
    """Return SQL for the fingerprint of a mapping that is equal under this policy, else NULL."""
    return _in_sync(config, _mapping.c.equal_fp)


def _in_sync(config: str, fp: Column[Any]) -> Case[Any]:
    """Return SQL for this fingerprint of a mapping that is in sync under this policy, else NULL."""
    is_in_sync = and_(_mapping.c.status == "in_sync", _mapping.c.config_fp == number_of(config))
    return case((is_in_sync, fp), else_=null())


def _range(after: ClerkUserId | None, upto: ClerkUserId | None) -> list[ColumnElement[bool]]:
    bounds = [_user > after] if after is not None else []
    return bounds + ([_user <= upto] if upto is not None else [])


def _is_same(before: Any, found: Seen) -> bool:
    return not before.gone and found.fp is not None and before.observed_fp == found.fp


def _is_newer(before: Any, found: Seen, as_of: datetime) -> bool:
    """Return whether the kept row is newer: gone or named by a webhook after `as_of`, or updated later in the shop."""
    if before.gone or before.observed_fp is None:
        return bool(before.moved_at > as_of)
    if _is_later(before.updated_at, found.updated_at):
        return True
    return bool(before.seen_at > as_of) and not _is_later(found.updated_at, before.updated_at)


def _is_later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one > other)


def _row(shop: ShopDomain, found: Seen, as_of: datetime, now: datetime, source: Source) -> dict[str, Any]:
    return {
        "shopify_shop": shop,
        "shopify_customer_id": found.customer_id,
        "email_key": index_key(found.email_key),
        "phone_key": index_key(found.phone_key),
        "backlink": index_key(found.backlink),
        "observed": found.values,
        "observed_fp": found.fp,
        "seen_at": as_of,
        "moved_at": now,
        "updated_at": found.updated_at,
        "source": source,
        "gone": False,
    }
