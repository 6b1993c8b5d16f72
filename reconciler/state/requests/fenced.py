"""`FencedMappings`: the mapping table under a claim. Each write first checks, in its transaction, that the claim holds."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.request import Claim
from reconciler.state.mappings import MappingTable
from reconciler.state.requests.queue import check_claim, fence


class FencedMappings(MappingTable):
    """`ports.MappingWriter`. A write raises LeaseLost and changes nothing once another holder claimed the request.

    `losers` are the users who have lost a customer by these writes. Not thread-safe: one worker has the claim.
    """

    def __init__(self, engine: Engine, claim: Claim) -> None:
        super().__init__(engine)
        self._claim: Claim = claim
        self._checked: ShopDomain | None = None
        self.losers: set[ClerkUserId] = set()

    def check_claim(self, shop: ShopDomain) -> None:
        checked, self._checked = self._checked, None
        if checked != shop:
            check_claim(self._engine, self._claim, shop)

    def _put_alone(self, mapping: Mapping, events: Sequence[Event]) -> bool:
        """A row that was written shows the same as a check, for the write that follows immediately.

        The claim holds, and the user was not erased.
        """
        written = super()._put_alone(mapping, events)
        is_mine = mapping.clerk_user_id == self._claim.clerk_user_id
        self._checked = mapping.shop if written and is_mine else None
        return written

    def _before_write(self, connection: Connection) -> None:
        self._checked = None
        fence(connection, self._claim)

    def _note_losers(self, users: Sequence[ClerkUserId]) -> None:
        self.losers.update(users)
