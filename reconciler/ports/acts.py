"""The state's records of what operators do: acts and pauses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from reconciler.core.model.act import Act, Pause
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName


class PauseReader(Protocol):
    """Reads the pauses that are set in the state."""

    def pauses(self) -> Mapping[ShopDomain, Pause]:
        """The pauses by shop."""


class ActReader(PauseReader, Protocol):
    """Reads what operators did."""

    def acts(self, *, store: StoreName | None = None, user: ClerkUserId | None = None, limit: int) -> list[Act]:
        """The newest acts, newest first: of this store (those of all stores included), of this user, or of all."""


class ActRepository(ActReader, Protocol):
    """Records what operators do. Each call is one transaction, durable when it returns."""

    def note_act(self, act: Act) -> None: ...

    def pause(self, shop: ShopDomain, act: Act) -> bool:
        """Pause the shop by this act; False, and nothing recorded, if it is paused in the state already."""

    def resume(self, shop: ShopDomain, act: Act) -> bool:
        """Delete the shop's pause by this act; False, and nothing recorded, if the state has none."""
