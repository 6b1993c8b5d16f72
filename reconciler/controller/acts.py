"""What operators do, for the command line and the console alike. Each act is recorded with who did it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.core.model.act import Act, ActKind, Actor
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.store import Store
from reconciler.ports import ActRepository, Clock


@dataclass(frozen=True, slots=True)
class Acts:
    """The acts of one operator."""

    actor: Actor
    book: ActRepository
    clock: Clock

    def pause(self, store: Store) -> bool:
        """Pause the store in the state; False if it is paused there already. A running controller follows within seconds."""
        return self.book.pause(store.shop, self._act("pause", store.name))

    def resume(self, store: Store) -> bool:
        """End the store's pause in the state; False if there is none. A pause in stores.yaml stays."""
        return self.book.resume(store.shop, self._act("resume", store.name))

    def _act(
        self,
        kind: ActKind,
        store: StoreName | None = None,
        user: ClerkUserId | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Act:
        return Act(self.clock.now(), self.actor, kind, store, user, detail or {})
