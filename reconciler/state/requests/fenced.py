"""`FencedMappings`: the mapping table under a claim. Each write first checks, in its transaction, that the claim holds."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.request import Claim
from reconciler.state.mappings import MappingTable
from reconciler.state.requests.queue import check_claim, fence


class FencedMappings(MappingTable):
    """`ports.MappingWriter`. A write raises LeaseLost and changes nothing once another holder claimed the request.

    `losers` are the users who have lost a customer by these writes.
    """

    def __init__(self, engine: Engine, claim: Claim) -> None:
        super().__init__(engine)
        self._claim = claim
        self.losers: set[ClerkUserId] = set()

    def check_claim(self, shop: ShopDomain) -> None:
        check_claim(self._engine, self._claim, shop)

    def _before_write(self, connection: Connection) -> None:
        fence(connection, self._claim)

    def _note_losers(self, users: Sequence[ClerkUserId]) -> None:
        self.losers.update(users)
