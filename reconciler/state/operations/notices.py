"""`NoticeTable`: what a notification last said of each store, shared by all replicas."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Table, and_, or_, select, update
from sqlmodel import Field

from reconciler.core.model.ids import ShopDomain
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, json_column, time_column

QUIET = timedelta(hours=1)  # between two notifications of one store
CLAIMED = timedelta(minutes=5)  # longer than all tries take: after it, another replica sends
AGAIN = timedelta(minutes=5)  # after all tries failed


class NoticeRow(Row, table=True):
    """The notifications of one shop. `needs`: what the last one said; `due_at`: when the next one may be sent."""

    __tablename__ = "reconciler_notice"
    shopify_shop: str = Field(primary_key=True)
    needs: dict[str, str] = Field(sa_column=json_column())
    due_at: datetime = Field(sa_column=time_column(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_notice: Table = NoticeRow.__table__


class NoticeTable(Database):
    """Which needs were notified. A crash between the claim and the end sends the message again."""

    def notified(self) -> dict[ShopDomain, dict[str, str]]:
        """Return what the last notification of each shop said."""
        return {ShopDomain(row.shopify_shop): dict(row.needs) for row in self._rows(select(_notice))}

    def claim_notice(self, shop: ShopDomain, *, now: datetime) -> bool:
        """Claim the next notification of this shop; False if it is too early, or another replica sends it."""
        first = {"shopify_shop": shop, "needs": {}, "due_at": now + CLAIMED}
        # A later time than any that is set here was written by a clock that was ahead.
        due = or_(_notice.c.due_at <= now, _notice.c.due_at > now + QUIET + CLAIMED)
        again = update(_notice).where(and_(_notice.c.shopify_shop == shop, due)).values(due_at=now + CLAIMED)
        with writing(self._engine) as connection:
            if self._insert_new(connection, _notice, first):
                return True
            return connection.execute(again.returning(_notice.c.shopify_shop)).first() is not None

    def end_notice(self, shop: ShopDomain, needs: Mapping[str, str] | None, *, now: datetime) -> None:
        """Record what was sent, and be quiet for an hour; None: it was not taken, and is sent again soon."""
        ended: dict[str, object] = {"due_at": now + (AGAIN if needs is None else QUIET)}
        if needs is not None:
            ended["needs"] = dict(needs)
        with writing(self._engine) as connection:
            connection.execute(update(_notice).where(_notice.c.shopify_shop == shop).values(ended))
