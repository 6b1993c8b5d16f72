"""Stores that let us in and can't be worked with: what fails, since when, and by which error, until the same succeeds.

A shop whose replies are malformed, or that is away for long, is not suspended: its work is tried again and again. What is
remembered in the state is what `status` shows. A look counts by itself; single requests count only where several of them
have failed in a row, since one alone may be that user's trouble.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

import structlog

from reconciler.controller.worker import WorkResult
from reconciler.core.model.ids import StoreName
from reconciler.errors import PermanentError, ReconcilerError, StateError, TemporaryError
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock, StoreFacts

REQUESTS: Final = "requests"
IN_A_ROW: Final = 3  # failed requests of one store, with none that ended well between them
_log = structlog.get_logger(__name__)


class FailingStores:
    """Writes down what fails in each store. Thread-safe; any number of replicas side by side."""

    def __init__(self, running: RunningConfig, clock: Clock) -> None:
        self._running, self._clock = running, clock
        self._in_a_row: dict[StoreName, int] = {}
        self._lock = threading.Lock()

    def failed(self, name: StoreName, what: str, error: ReconcilerError) -> None:
        """This kind of work has failed in this store by the shop's doing; another error of our own tells nothing of it."""
        if isinstance(error, TemporaryError | PermanentError):
            self._remember(name, what, error.message)

    def succeeded(self, name: StoreName, what: str) -> None:
        """The same kind of work has ended well."""
        self._remember(name, what, None)

    def worked(self, done: WorkResult) -> None:
        """What became of one request."""
        name = done.claim.store
        with self._lock:
            before = self._in_a_row.get(name, IN_A_ROW)  # an earlier process may have written that they fail
            if isinstance(done.error, TemporaryError | PermanentError):
                now = self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
            elif done.error is None and done.result is not None:
                now = self._in_a_row[name] = 0
            else:
                return
        if now >= IN_A_ROW and done.error is not None:
            self.failed(name, REQUESTS, done.error)
        elif not now and before >= IN_A_ROW:
            self.succeeded(name, REQUESTS)

    def _remember(self, name: StoreName, what: str, why: str | None) -> None:
        """The first kind of work that fails is kept until that kind succeeds: a look that asks no shop proves nothing."""
        store = self._running.store(name)
        if store is None:
            return
        try:
            with self._running.components() as components:
                facts = components.state.facts(store.shop) or StoreFacts(store.name, store.shop)
                if facts.failing_what not in {None, what} or facts.failing_reason == why:
                    return
                since = (facts.failing_since or self._clock.now()) if why is not None else None
                kept = what if why is not None else None
                told = replace(facts, store=store.name, failing_what=kept, failing_reason=why, failing_since=since)
                components.state.put_facts(told)
        except StateError as error:
            _log.warning("state_write_failed", error=error.message)
