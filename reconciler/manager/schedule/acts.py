"""`FollowedActs`: what operators have set, by a command, the API or the console of any replica."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from reconciler.core.model.ids import StoreName
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.schedule.rollouts import FullScans
from reconciler.ports import Clock

OVERLAP = timedelta(minutes=1)  # an act may be committed after a later one
_log = structlog.get_logger(__name__)


class FollowedActs:
    """Follows the full resyncs that operators want, and pauses. The first full resync of a replica covers earlier ones."""

    def __init__(self, running: RunningConfig, clock: Clock, scans: Callable[[], FullScans]) -> None:
        self._running, self._clock, self._scans = running, clock, scans
        self._lock = threading.Lock()
        self._seen: dict[StoreName, datetime] = {}
        self._since: datetime | None = None

    def begin(self) -> None:
        """Read the pauses, and what is wanted from now on. StateError."""
        self._running.read_pauses()
        self._follow_nudged()

    def follow(self) -> None:
        """Start what is wanted since the last call, and find by a full scan what a pause held once it ends. StateError."""
        self._follow_nudged()
        for store in self._running.read_pauses():
            if store.pause is not None:
                _log.warning("store_paused", store=store.name, by=store.pause.actor.name, via=store.pause.actor.via)
            else:
                _log.info("store_pause_ended", store=store.name)
            self._scans().scan_soon(store.name)

    def _follow_nudged(self) -> None:
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
                self._scans().scan_soon(name, since=at)
