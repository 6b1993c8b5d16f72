"""`ParityTable`: parity over time, one row for a shop and five minutes, thinned out as it gets older."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, Float, Table, and_, delete, exists, or_, select
from sqlmodel import Field

from reconciler.core.model.ids import ShopDomain
from reconciler.core.report.parity import ParitySample
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, time_column

SLOT_S = 300
DAY = 86_400 // SLOT_S
KEPT = 30 * DAY
HOURLY, SIX_HOURLY = (DAY, 3_600 // SLOT_S), (7 * DAY, 6 * 3_600 // SLOT_S)  # from this age on, one in so many slots


class ParityRow(Row, table=True):
    """One sample. `slot`: the number of the five minutes since 1970."""

    __tablename__ = "reconciler_parity"
    shopify_shop: str = Field(primary_key=True)
    slot: int = Field(sa_column=Column(BigInteger(), primary_key=True, autoincrement=False))
    at: datetime = Field(sa_column=time_column(nullable=False))
    profiles: int = Field(sa_column=Column(BigInteger(), nullable=False))
    in_sync: int = Field(sa_column=Column(BigInteger(), nullable=False))
    pending: int = Field(sa_column=Column(BigInteger(), nullable=False))
    held: int = Field(sa_column=Column(BigInteger(), nullable=False))
    parity: float | None = Field(default=None, sa_column=Column(Float(53)))
    __table_args__ = ({"schema": SCHEMA},)


_parity: Table = ParityRow.__table__
_COUNTS = ("profiles", "in_sync", "pending", "held", "parity")


class ParityTable(Database):
    """`ports.ParityReader` on SQLite or Postgres. At most one sample of a shop in five minutes, of whichever replica."""

    def is_sampled(self, shops: Collection[ShopDomain], *, at: datetime) -> bool:
        """Whether one of these shops has a sample within the five minutes of this time."""
        query = select(_parity.c.slot).where(_parity.c.shopify_shop.in_(list(shops)), _parity.c.slot == _slot(at))
        return bool(self._rows(query.limit(1)))

    def note_parity(self, samples: Sequence[ParitySample]) -> None:
        """Record samples. One within five minutes that have a sample is dropped."""
        rows = [
            {"shopify_shop": one.shop, "slot": _slot(one.at), "at": one.at}
            | {name: getattr(one, name) for name in _COUNTS}
            for one in samples
        ]
        if rows:
            with writing(self._engine) as connection:
                connection.execute(self._insert(_parity).on_conflict_do_nothing(), rows)

    def parity_lines(self, shops: Collection[ShopDomain], *, since: datetime) -> list[ParitySample]:
        query = select(_parity).where(_parity.c.shopify_shop.in_(list(shops)), _parity.c.slot >= _slot(since))
        return [_sample_of(row) for row in self._rows(query.order_by(_parity.c.slot, _parity.c.shopify_shop))]


def was_sampled(connection: Connection, *, since: datetime, until: datetime) -> bool:
    """Whether any shop has a sample of this time."""
    there = _parity.c.slot.between(_slot(since), _slot(until))
    return connection.execute(select(_parity.c.slot).where(there).limit(1)).first() is not None


def thin_out(connection: Connection, now: datetime) -> int:
    """Delete samples older than 30 days, and of older hours and quarters of a day all but the first; return how many."""
    this = _slot(now)
    old = or_(_parity.c.slot < this - KEPT, *(_is_later(this - age, slots) for age, slots in (HOURLY, SIX_HOURLY)))
    return connection.execute(delete(_parity).where(old)).rowcount


def _is_later(until: int, slots: int) -> ColumnElement[bool]:
    """Whether a sample before `until` is not the first of its `slots`."""
    other = _parity.alias("earlier")
    earlier = and_(
        other.c.shopify_shop == _parity.c.shopify_shop,
        other.c.slot < _parity.c.slot,
        other.c.slot >= _parity.c.slot - _parity.c.slot % slots,
    )
    return and_(_parity.c.slot < until, exists(select(other.c.slot).where(earlier)))


def _slot(at: datetime) -> int:
    return int(at.timestamp()) // SLOT_S


def _sample_of(row: Any) -> ParitySample:
    return ParitySample(shop=ShopDomain(row.shopify_shop), at=row.at, **{name: getattr(row, name) for name in _COUNTS})
