"""`Notifier`: tells a webhook when something in a store starts or stops to need a person."""

from __future__ import annotations

from typing import Protocol

import structlog

from reconciler.core.model.ids import ShopDomain
from reconciler.core.report.needs import NeedChange, change_of, notification_text, rollout_needs, store_needs
from reconciler.errors import TemporaryError
from reconciler.manager.http.status_rows import status_rows_of
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock
from reconciler.wiring import Components

_log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Where messages go."""

    def send(self, text: str) -> None:
        """Send this text, within a bounded time. TemporaryError: it was not taken."""


class Notifier:
    """One message for all stores that changed, and at most one an hour for each store, whatever replica sends it."""

    def __init__(self, running: RunningConfig, sender: Sender | None, clock: Clock) -> None:
        self._running, self._sender, self._clock = running, sender, clock

    def notify(self) -> None:
        """Send what changed since the last message. Without a sender, nothing. StateError."""
        if self._sender is None:
            return
        stores = self._running.stores()
        with self._running.components() as components:
            notices = components.state.notices
            before = notices.notified()
            rollout = _rollout_needs(components)
            needs = {
                store.shop: (store, store_needs(row) | rollout.get(store.shop, {}))
                for store, row in zip(stores, status_rows_of(components, stores), strict=True)
            }
            changes: list[NeedChange] = []
            claimed = []
            for shop, (store, now) in needs.items():
                change = change_of(store.name, before.get(shop, {}), now)
                if change is not None and notices.claim_notice(shop, now=self._clock.now()):
                    changes.append(change)
                    claimed.append(shop)
            if not changes:
                return
            try:
                self._sender.send(notification_text(changes))
            except TemporaryError as error:
                _log.warning("notification_failed", error=error.message, hint=error.hint)
                for shop in claimed:
                    notices.end_notice(shop, None, now=self._clock.now())
                return
            for shop in claimed:
                notices.end_notice(shop, needs[shop][1], now=self._clock.now())
        _log.info("notification_sent", stores=[change.store for change in changes])


def _rollout_needs(components: Components) -> dict[ShopDomain, dict[str, str]]:
    rollouts = components.rollouts
    if rollouts is None:
        return {}
    known = rollouts.read()
    return rollout_needs(known.rollout, is_held=rollouts.report(known).is_held)
