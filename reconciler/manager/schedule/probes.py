"""`Probes`: stores that refuse access are suspended, reported, and probed with growing pauses until access is granted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from reconciler.core.model.ids import StoreName
from reconciler.errors import AccessError, ConfigError, PermanentError, StateError
from reconciler.manager.intervals import Intervals
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock, StoreFacts
from reconciler.wiring.probing import Probed, probe_shop

UNIDENTIFIED = "the shop has not returned its gid yet, and the state may know it by another name"
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Pause:
    seconds: float
    due_at: float


class Probes:
    """Which stores are suspended, and when each is probed. `status` shows what is recorded in the state."""

    def __init__(
        self,
        running: RunningConfig,
        clock: Clock,
        intervals: Intervals,
        *,
        resumed: Callable[[StoreName], None],
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._running, self._clock, self._intervals, self._resumed = running, clock, intervals, resumed
        self._steady_s = steady_s
        self._pauses: dict[StoreName, _Pause] = {}
        self._lock = threading.Lock()

    def suspend(self, name: StoreName, error: AccessError | ConfigError) -> None:
        """Suspend a store that refuses access, or that has no way to its token, and report it."""
        was_unidentified = self._running.suspensions().get(name) == UNIDENTIFIED
        if not self._running.suspend(name, error.message) and not was_unidentified:
            return
        first_s = self._intervals.probe_first_s
        with self._lock:
            self._pauses[name] = _Pause(first_s, self._steady_s() + first_s)
        _log.error("store_suspended", store=name, error=error.message, hint=error.hint)
        self._remember(name, error.message)

    def suspend_until_identified(self, name: StoreName) -> None:
        """Suspend a store of which the state may know the shop by another name, until the shop returns its gid."""
        self._running.suspend(name, UNIDENTIFIED)

    def note_access(self, name: StoreName) -> None:
        """Clear the refusal that an earlier process recorded: the shop has answered."""
        if name not in self._running.suspensions():
            self._remember(name, None)

    def resume(self, name: StoreName) -> bool:
        """Resume a suspended store: its config changed, or the shop has answered."""
        if not self._running.resume(name):
            return False
        with self._lock:
            self._pauses.pop(name, None)
        try:
            self._remember(name, None)
        except StateError as error:  # the store resumes all the same; its next scan records it
            _log.warning("state_write_failed", store=name, error=error.message)
        _log.info("store_resumed", store=name)
        return True

    def probe(self, name: StoreName) -> Probed:
        """Call the shop, and resume the store if it grants access, or suspend it if it refuses."""
        with self._running.components() as components:
            store = self._running.store(name)
            if store is None:
                gone = PermanentError(f"there is no store '{name}' any more", hint="the names are those of stores.yaml")
                return Probed(name, gone.message, gone)
            probed = probe_shop(components, store)
            if isinstance(probed.error, AccessError):
                self.suspend(name, probed.error)
            elif probed.error is not None:
                _log.info("probe_failed", store=name, error=probed.error.message)
                if name in components.shop_keys.unsure():
                    self._remember(name, f"{UNIDENTIFIED}: {probed.error.message}")
        if probed.grants and self.resume(name):
            self._resumed(name)
        return probed

    def due(self) -> list[StoreName]:
        """Return the stores to probe now: the pause is over (the next is twice as long), or another replica resumed it."""
        now = self._steady_s()
        found = []
        for name in self._running.suspensions():
            with self._lock:
                pause = self._pauses.setdefault(name, _Pause(self._intervals.probe_first_s, now))
                is_due = now >= pause.due_at
            if is_due or self._is_resumed_elsewhere(name):
                with self._lock:
                    pause.seconds = min(pause.seconds * 2, self._intervals.probe_last_s)
                    pause.due_at = now + pause.seconds
                found.append(name)
        return found

    def _is_resumed_elsewhere(self, name: StoreName) -> bool:
        store = self._running.store(name)
        if store is None:
            return False
        with self._running.components() as components:
            if name in components.shop_keys.unsure():
                return False
            facts = components.state.mappings.facts(store.shop)
        return facts is not None and facts.suspended_reason is None

    def _remember(self, name: StoreName, why: str | None) -> None:
        store = self._running.store(name)
        if store is None:
            return
        mappings = self._running.connections.state.mappings
        facts = mappings.facts(store.shop) or StoreFacts(store.name, store.shop)
        if facts.suspended_reason == why:
            return
        since = self._clock.now() if why else None
        mappings.put_facts(replace(facts, store=store.name, suspended_at=since, suspended_reason=why))
