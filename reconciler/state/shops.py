"""`ShopTable`: the names that shops have had, which lead from a shop's gid to its key in the state."""

from datetime import datetime

from sqlalchemy import Table, func, select
from sqlmodel import Field

from reconciler.core.decide.shop_identity import KnownShop
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, time_column

SHOPS = 2  # class of advisory locks: keys of shops


class ShopRow(Row, table=True):
    """A name that a shop had. `gid` is empty if the state recorded the shop before it stored gids.

    `shopify_shop` is the key of the shop's rows in all other tables. Rows stay, so that no shop is ever forgotten.
    """

    __tablename__ = "reconciler_shop"
    name: str = Field(primary_key=True)
    gid: str = Field(primary_key=True)
    shopify_shop: str
    store: str
    named_at: datetime = Field(sa_column=time_column(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_shop: Table = ShopRow.__table__


class ShopTable(Database):
    """`ports.ShopRepository` on SQLite or Postgres."""

    def known_shops(self) -> tuple[KnownShop, ...]:
        """Return each name of each known shop."""
        query = select(_shop.c.name, _shop.c.gid, _shop.c.shopify_shop, _shop.c.store, _shop.c.named_at)
        return tuple(
            KnownShop(ShopDomain(name), gid, ShopDomain(key), StoreName(store), named_at)
            for name, gid, key, store, named_at in self._rows(query.order_by(_shop.c.named_at, _shop.c.name))
        )

    def put_shop(self, shop: KnownShop) -> bool:
        row = {
            "name": shop.name,
            "gid": shop.gid,
            "shopify_shop": shop.key,
            "store": shop.store,
            "named_at": shop.named_at,
        }
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
                key = func.hashtextextended(f"customer-parity {shop.gid}", SHOPS)
                connection.execute(select(func.pg_advisory_xact_lock(key)))
            keys = connection.scalars(select(_shop.c.shopify_shop).where(_shop.c.gid == shop.gid)).all()
            if keys and shop.key not in keys:
                return False
            self._upsert(connection, _shop, [row])
            return True
