"""`NudgedStores`: full resyncs that operators want, from a command, the API or the console of any replica."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from reconciler.core.model.ids import StoreName
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock

OVERLAP = timedelta(minutes=1)  # an act may be committed after a later one


class NudgedStores:
    """Follows the acts in the state. The first full resync of a replica covers those before its start."""

    def __init__(self, running: RunningConfig, clock: Clock, scan_soon: Callable[[StoreName, datetime], None]) -> None:
        self._running, self._clock, self._scan_soon = running, clock, scan_soon
        self._lock = threading.Lock()
        self._seen: dict[StoreName, datetime] = {}
        self._since: datetime | None = None

    def follow(self) -> None:
        """Start the full resyncs that are wanted since the last call."""
        with self._lock:
            if self._since is None:
                self._since = self._clock.now()
            newest = max(self._seen.values(), default=self._since)
            wanted = self._running.connections.state.acts.nudged_stores(since=max(newest - OVERLAP, self._since))
            fresh = {name: at for name, at in wanted.items() if at > self._seen.get(name, self._since)}
            self._seen |= fresh
        known = {store.name for store in self._running.stores()}
        for name, at in fresh.items():
            if name in known:
                self._scan_soon(name, at)
