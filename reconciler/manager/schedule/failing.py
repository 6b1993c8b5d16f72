"""`FailingStores`: stores that grant access but fail: which work fails, since when, by which error, until it succeeds.

A shop with malformed answers, or a long outage, is not suspended: its work is tried again and again. `status` shows what
is recorded in the state. A failed scan counts by itself. Requests count only if several failed in succession, since one
alone may be the trouble of one user.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

import structlog

from reconciler.controller.step import ReconcileResult
from reconciler.core.model.ids import StoreName
from reconciler.errors import PermanentError, ReconcilerError, StateError, TemporaryError
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock, StoreFacts

REQUESTS: Final = "requests"
IN_A_ROW: Final = 3  # failed requests of one store in succession
_log = structlog.get_logger(__name__)


class FailingStores:
    """Records what fails in each store. Thread-safe; any number of replicas may record."""

    def __init__(self, running: RunningConfig, clock: Clock) -> None:
        self._running, self._clock = running, clock
        self._in_a_row: dict[StoreName, int] = {}
        self._lock = threading.Lock()

    def note_failure(self, name: StoreName, what: str, error: ReconcilerError) -> None:
        """Record that this kind of work failed in this store because of the shop; our own errors are ignored."""
        if isinstance(error, TemporaryError | PermanentError):
            self._remember(name, what, error.message)

    def note_success(self, name: StoreName, what: str) -> None:
        """Record that this kind of work succeeded."""
        self._remember(name, what, None)

    def note_request(self, name: StoreName, done: ReconcileResult) -> None:
        """Count the result of one request."""
        with self._lock:
            before = self._in_a_row.get(name, IN_A_ROW)  # an earlier process may have recorded a failure
            if isinstance(done.error, TemporaryError | PermanentError):
                now = self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
            elif done.error is None:
                now = self._in_a_row[name] = 0
            else:
                return
        if now >= IN_A_ROW and done.error is not None:
            self.note_failure(name, REQUESTS, done.error)
        elif not now and before >= IN_A_ROW:
            self.note_success(name, REQUESTS)

    def _remember(self, name: StoreName, what: str, why: str | None) -> None:
        """Record the first kind of work that fails until that kind succeeds: a scan that calls no shop proves nothing."""
        store = self._running.store(name)
        if store is None:
            return
        try:
            mappings = self._running.connections.state.mappings
            facts = mappings.facts(store.shop) or StoreFacts(store.name, store.shop)
            if facts.failing_what not in {None, what} or facts.failing_reason == why:
                return
            since = (facts.failing_since or self._clock.now()) if why is not None else None
            kept = what if why is not None else None
            updated = replace(facts, store=store.name, failing_what=kept, failing_reason=why, failing_since=since)
            mappings.put_facts(updated)
        except StateError as error:
            _log.warning("state_write_failed", error=error.message)
