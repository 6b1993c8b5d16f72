"""Stores whose access is refused: left alone, said so, and probed with growing pauses until the shop lets us in again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from reconciler.core.model.ids import StoreName
from reconciler.errors import AccessError, ConfigError, PermanentError, StateError, TemporaryError
from reconciler.manager.intervals import Intervals
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock, StoreFacts

ASKED = "the shop has not told yet which one it is, and the state may know it by another name"
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Pause:
    seconds: float
    due_at: float


class Probes:
    """Who is suspended, and when each is asked again. What is remembered in the state is what `status` shows."""

    def __init__(
        self,
        running: RunningConfig,
        clock: Clock,
        intervals: Intervals,
        *,
        resumed: Callable[[StoreName], None],
    ) -> None:
        self._running, self._clock, self._intervals, self._resumed = running, clock, intervals, resumed
        self._pauses: dict[StoreName, _Pause] = {}
        self._lock = threading.Lock()

    def refused(self, name: StoreName, error: AccessError | ConfigError) -> None:
        """A store's access was refused, or there is no way to its token: leave it alone, and say so."""
        was_asked = self._running.suspended().get(name) == ASKED
        if not self._running.suspend(name, error.message) and not was_asked:
            return
        first_s = self._intervals.probe_first_s
        with self._lock:
            self._pauses[name] = _Pause(first_s, time.monotonic() + first_s)
        _log.error("store_suspended", store=name, error=error.message, hint=error.hint)
        self._remember(name, error.message)

    def leave_until_identified(self, name: StoreName) -> None:
        """Leave a store alone whose shop the state may know by another name, until the shop has told its gid."""
        self._running.suspend(name, ASKED)

    def let_in(self, name: StoreName) -> None:
        """The shop has answered: what an earlier process remembered of a refusal holds no more."""
        if name not in self._running.suspended():
            self._remember(name, None)

    def resume(self, name: StoreName) -> bool:
        """Work on it again, if it was left alone: its config is another, or the shop has answered."""
        if not self._running.resume(name):
            return False
        with self._lock:
            self._pauses.pop(name, None)
        try:
            self._remember(name, None)
        except StateError as error:  # it is worked on all the same; its next look says so again
            _log.warning("state_write_failed", store=name, error=error.message)
        _log.info("store_resumed", store=name)
        return True

    def probe(self, name: StoreName) -> None:
        """Ask the shop now whether we may come in."""
        with self._running.components() as components:
            store = self._running.store(name)
            if store is None:
                return
            try:
                if name in components.shop_keys.unsure():
                    components.identify(name)
                    store = self._running.store(name) or store
                components.setup(store).facts()
            except AccessError as error:
                self.refused(name, error)
                return
            except (ConfigError, TemporaryError, PermanentError) as error:
                _log.info("probe_failed", store=name, error=error.message)
                if name in components.shop_keys.unsure():
                    self._remember(name, f"{ASKED}: {error.message}")
                return
        if self.resume(name):
            self._resumed(name)

    def due(self) -> list[StoreName]:
        """Whom to probe now: whose pause is over (the next is twice as long), and who was let in by another replica."""
        now = time.monotonic()
        found = []
        for name in self._running.suspended():
            with self._lock:
                pause = self._pauses.setdefault(name, _Pause(self._intervals.probe_first_s, now))
                is_due = now >= pause.due_at
            if is_due or self._let_in_elsewhere(name):
                with self._lock:
                    pause.seconds = min(pause.seconds * 2, self._intervals.probe_last_s)
                    pause.due_at = now + pause.seconds
                found.append(name)
        return found

    def _let_in_elsewhere(self, name: StoreName) -> bool:
        store = self._running.store(name)
        if store is None:
            return False
        with self._running.components() as components:
            if name in components.shop_keys.unsure():
                return False
            facts = components.state.facts(store.shop)
        return facts is not None and facts.suspended_reason is None

    def _remember(self, name: StoreName, why: str | None) -> None:
        store = self._running.store(name)
        if store is None:
            return
        with self._running.components() as components:
            facts = components.state.facts(store.shop) or StoreFacts(store.name, store.shop)
            if facts.suspended_reason == why:
                return
            since = self._clock.now() if why else None
            components.state.put_facts(replace(facts, store=store.name, suspended_at=since, suspended_reason=why))
