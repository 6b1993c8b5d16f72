"""`RunningConfig`: the running config with its components, replaced as a whole when the files change.

Replaced components are closed once no thread uses them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.clerk.users import ClerkUsers
from reconciler.controller.context import StoreContext
from reconciler.controller.worker import cap_of
from reconciler.core.model.act import Pause
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.request import Claim
from reconciler.errors import ReconcilerError, SourceError, TemporaryError
from reconciler.manager.clerk_absence import ClerkAbsence
from reconciler.settings import StoreSettings
from reconciler.wiring import Components, with_pauses


@dataclass(slots=True)
class _InUse:
    components: Components
    users: int = 0
    replaced: bool = False


class RunningConfig:
    """The workers' access to the running config (the protocol of `controller.worker`)."""

    def __init__(self, components: Components, *, workers: int, on_trouble: Callable[[str], None]) -> None:
        self._workers = workers
        self._on_trouble = on_trouble
        self.connections = components.connections
        self._lock = threading.Lock()
        self._open = _InUse(components)
        self._suspended: dict[StoreName, str] = {}
        self._pauses: Mapping[ShopDomain, Pause] = {}
        self._paused: tuple[Sequence[StoreSettings], Mapping[ShopDomain, Pause], tuple[StoreSettings, ...]] | None = (
            None
        )
        self._absence = ClerkAbsence(on_trouble)

    @contextmanager
    def components(self) -> Iterator[Components]:
        """Yield the present components; they stay open until the block ends, even if the files are reloaded meanwhile."""
        with self._lock:
            held = self._open
            held.users += 1
        try:
            yield held.components
        finally:
            with self._lock:
                held.users -= 1
                done = held.replaced and held.users == 0
            if done:
                held.components.release_clients()

    def replace(self, components: Components) -> None:
        """Use these components from now on. StateError if the state can't be read: then the former ones remain."""
        components.hold_clients()
        with self._lock:
            before, self._open = self._open, _InUse(components)
            before.replaced = True
            idle = before.users == 0
            known = {s.name for s in components.loaded.stores}
            self._suspended = {name: why for name, why in self._suspended.items() if name in known}
        if idle:
            before.components.release_clients()

    def close(self) -> None:
        """Close all shops; calls in progress are cut off."""
        self.connections.shop_clients.close()

    def stores(self) -> tuple[StoreSettings, ...]:
        """Return the stores with the pauses that were last read; the same objects until either changes."""
        with self._lock:
            components = self._open.components
        return self._stores_of(components)

    def _stores_of(self, components: Components) -> tuple[StoreSettings, ...]:
        found = components.shop_keys.stores
        with self._lock:
            known = self._paused
            if known is None or known[0] is not found or known[1] is not self._pauses:
                known = self._paused = (found, self._pauses, with_pauses(found, self._pauses))
            return known[2]

    def store(self, name: StoreName) -> StoreSettings | None:
        return next((s for s in self.stores() if s.name == name), None)

    # --- paused stores -----------------------------------------------------------------------------------------------

    def read_pauses(self) -> list[StoreSettings]:
        """Read the pauses of the state; return the stores where a pause began or ended since the last call. StateError."""
        with self.components() as components:
            pauses = components.state.pauses()
        with self._lock:
            before = self._pauses
            if pauses != before:
                self._pauses = pauses
        changed = {shop for shop in before.keys() | pauses.keys() if before.get(shop) != pauses.get(shop)}
        return [store for store in self.stores() if store.shop in changed]

    # --- suspended stores ------------------------------------------------------------------------------------------

    def caps(self) -> dict[StoreName, int]:
        """Return the stores that are not suspended, and how many requests of each may be in progress."""
        stores = self.stores()
        cap = cap_of(self._workers, len(stores))
        with self._lock:
            return {s.name: cap for s in stores if s.name not in self._suspended}

    def suspend(self, name: StoreName, why: str) -> bool:
        """Suspend this store; return True if it was not suspended before."""
        with self._lock:
            fresh = name not in self._suspended
            self._suspended[name] = why
            return fresh

    def resume(self, name: StoreName) -> bool:
        with self._lock:
            return self._suspended.pop(name, None) is not None

    def suspensions(self) -> dict[StoreName, str]:
        with self._lock:
            return dict(self._suspended)

    # --- what a worker needs ---------------------------------------------------------------------------------------

    @contextmanager
    def store_context(self, claim: Claim) -> Iterator[StoreContext | None]:
        with self.components() as components:
            found = next((s for s in self._stores_of(components) if s.name == claim.store), None)
            yield None if found is None else components.claimed_store_context(found, claim)

    def is_gone(self, user: ClerkUserId, present: Callable[[], Sequence[ClerkUserId]]) -> bool | None:
        clerk: ClerkUsers | None = self.connections.clerk
        if clerk is None:
            return None
        try:
            return self._absence.is_gone(clerk, user, present)
        except (TemporaryError, SourceError):
            raise
        except ReconcilerError as error:
            self._on_trouble(f"Clerk could not be asked whether {user} is gone: {error.message}")
            return None
