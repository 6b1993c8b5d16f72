"""Users whose row has changed, as the outbox tells of them, into the queue: one turn of the clockwork.

Where there is no outbox, or the profiles are on SQLite, each turn is nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.request import Priority, Request
from reconciler.manager.metrics import Metrics
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock
from reconciler.settings import Settings
from reconciler.state.database.engine import open_engine
from reconciler.supabase.outbox import BATCH, Listener, NudgeFeed, Outbox
from reconciler.wiring import Components


class OutboxNudges:
    """From the profiles' database into the queue. Thread-safe: psycopg frees a connection that another thread still uses."""

    def __init__(
        self,
        components: Components,
        settings: Settings,
        running: RunningConfig,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self._queue, self._running, self._clock, self._metrics, self._wake = (
            components.queue,
            running,
            clock,
            metrics,
            wake,
        )
        self._lock = threading.Lock()
        url = settings.profiles.url or settings.state.url
        self._engine = None if url.startswith("sqlite") else open_engine(url)
        self._feed = NudgeFeed(Outbox(self._engine), Listener(url)) if self._engine is not None else None

    def take(self) -> None:
        """One batch, at most. SourceError or StateError leaves it where it was."""
        with self._lock:
            found = self._feed is not None and self._feed.poll(self._queue_up)
        if found:
            self._wake()

    def close(self) -> None:
        with self._lock:
            if self._feed is not None and self._engine is not None:
                self._feed.close()
                self._engine.dispose()

    def _queue_up(self, users: Sequence[ClerkUserId]) -> None:
        """Many at once are an import, behind which nobody who waits for a nudge shall stand."""
        priority = Priority.NUDGE if len(users) < BATCH / 2 else Priority.RESYNC
        requests = [Request(store.name, user) for user in users for store in self._running.stores()]
        self._metrics.added(self._queue.add(requests, self._clock.now(), priority=priority, reason="profile changed"))
