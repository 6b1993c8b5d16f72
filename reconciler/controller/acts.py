"""What operators do, for the command line and the console alike. Each act is recorded with who did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from reconciler.core.model.act import Acceptance, Act, ActKind, Actor
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Priority, Request
from reconciler.core.model.store import Store
from reconciler.errors import UsageError
from reconciler.ports import ActRepository, Clock, MappingWriter, RequestQueue


@frozen
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
        self._enqueue(requests)
        names: list[JsonValue] = [str(store.name) for store in stores]
        self.book.note_acts([self._act("nudge", user=user, detail={"stores": names}) for user in users])
        return len(requests)

    def nudge_all(self, store: Store) -> None:
        """Have running controllers start a full resync of the store: it reads all its users, and queues what differs."""
        self.note("nudge", store.name)

    def accept(self, store: Store, user: ClerkUserId, fields: Sequence[str], *, until: datetime) -> bool:
        """Leave these fields of the user in this store as they were edited in Shopify until then; False without a mapping.

        An earlier acceptance of the user there is replaced. The user is enqueued, so that what was held for this drift is
        settled. UsageError if `until` is over.
        """
        now = self.clock.now()
        if until <= now:
            raise UsageError(f"{until:%Y-%m-%d %H:%M} UTC is over", hint="accept the drift until a later day")
        acceptance = Acceptance(tuple(sorted(set(fields))), until, self.actor, now)
        detail: dict[str, JsonValue] = {"fields": list(acceptance.fields), "until": until.isoformat()}
        if not self.book.accept(store.shop, acceptance, self._act("accept", store.name, user, detail)):
            return False
        self._enqueue([Request(store.name, user)])
        return True

    def heal(self, store: Store, user: ClerkUserId) -> bool:
        """End the acceptance of the user in this store, and enqueue them: their drift is healed as before. False without
        one.
        """
        if not self.book.heal(store.shop, self._act("heal", store.name, user)):
            return False
        self._enqueue([Request(store.name, user)])
        return True

    def forget(self, stores: Sequence[Store], user: ClerkUserId) -> None:
        """Delete the user's mappings in these stores: the next reconcile starts from the back-link. Lifts `Erased`."""
        for store in stores:
            self.mappings.forget(store.shop, user)
            self.note("forget", store.name, user)

    def _enqueue(self, requests: Sequence[Request]) -> None:
        self.queue.add(requests, self.clock.now(), priority=Priority.NUDGE, reason="nudge", explicit=True)

    def note(
        self,
        kind: ActKind,
        store: StoreName | None = None,
        user: ClerkUserId | None = None,
        detail: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Record an act that is done elsewhere."""
        self.book.note_acts([self._act(kind, store, user, detail)])

    def _act(
        self,
        kind: ActKind,
        store: StoreName | None = None,
        user: ClerkUserId | None = None,
        detail: Mapping[str, JsonValue] | None = None,
    ) -> Act:
        return Act(self.clock.now(), self.actor, kind, store, user, detail or {})
