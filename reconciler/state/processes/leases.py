"""Leases and budgets, which the processes of one state share."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any

from sqlalchemy import BigInteger, Column, Engine, Table, and_, bindparam, case, delete, or_, select, update
from sqlmodel import Field

from reconciler.core.model.ids import ShopDomain
from reconciler.ports import Holder
from reconciler.state.database.engine import SCHEMA, autocommitting, is_sqlite, repeatable, writing
from reconciler.state.database.holder import is_gone, new_holder, where
from reconciler.state.database.queries import Database, insert_into, parts
from reconciler.state.tables.mappings import Row, UtcDateTime, time_column

BUDGETS_KEPT = timedelta(days=2)
LEASE_MAX = timedelta(minutes=10)


class BudgetRow(Row, table=True):
    """How many actions of one kind the guards allowed in a shop in one hour of `run`."""

    __tablename__ = "reconciler_budget"
    shopify_shop: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    hour: datetime = Field(sa_column=Column(UtcDateTime(), primary_key=True))
    spent: int
    __table_args__ = ({"schema": SCHEMA},)


class LeaseRow(Row, table=True):
    """The holder of a lease. The row stays after a release, so that `fence` only grows."""

    __tablename__ = "reconciler_lease"
    name: str = Field(primary_key=True)
    owner: str
    fence: int = Field(sa_column=Column(BigInteger(), nullable=False))
    until: datetime = Field(sa_column=time_column(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_lease: Table = LeaseRow.__table__
_budget: Table = BudgetRow.__table__


class LeaseTable(Database):
    """`ports.Leases`. One statement takes a lease, so no lock is held and a transaction pooler works."""

    def acquire(self, name: str, owner: str, *, ttl_s: float, now: datetime) -> int | None:
        until = now + timedelta(seconds=ttl_s)
        first = {"name": name, "owner": owner, "fence": 1, "until": until}
        over = _lease.c.until <= now
        # A lease that ends later than any holder may set was written by a clock that was ahead (or by an earlier version).
        wrong = _lease.c.until > now + max(timedelta(seconds=2 * ttl_s), LEASE_MAX)
        free = or_(over, wrong, _lease.c.owner == "")
        again = (
            update(_lease)
            .where(_lease.c.name == name, or_(free, _lease.c.owner == owner))
            .values(owner=owner, until=until, fence=_lease.c.fence + case((free, 1), else_=0))
            .returning(_lease.c.fence)
        )
        with writing(self._engine) as connection:
            if self._insert_new(connection, _lease, first):
                return 1
            fence: int | None = connection.execute(again).scalar_one_or_none()
        return self._inherit(name, owner, until) if fence is None else fence

    def _inherit(self, name: str, owner: str, until: datetime) -> int | None:
        """Take the lease over from a holder that has provably ended."""
        held = self._held(name)
        if held is None or not is_gone(held.owner):
            return None
        same = and_(_lease.c.name == name, _lease.c.owner == held.owner, _lease.c.fence == held.fence)
        taken = update(_lease).where(same).values(owner=owner, until=until, fence=_lease.c.fence + 1)
        with writing(self._engine) as connection:
            fence: int | None = connection.execute(taken.returning(_lease.c.fence)).scalar_one_or_none()
            return fence

    def new_holder(self) -> str:
        return new_holder()

    def holder(self, name: str, *, now: datetime) -> Holder | None:
        return self.holders([name], now=now).get(name)

    def holders(self, names: Collection[str], *, now: datetime) -> dict[str, Holder]:
        """Return the present holders of those of these leases that are not free."""
        query = select(_lease).where(_lease.c.name.in_(bindparam("names", expanding=True)))
        rows = [row for part in parts(names) for row in self._rows(query, {"names": part})]
        return {
            row.name: Holder(where=where(row.owner), left_s=(row.until - now).total_seconds())
            for row in rows
            if row.owner and row.until > now and not is_gone(row.owner)
        }

    def _held(self, name: str) -> Any:
        rows = self._rows(select(_lease).where(_lease.c.name == name))
        return rows[0] if rows else None

    def renew(self, name: str, owner: str, fence: int, *, ttl_s: float, now: datetime) -> bool:
        theirs = and_(_lease.c.name == name, _lease.c.owner == owner, _lease.c.fence == fence)
        with writing(self._engine) as connection:
            changed = connection.execute(update(_lease).where(theirs).values(until=now + timedelta(seconds=ttl_s)))
            return changed.rowcount == 1

    def release_lease(self, name: str, owner: str, fence: int, *, now: datetime) -> None:
        theirs = and_(_lease.c.name == name, _lease.c.owner == owner, _lease.c.fence == fence)
        with writing(self._engine) as connection:
            connection.execute(update(_lease).where(theirs).values(owner="", until=now))

    def take_back_leases(self, prefix: str, *, now: datetime) -> int:
        """Release all leases with this prefix of ended holders; return how many. For the only process on SQLite."""
        held = and_(_lease.c.name.startswith(prefix, autoescape=True), _lease.c.owner != "")
        with writing(self._engine) as connection:
            return connection.execute(update(_lease).where(held).values(owner="", until=now)).rowcount


class BudgetTable(Database):
    """`ports.Budgets`. A new hour deletes the counts of hours older than two days."""

    def spend(self, shop: ShopDomain, kind: str, hour: datetime, count: int, ceiling: int) -> bool:
        if count > ceiling:
            return False
        start = _start_of(hour)
        values = {"shopify_shop": shop, "kind": kind, "hour": start, "spent": count, "ceiling": ceiling}
        with writing(self._independent) as connection:
            spent = connection.execute(_spend(is_sqlite(self._engine)), values).scalar_one_or_none()
            if spent == count:
                old = and_(_budget.c.shopify_shop == shop, _budget.c.hour < start - BUDGETS_KEPT)
                connection.execute(delete(_budget).where(old))
            return spent is not None

    def give_back(self, shop: ShopDomain, kind: str, hour: datetime, count: int) -> None:
        this = and_(_budget.c.shopify_shop == shop, _budget.c.kind == kind, _budget.c.hour == _start_of(hour))
        left = case((_budget.c.spent > count, _budget.c.spent - count), else_=0)
        with writing(self._independent) as connection:
            connection.execute(update(_budget).where(this).values(spent=left))

    @cached_property
    def _independent(self) -> Engine:
        """For single statements. What is about to be written is recorded next, and keeps what was spent as well."""
        return repeatable(autocommitting(self._engine))


@cache
def _spend(is_for_sqlite: bool) -> Any:  # noqa: FBT001  the key of the cache
    """The statement of `BudgetTable.spend`, built once: that takes longer than to run it."""
    statement = insert_into(_budget, is_for_sqlite=is_for_sqlite)
    total = _budget.c.spent + statement.excluded.spent
    return statement.on_conflict_do_update(
        index_elements=list(_budget.primary_key), set_={"spent": total}, where=total <= bindparam("ceiling")
    ).returning(_budget.c.spent)


def _start_of(hour: datetime) -> datetime:
    return hour.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
