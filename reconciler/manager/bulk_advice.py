"""Warnings that `apply --bulk` would be faster, since `run` writes one by one: logged once a store while it is so."""

from __future__ import annotations

import threading

import structlog

from reconciler.controller.scan.standing import is_abandoned
from reconciler.core.decide.cost import MUTATION_POINTS
from reconciler.core.model.ids import StoreName
from reconciler.core.model.request import Waiting
from reconciler.core.plan.forecast import SLOW_S
from reconciler.errors import StateError
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock
from reconciler.settings import StoreSettings
from reconciler.wiring import Components

_log = structlog.get_logger(__name__)


class BulkAdvice:
    """Remembers the warnings of each store. Thread-safe."""

    def __init__(self, running: RunningConfig, clock: Clock) -> None:
        self._running, self._clock = running, clock
        self._said: set[tuple[StoreName, str]] = set()
        self._lock = threading.Lock()

    def check(self, name: StoreName) -> None:
        """Log the warnings that apply to this store now, from the state alone. An error of the state is logged."""
        store = self._running.store(name)
        if store is None or store.paused:
            return
        try:
            with self._running.components() as components:
                slow_s = self._slow_s(components, store)
                state = components.state
                abandoned = is_abandoned(store.shop, state.bulk, state.leases, self._clock.now())
        except StateError as error:
            _log.warning("state_read_failed", error=error.message)
            return
        command = f"reconciler apply --store {name} --bulk auto"
        if self._is_news(name, "requests_waiting", is_so=slow_s is not None):
            _log.warning("requests_waiting", store=name, seconds=slow_s, hint=f"{command} is faster")
        if self._is_news(name, "bulk_abandoned", is_so=abandoned):
            _log.warning("bulk_abandoned", store=name, hint=f"{command} resumes its bulk operations")

    def _slow_s(self, components: Components, store: StoreSettings) -> float | None:
        """Return how long the ready requests take at one write each, at the shop's rate; None if that is not long."""
        rate = components.readers(store).customers.restore_rate()
        if components.queue.depth(store.name) * MUTATION_POINTS <= SLOW_S * rate:
            return None
        waiting = components.queue.tally(self._clock.now()).get(store.name, Waiting()).ready  # reads the whole table
        takes_s = waiting * MUTATION_POINTS / rate
        return round(takes_s) if takes_s > SLOW_S else None

    def _is_news(self, name: StoreName, what: str, *, is_so: bool) -> bool:
        with self._lock:
            was_so = (name, what) in self._said
            (self._said.add if is_so else self._said.discard)((name, what))
            return is_so and not was_so
