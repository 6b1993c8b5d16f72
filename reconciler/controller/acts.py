"""What operators do, for the command line and the console alike. Each act is recorded with who did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from reconciler.core.model.act import Act, ActKind, Actor
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Priority, Request
from reconciler.core.model.store import Store
from reconciler.ports import ActRepository, Clock, MappingWriter, RequestQueue


@dataclass(frozen=True, slots=True)
class Acts:
    """The acts of one operator."""

    actor: Actor
    book: ActRepository
    queue: RequestQueue
    mappings: MappingWriter
    clock: Clock

    def pause(self, store: Store) -> bool:
        """Pause the store in the state; False if it is paused there already. A running controller follows within seconds."""
        return self.book.pause(store.shop, self._act("pause", store.name))

    def resume(self, store: Store) -> bool:
        """End the store's pause in the state; False if there is none. A pause in stores.yaml stays."""
        return self.book.resume(store.shop, self._act("resume", store.name))

    def nudge(self, stores: Sequence[Store], users: Sequence[ClerkUserId]) -> int:
        """Enqueue these users in these stores ahead of schedule; return the number of requests.

        An operator asked, so a value that the shop refused is tried once more.
        """
        requests = [Request(store.name, user) for store in stores for user in users]
        self.queue.add(requests, self.clock.now(), priority=Priority.NUDGE, reason="nudge", explicit=True)
        names: list[JsonValue] = [str(store.name) for store in stores]
        for user in users:
            self.note("nudge", user=user, detail={"stores": names})
        return len(requests)

    def forget(self, stores: Sequence[Store], user: ClerkUserId) -> None:
        """Delete the user's mappings in these stores: the next reconcile starts from the back-link. Lifts `Erased`."""
        for store in stores:
            self.mappings.forget(store.shop, user)
            self.note("forget", store.name, user)

    def note(
        self,
        kind: ActKind,
        store: StoreName | None = None,
        user: ClerkUserId | None = None,
        detail: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Record an act that is done elsewhere."""
        self.book.note_act(self._act(kind, store, user, detail))

    def _act(
        self,
        kind: ActKind,
        store: StoreName | None = None,
        user: ClerkUserId | None = None,
        detail: Mapping[str, JsonValue] | None = None,
    ) -> Act:
        return Act(self.clock.now(), self.actor, kind, store, user, detail or {})
