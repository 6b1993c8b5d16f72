"""The state's records of what operators do: acts and pauses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from reconciler.core.model.act import Acceptance, Act, Pause
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.report.changes import ChangesAsked


class PauseReader(Protocol):
    """Reads the pauses that are set in the state."""

    def pauses(self) -> Mapping[ShopDomain, Pause]:
        """The pauses by shop."""


class ActRepository(PauseReader, Protocol):
    """Reads and records what operators do. Each call is one transaction, durable when it returns."""

    def acts(self, *, store: StoreName | None = None, user: ClerkUserId | None = None, limit: int) -> list[Act]:
        """The newest acts, newest first: of this store (those of all stores included), of this user, or of all."""

    def find_acts(self, asked: ChangesAsked, *, limit: int) -> list[Act]:
        """The newest acts that are sought, newest first. A store's acts include those of all stores."""

    def nudged_stores(self, *, since: datetime) -> Mapping[StoreName, datetime]:
        """The stores of which an operator wants a full resync since then, each with the time of the newest act."""

    def note_acts(self, acts: Sequence[Act]) -> None: ...

    def pause(self, shop: ShopDomain, act: Act) -> bool:
        """Pause the shop by this act; False, and nothing recorded, if it is paused in the state already."""

    def accept(self, shop: ShopDomain, acceptance: Acceptance, act: Act) -> bool:
        """Accept drift of the act's user by this act, in place of an earlier acceptance; False without a mapping."""

    def heal(self, shop: ShopDomain, act: Act) -> bool:
        """End the acceptance of the act's user by this act; False, and nothing recorded, if there is none."""

    def ended_acceptances(self, *, now: datetime) -> Sequence[tuple[ShopDomain, ClerkUserId]]:
        """Users with an acceptance that is over, a bounded number of them."""

    def clear_ended(self, shop: ShopDomain, users: Sequence[ClerkUserId], *, now: datetime) -> None:
        """Delete the acceptances of these users that are over."""

    def resume(self, shop: ShopDomain, act: Act) -> bool:
        """Delete the shop's pause by this act; False, and nothing recorded, if the state has none."""
