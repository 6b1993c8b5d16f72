"""The mapping table under one claim: each write first makes sure, in its own transaction, that the claim still holds."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.request import Claim
from reconciler.state.mappings import Mappings
from reconciler.state.requests.queue import fence


class FencedMappings(Mappings):
    """ports.ClaimedWriter: its writes raise LeaseLost, and change nothing, once another holder has the key."""

    def __init__(self, engine: Engine, claim: Claim) -> None:
        super().__init__(engine)
        self._claim = claim
        self.losers: set[ClerkUserId] = set()

    def _opening(self, connection: Connection) -> None:
        fence(connection, self._claim)

    def _lost(self, users: Sequence[ClerkUserId]) -> None:
        self.losers.update(users)
