"""`ActTable`: what operators did, and the pauses that they set."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Index, Table, and_, delete, func, or_, select, update
from sqlmodel import Field

from reconciler.core.model.act import Acceptance, Act, Actor, Pause
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.report.changes import ChangesAsked
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import ASK, Database, parts
from reconciler.state.tables.mappings import MappingRow, Row, UtcDateTime, json_column, key_column, time_column
from reconciler.state.tables.rows import acceptance_row


class ActRow(Row, table=True):
    """One act of an operator."""

    __tablename__ = "reconciler_act"
    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=time_column(nullable=False))
    actor: str
    via: str
    kind: str
    store: str | None = None
    clerk_user_id: str | None = Field(default=None, sa_column=key_column(nullable=True))
    detail: dict[str, Any] = Field(sa_column=json_column())
    __table_args__ = (
        Index("reconciler_act_at", "at"),
        Index("reconciler_act_user", "clerk_user_id", "at"),
        {"schema": SCHEMA},
    )


class PauseRow(Row, table=True):
    """A pause of one shop."""

    __tablename__ = "reconciler_pause"
    shopify_shop: str = Field(primary_key=True)
    actor: str
    via: str
    since: datetime = Field(sa_column=time_column(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_act: Table = ActRow.__table__
_pause: Table = PauseRow.__table__
_mapping: Table = MappingRow.__table__


class ActTable(Database):
    """`ports.ActRepository` on SQLite or Postgres."""

    def pauses(self) -> dict[ShopDomain, Pause]:
        return {
            ShopDomain(row.shopify_shop): Pause(ShopDomain(row.shopify_shop), Actor(row.actor, row.via), row.since)
            for row in self._rows(select(_pause))
        }

    def acts(self, *, store: StoreName | None = None, user: ClerkUserId | None = None, limit: int) -> list[Act]:
        return self.find_acts(ChangesAsked(store=store, users=None if user is None else (user,)), limit=limit)

    def find_acts(self, asked: ChangesAsked, *, limit: int) -> list[Act]:
        query = select(_act)
        if asked.store is not None:
            query = query.where(or_(_act.c.store == asked.store, _act.c.store.is_(None)))
        if asked.users is not None:
            query = query.where(_act.c.clerk_user_id.in_(asked.users))
        for column, value in ((_act.c.kind, asked.kind), (_act.c.actor, asked.actor)):
            if value is not None:
                query = query.where(column == value)
        if asked.since is not None:
            query = query.where(_act.c.at >= asked.since)
        if asked.until is not None:
            query = query.where(_act.c.at < asked.until)
        return [_act_of(row) for row in self._rows(query.order_by(_act.c.at.desc(), _act.c.id.desc()).limit(limit))]

    def nudged_stores(self, *, since: datetime) -> dict[StoreName, datetime]:
        whole = and_(
            _act.c.at >= since, _act.c.kind == "nudge", _act.c.store.is_not(None), _act.c.clerk_user_id.is_(None)
        )
        query = select(_act.c.store, func.max(_act.c.at, type_=UtcDateTime())).where(whole).group_by(_act.c.store)
        return {StoreName(store): at for store, at in self._rows(query)}

    def note_acts(self, acts: Sequence[Act]) -> None:
        if acts:
            with writing(self._engine) as connection:
                connection.execute(_act.insert(), [_act_row(act) for act in acts])

    def pause(self, shop: ShopDomain, act: Act) -> bool:
        row = {"shopify_shop": shop, "actor": act.actor.name, "via": act.actor.via, "since": act.at}
        with writing(self._engine) as connection:
            is_new = self._insert_new(connection, _pause, row)
            if is_new:
                insert_act(connection, act)
            return is_new

    def resume(self, shop: ShopDomain, act: Act) -> bool:
        lifted = delete(_pause).where(_pause.c.shopify_shop == shop).returning(_pause.c.shopify_shop)
        with writing(self._engine) as connection:
            was_paused = connection.execute(lifted).first() is not None
            if was_paused:
                insert_act(connection, act)
            return was_paused

    def accept(self, shop: ShopDomain, acceptance: Acceptance, act: Act) -> bool:
        return self._put_acceptance(shop, acceptance, act, _mapping.c.status != "erased")

    def heal(self, shop: ShopDomain, act: Act) -> bool:
        return self._put_acceptance(shop, None, act, _mapping.c.accepted_until.is_not(None))

    def _put_acceptance(
        self, shop: ShopDomain, acceptance: Acceptance | None, act: Act, where: ColumnElement[bool]
    ) -> bool:
        theirs = and_(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id == act.user, where)
        said = update(_mapping).where(theirs).values(acceptance_row(acceptance)).returning(_mapping.c.clerk_user_id)
        with writing(self._engine) as connection:
            found = connection.execute(said).first() is not None
            if found:
                insert_act(connection, act)
            return found

    def ended_acceptances(self, *, now: datetime) -> list[tuple[ShopDomain, ClerkUserId]]:
        query = select(_mapping.c.shopify_shop, _mapping.c.clerk_user_id).where(_mapping.c.accepted_until <= now)
        return [(ShopDomain(shop), ClerkUserId(user)) for shop, user in self._rows(query.limit(ASK))]

    def clear_ended(self, shop: ShopDomain, users: Sequence[ClerkUserId], *, now: datetime) -> None:
        def clear(connection: Connection) -> None:
            for part in parts(users):
                over = and_(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(part))
                over = and_(over, _mapping.c.accepted_until <= now)
                query = select(_mapping.c.clerk_user_id).where(over).order_by(_mapping.c.clerk_user_id)
                connection.execute(query.with_for_update())  # in the order of all writers
                connection.execute(update(_mapping).where(over).values(acceptance_row(None)))

        self._transact(clear)

    def count_accepted(self, shops: Collection[ShopDomain], *, now: datetime) -> Counter[ShopDomain]:
        """Return how many users of each shop have drift that an operator has accepted until after now."""
        # They are few, and grouped here: a condition or an order by shop would choose an index of all mappings.
        rows = self._rows(select(_mapping.c.shopify_shop).where(_mapping.c.accepted_until > now))
        return Counter(ShopDomain(shop) for (shop,) in rows if shop in shops)


def insert_act(connection: Connection, act: Act) -> None:
    """Record an act in a transaction that does more."""
    connection.execute(_act.insert(), [_act_row(act)])


def _act_row(act: Act) -> dict[str, Any]:
    return {
        "at": act.at,
        "actor": act.actor.name,
        "via": act.actor.via,
        "kind": act.kind,
        "store": act.store,
        "clerk_user_id": act.user,
        "detail": dict(act.detail),
    }


def _act_of(row: Any) -> Act:
    return Act(
        at=row.at,
        actor=Actor(row.actor, row.via),
        kind=row.kind,
        store=StoreName(row.store) if row.store is not None else None,
        user=ClerkUserId(row.clerk_user_id) if row.clerk_user_id is not None else None,
        detail=row.detail,
    )
