"""Faults of the past, put back: what the product did before they were mended. The simulation has to find each of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, bindparam, text

from reconciler.controller.readers import Readers
from reconciler.core.decide.leaving.absence import SIGHTING_MAX, Absence
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import StoreName
from reconciler.core.model.mapping import Mapping as Row
from reconciler.core.model.request import Claim
from reconciler.settings import StoreSettings
from reconciler.shopify.customers import ShopCustomers
from reconciler.state.database.engine import reading
from reconciler.state.requests.queue import RequestTable
from reconciler.state.tables.mappings import UtcDateTime
from reconciler.wiring import Components
from tests.simulation.replica import SimConnections
from tests.simulation.simulation import Variant

_OVER = text(
    "SELECT store, count(*) FROM reconciler_request WHERE owner = :owner AND lease_until <= :now GROUP BY store"
).bindparams(bindparam("now", type_=UtcDateTime()))


class CountingQueue(RequestTable):
    """Claims with a lease that has run out still take the capacity of their owner."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._all = engine

    def claim(
        self, owner: str, now: datetime, *, limit: int, lease_s: float, stores: Mapping[StoreName, int]
    ) -> list[Claim]:
        with reading(self._all) as connection:
            over = {row[0]: row[1] for row in connection.execute(_OVER, {"owner": owner, "now": now})}
        left = {store: cap - over.get(store, 0) for store, cap in stores.items() if cap > over.get(store, 0)}
        return super().claim(owner, now, limit=limit, lease_s=lease_s, stores=left)


class CountingConnections(SimConnections):
    queue_type = CountingQueue


class TwoReads(Absence):
    """Two reads that miss the row prove the absence, whatever was in between."""

    def first_seen(self, mapping: Row | None, now: datetime) -> datetime | None:
        since = mapping.absent_since if mapping is not None else None
        return since if since is not None and timedelta(0) <= now - since <= SIGHTING_MAX else None

    def again_s(self, mapping: Row | None, now: datetime) -> float:
        since = self.first_seen(mapping, now) or now
        return max((self.grace_s or 0.0) - (now - since).total_seconds(), 0.05)


class ComponentsOfTwoReads(Components):
    @property
    def absence(self) -> Absence:
        return TwoReads(super().absence.grace_s)


class ComponentsOfOneRead(Components):
    """A row that is missing once proves the absence."""

    @property
    def absence(self) -> Absence:
        return Absence()


class Blind(ShopCustomers):
    """A customer that a re-link left behind looks like any other."""

    def by_emails(self, emails: Collection[str]) -> dict[str, Customer]:
        return {e: c.model_copy(update={"moved_to": None}) for e, c in super().by_emails(emails).items()}


class ComponentsThatAdoptWhatIsLeft(Components):
    def readers(self, store: StoreSettings, **options: Any) -> Readers:
        lane = options.get("lane", "scan")
        return replace(super().readers(store, **options), customers=Blind(self.client(store), store, lane=lane))


HISTORY = {
    "the queue halts after an outage of the database": Variant(
        connections=CountingConnections, faults=("state away", "state cut"), gap_share=0.25, luck=8.0
    ),
    "a row that is missing once is a user who has left": Variant(
        components=ComponentsOfOneRead, faults=("table reloaded",), gap_share=0.5
    ),
    "two interruptions of the table are an absence": Variant(
        components=ComponentsOfTwoReads, faults=("table reloaded",), gap_share=0.2
    ),
    "a customer that a re-link left behind is adopted": Variant(
        components=ComponentsThatAdoptWhatIsLeft, faults=("crash",), often=("to a guest", "address left behind", "new")
    ),
}
