"""The mapping table under one claim: each write first makes sure, in its own transaction, that the claim still holds."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from reconciler.core.model.request import Claim
from reconciler.state.mappings import Mappings
from reconciler.state.requests.queue import fence


class FencedMappings(Mappings):
    """ports.MappingWriter whose writes raise LeaseLost, and change nothing, once another holder has the key."""

    def __init__(self, engine: Engine, claim: Claim) -> None:
        super().__init__(engine)
        self._claim = claim

    def _opening(self, connection: Connection) -> None:
        fence(connection, self._claim)
