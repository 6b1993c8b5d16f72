"""A writer of mappings that remembers who lost a customer by a write: those users need a look of their own."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.ports import MappingWriter, StoreFacts


class LoserTracker:
    """A MappingWriter; `losers` grows call by call."""

    def __init__(self, writer: MappingWriter) -> None:
        self._writer = writer
        self.losers: set[ClerkUserId] = set()

    def put(self, mapping: Mapping, *events: Event) -> tuple[ClerkUserId, ...]:
        return self._noted(self._writer.put(mapping, *events))

    def put_many(self, mappings: Sequence[Mapping]) -> tuple[ClerkUserId, ...]:
        return self._noted(self._writer.put_many(mappings))

    def put_unmoved(self, looked: Sequence[tuple[Mapping | None, Mapping]]) -> tuple[ClerkUserId, ...]:
        return self._noted(self._writer.put_unmoved(looked))

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None:
        self._writer.forget(shop, user)

    def put_facts(self, facts: StoreFacts) -> None:
        self._writer.put_facts(facts)

    def _noted(self, losers: tuple[ClerkUserId, ...]) -> tuple[ClerkUserId, ...]:
        self.losers.update(losers)
        return losers
