"""`EndedAcceptances`: users with drift that is no longer accepted are reconciled, so that it is healed as before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import structlog

from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.request import Priority, Request
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock

_log = structlog.get_logger(__name__)


class EndedAcceptances:
    """Looks for acceptances that are over."""

    def __init__(self, running: RunningConfig, clock: Clock, wake: Callable[[], None]) -> None:
        self._running, self._clock, self._wake = running, clock, wake

    def end(self) -> None:
        """Enqueue the users of acceptances that are over, then delete these: a crash in between repeats it."""
        now = self._clock.now()
        connections = self._running.connections
        found: defaultdict[ShopDomain, list[ClerkUserId]] = defaultdict(list)
        for shop, user in connections.state.acts.ended_acceptances(now=now):
            found[shop].append(user)
        stores = {store.shop: store.name for store in self._running.stores()}
        for shop, users in found.items():
            if (name := stores.get(shop)) is not None:
                requests = [Request(name, user) for user in users]
                connections.queue.add(requests, now, priority=Priority.NUDGE, reason="acceptance")
                _log.info("acceptance_ended", store=name, users=len(users))
            connections.state.acts.clear_ended(shop, users, now=now)
        if found:
            self._wake()
