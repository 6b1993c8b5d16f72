"""`OutboxNudges`: enqueues the users that the outbox lists, since their rows changed.

Without an outbox, or with profiles on SQLite, a call does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.request import Priority, Request
from reconciler.manager.metrics import Metrics
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock, RequestQueue
from reconciler.settings import Settings
from reconciler.state.database.engine import open_engine
from reconciler.supabase.outbox import BATCH, Listener, NudgeFeed, Outbox


class OutboxNudges:
    """From the profiles' database into the queue. Thread-safe: psycopg frees a connection that another thread still uses."""

    def __init__(
        self,
        queue: RequestQueue,
        settings: Settings,
        running: RunningConfig,
        clock: Clock,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self._queue, self._running, self._clock, self._metrics, self._wake = queue, running, clock, metrics, wake
        self._lock = threading.Lock()
        url = settings.profiles.url or settings.state.url
        self._engine = None if url.startswith("sqlite") else open_engine(url)
        self._feed = NudgeFeed(Outbox(self._engine), Listener(url)) if self._engine is not None else None

    def take(self) -> None:
        """Enqueue one batch at most. SourceError or StateError leaves it in the outbox."""
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
        """Enqueue users; many together are an import, and get the priority of a resync so that nudges do not wait for it."""
        priority = Priority.NUDGE if len(users) < BATCH / 2 else Priority.RESYNC
        requests = [Request(store.name, user) for user in users for store in self._running.stores()]
        self._metrics.note_added(
            self._queue.add(requests, self._clock.now(), priority=priority, reason="profile changed")
        )
