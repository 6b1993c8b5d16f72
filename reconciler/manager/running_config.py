"""`RunningConfig`: the running config with its components, replaced as a whole when the files change.

Replaced components are closed once no thread uses them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from reconciler.clerk.users import ClerkUsers
from reconciler.controller.context import StoreContext
from reconciler.controller.worker import cap_of
from reconciler.core.fields.desired import config_digest
from reconciler.core.model.act import Pause
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.request import Claim
from reconciler.core.model.rollout import RolloutState
from reconciler.errors import ReconcilerError, SourceError, StateError, TemporaryError
from reconciler.manager.clerk_absence import ClerkAbsence
from reconciler.settings import StoreSettings
from reconciler.wiring import Components, with_pauses


@dataclass(slots=True)
class _InUse:
    components: Components
    users: int = 0
    replaced: bool = False


@frozen
class _Known:
    """The stores with their policies and pauses, and what they were made of."""

    made_of: tuple[object, ...]
    stores: tuple[StoreSettings, ...]

    def is_of(self, *parts: object) -> bool:
        return all(mine is theirs for mine, theirs in zip(self.made_of, parts, strict=True))


class RunningConfig:
    """The workers' access to the running config (the protocol of `controller.worker`)."""

    def __init__(
        self, components: Components, *, workers: int, clerk_away_s: float, on_trouble: Callable[[str], None]
    ) -> None:
        self._workers = workers
        self._on_trouble = on_trouble
        self.connections = components.connections
        self._lock = threading.Lock()
        self._open = _InUse(components)
        self._suspended: dict[StoreName, str] = {}
        self._pauses: Mapping[ShopDomain, Pause] = {}
        self._rollout: RolloutState | None = None
        self._known: _Known | None = None
        self._absence = ClerkAbsence(on_trouble, clerk_away_s)

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
        """Use these components from now on. StateError, ConfigError: the former ones remain.

        Stores in several waves keep the policy that they have.
        """
        with self.components() as former:
            rollout = _first_state(components, former)
        components.hold_clients()
        with self._lock:
            before, self._open = self._open, _InUse(components)
            self._rollout = rollout
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
        """Return the stores with the policies and pauses that were last read; the same objects until one changes."""
        with self._lock:
            components = self._open.components
        return self._stores_of(components)

    def _stores_of(self, components: Components) -> tuple[StoreSettings, ...]:
        found = components.shop_keys.stores
        with self._lock:
            known, parts = self._known, (found, self._pauses, self._rollout)
        if known is None or not known.is_of(*parts):
            known = _Known(parts, _stores_in_force(components, found, *parts[1:]))
            with self._lock:
                self._known = known
        return known.stores

    def due_since(self, former: Iterable[StoreSettings]) -> frozenset[StoreName]:
        """Return the stores that are suspended, or in force in another way than these: none that waits for its wave."""
        before = {store.name: store.held_back_by(None) for store in former}
        changed = (s.name for s in self.stores() if s.held_back_by(None) != before.get(s.name))
        return frozenset({*changed, *self.suspensions()})

    def store(self, name: StoreName) -> StoreSettings | None:
        return next((s for s in self.stores() if s.name == name), None)

    # --- paused stores -----------------------------------------------------------------------------------------------

    def read_pauses(self) -> list[StoreSettings]:
        """Read the pauses of the state; return the stores where a pause began or ended since the last call. StateError."""
        with self.components() as components:
            pauses = components.state.acts.pauses()
        with self._lock:
            before = self._pauses
            if pauses != before:
                self._pauses = pauses
        changed = {shop for shop in before.keys() | pauses.keys() if before.get(shop) != pauses.get(shop)}
        return [store for store in self.stores() if store.shop in changed]

    # --- rollouts ----------------------------------------------------------------------------------------------------

    def begin_rollouts(self) -> None:
        """Read which policy each store has, before any work begins. StateError."""
        with self.components() as components:
            state = _first_state(components, None)
        with self._lock:
            self._rollout = state

    def rollout(self) -> RolloutState | None:
        """Return the rollout as it was last read; None where all stores are in one wave."""
        with self._lock:
            return self._rollout

    def read_rollout(self) -> None:
        """Read the policies of the state now: a scan that begins goes by those that are in force. StateError."""
        with self.components() as components:
            if (rollouts := components.rollouts) is not None:
                self.follow_rollout(rollouts.read())

    def follow_rollout(self, state: RolloutState) -> list[StoreName]:
        """Use what the state says of the rollout; return the stores that have another policy by now."""
        stores = self.stores()
        before = {store.name: _policy_of(store) for store in stores}
        with self._lock:
            if self._rollout is None or (self._rollout == state and not any(map(_is_unreadable, stores))):
                return []
            self._rollout, self._known = state, None
        return [store.name for store in self.stores() if _policy_of(store) != before.get(store.name)]

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


def _policy_of(store: StoreSettings) -> tuple[str, bool]:
    """The policy in force, and whether there is one."""
    return config_digest(store), store.held_back is None or store.held_back.target is not None


def _is_unreadable(store: StoreSettings) -> bool:
    """Whether the store's earlier policy could not be read: its columns may come back."""
    held_back = store.held_back
    return held_back is not None and held_back.target is None and not held_back.is_first


def _first_state(components: Components, former: Components | None) -> RolloutState | None:
    """The rollout that these components begin with; None where all stores are in one wave.

    Where the former ones had one wave, their policies are those that the stores have. ConfigError; StateError.
    """
    if (rollouts := components.rollouts) is None:
        with suppress(StateError):  # nothing can be written now: the start continues
            components.end_waves()
        return None
    if former is not None and former.rollouts is None:
        former.keep_policies()
    try:
        return rollouts.record()
    except StateError:  # nothing can be written now, as on a full disk
        return rollouts.read()


def _stores_in_force(
    components: Components,
    stores: tuple[StoreSettings, ...],
    pauses: Mapping[ShopDomain, Pause],
    state: RolloutState | None,
) -> tuple[StoreSettings, ...]:
    rollouts = components.rollouts
    return with_pauses(stores if rollouts is None or state is None else rollouts.in_force(state), pauses)
