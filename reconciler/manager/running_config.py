"""The running config and what it opens: handed to workers, looks and the server; swapped whole when the files change.

A house that was replaced is closed once nobody works with it any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.clerk.users import ClerkUsers
from reconciler.controller.context import StoreContext
from reconciler.controller.worker import cap_of
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Claim
from reconciler.errors import ReconcilerError, SourceError, TemporaryError
from reconciler.manager.clerk_absence import ClerkAbsence
from reconciler.settings import StoreSettings
from reconciler.state.requests.fenced import FencedMappings
from reconciler.wiring import Components


@dataclass(slots=True)
class _Open:
    components: Components
    users: int = 0
    replaced: bool = False


class RunningConfig:
    """controller.worker.Crew on the config that runs now."""

    def __init__(self, components: Components, *, workers: int, on_trouble: Callable[[str], None]) -> None:
        self._workers = workers
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._open = _Open(components)
        self._suspended: dict[StoreName, str] = {}
        self._absence = ClerkAbsence(on_trouble)

    @contextmanager
    def components(self) -> Iterator[Components]:
        """The house of now; it stays open until this ends, whatever is read anew meanwhile."""
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
                held.components.close_shops()

    def replace(self, components: Components) -> None:
        """From now on, this one."""
        with self._lock:
            before, self._open = self._open, _Open(components)
            before.replaced = True
            idle = before.users == 0
            known = {s.name for s in components.loaded.stores}
            self._suspended = {name: why for name, why in self._suspended.items() if name in known}
        if idle:
            before.components.close_shops()

    def close(self) -> None:
        """All shops; whoever still works with them is cut off."""
        with self._lock:
            components = self._open.components
        components.cut_off()

    def stores(self) -> tuple[StoreSettings, ...]:
        with self._lock:
            components = self._open.components
        return components.stores()

    def store(self, name: StoreName) -> StoreSettings | None:
        return next((s for s in self.stores() if s.name == name), None)

    # --- who may be worked on ------------------------------------------------------------------------------------

    def caps(self) -> dict[StoreName, int]:
        """The stores that may be worked on now, and how many requests of each may be in hand at once."""
        stores = self.stores()
        cap = cap_of(self._workers, len(stores))
        with self._lock:
            return {s.name: cap for s in stores if s.name not in self._suspended}

    def suspend(self, name: StoreName, why: str) -> bool:
        """Leave this store alone; True if it was not left alone before."""
        with self._lock:
            fresh = name not in self._suspended
            self._suspended[name] = why
            return fresh

    def resume(self, name: StoreName) -> bool:
        with self._lock:
            return self._suspended.pop(name, None) is not None

    def suspended(self) -> dict[StoreName, str]:
        with self._lock:
            return dict(self._suspended)

    # --- what a worker is given ----------------------------------------------------------------------------------

    @contextmanager
    def store_context(self, store: StoreName) -> Iterator[StoreContext | None]:
        with self.components() as components:
            found = next((s for s in components.stores() if s.name == store), None)
            yield None if found is None else components.running_store_context(found, lane="nudge")

    def mappings_under(self, claim: Claim) -> FencedMappings:
        with self._lock:
            components = self._open.components
        return FencedMappings(components.engine, claim)

    def is_gone(self, user: ClerkUserId, present: Callable[[], Sequence[ClerkUserId]]) -> bool | None:
        with self.components() as components:
            clerk: ClerkUsers | None = components.clerk
            if clerk is None:
                return None
            try:
                return self._absence.is_gone(clerk, user, present)
            except (TemporaryError, SourceError):
                raise
            except ReconcilerError as error:
                self._on_trouble(f"Clerk could not be asked whether {user} is gone: {error.message}")
                return None
