"""The door of the HTTP half: webhooks become requests, probes and the console get what the state knows.

Everything here is short: one write to the queue, or a read of the state. Nothing waits for a shop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from reconciler.clerk.users import parse_user
from reconciler.clerk.webhook import ClerkEvent
from reconciler.controller.worker import DELETED
from reconciler.core.event import Event
from reconciler.core.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.mapping import Mapping, Status
from reconciler.core.request import Priority, Request
from reconciler.core.status import StatusRow
from reconciler.errors import AccessError, PermanentError, TemporaryError
from reconciler.manager.books import Books
from reconciler.manager.crew import Crew
from reconciler.manager.metrics import Metrics
from reconciler.manager.rows import known_rows, status_rows_of
from reconciler.ports import Clock
from reconciler.server.seen import SeenWebhooks
from reconciler.settings import StoreSettings
from reconciler.shopify.webhooks import ShopifyEvent

REDACT, SHOP_REDACT, UNINSTALLED = "customers/redact", "shop/redact", "app/uninstalled"
DELETE = "customers/delete"
_log = structlog.get_logger(__name__)


class ManagerDoor:
    """server.door.Door on what runs now."""

    def __init__(
        self,
        crew: Crew,
        books: Books,
        clock: Clock,
        metrics: Metrics,
        *,
        readiness: Callable[[], Sequence[str]],
        wake: Callable[[], None],
        probe: Callable[[StoreName], None],
    ) -> None:
        self._crew, self._books, self._clock, self._metrics = crew, books, clock, metrics
        self._readiness, self._wake, self._probe = readiness, wake, probe
        self._seen = SeenWebhooks()

    # --- what comes in -------------------------------------------------------------------------------------------

    def clerk_event(self, event: ClerkEvent) -> None:
        if event.user_id is None:
            return
        try:
            self._upsert(event)
        finally:  # a row that could not be written is no reason not to look
            reason = DELETED if event.deleted else "clerk"
            wanted = None if event.deleted else event.updated_at
            self.nudge_user(event.user_id, reason=reason, wants_updated_at=wanted)

    def nudge_user(
        self,
        user: ClerkUserId,
        *,
        reason: str,
        wants_updated_at: datetime | None = None,
        stores: Collection[StoreName] | None = None,
    ) -> None:
        names = [s.name for s in self._crew.stores()] if stores is None else list(stores)
        self._add((Request(name, user) for name in names), reason, wants_updated_at)

    def nudge_customer(self, store: StoreName, customer: CustomerId, *, reason: str) -> None:
        settings = self._crew.store(store)
        if settings is None:
            return
        state = self._books.state
        state.touch(settings.shop, [customer], now=self._clock.now(), gone=reason == DELETE)
        owner = state.owners(settings.shop, [customer]).get(customer)
        if owner is not None:
            self._add([Request(store, owner)], reason, None)

    def shopify_event(self, store: StoreName, event: ShopifyEvent) -> None:
        settings = self._crew.store(store)
        if settings is None:
            return
        if event.topic == REDACT:
            self._redact(settings, event)
        elif event.topic in {UNINSTALLED, SHOP_REDACT}:
            self._probe(store)
        _log.info("shopify_event", store=store, topic=event.topic, data_request=event.data_request or None)

    def seen_webhook(self, webhook_id: str) -> bool:
        return self._seen.seen(webhook_id)

    def webhook_done(self, webhook_id: str) -> None:
        self._seen.add(webhook_id)

    # --- what machines and people read ---------------------------------------------------------------------------

    def readiness(self) -> Sequence[str]:
        return self._readiness()

    def metrics(self) -> CollectorRegistry:
        return self._metrics.registry

    def status_rows(self) -> Sequence[StatusRow]:
        with self._crew.house() as house:
            return status_rows_of(house, self._crew.stores())

    def find_people(
        self, text: str, *, store: StoreName | None, status: Status | None, reason: str | None, limit: int
    ) -> Sequence[Mapping]:
        stored: list[Status | None] = ["pending", "in_sync"] if status == "pending" else [status]
        found = [
            row
            for each in stored
            for row in self._books.showcase.find_people(
                text, shops=self._shops(store), status=each, reason=reason, limit=limit
            )
        ]
        return [row for row in self._known(found) if status in {None, row.status}][:limit]

    def person(self, user: ClerkUserId) -> Sequence[Mapping]:
        return self._known(self._books.showcase.person(user, shops=self._shops(None)))

    def recent_events(
        self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int
    ) -> Sequence[Event]:
        return self._books.showcase.recent_events(user=user, shops=self._shops(store), limit=limit)

    # --- parts ---------------------------------------------------------------------------------------------------

    def _known(self, rows: Iterable[Mapping]) -> list[Mapping]:
        with self._crew.house() as house:
            return list(known_rows(house, rows, self._crew.stores()))

    def _add(self, requests: Iterable[Request], reason: str, wants: datetime | None) -> None:
        added = self._books.queue.add(
            requests, self._clock.now(), priority=Priority.NUDGE, reason=reason, wants_updated_at=wants
        )
        self._metrics.added(added)
        self._wake()

    def _upsert(self, event: ClerkEvent) -> None:
        """Bring the profile row up to date first, where that is asked for: from Clerk's API, else from the event.

        SourceError goes to the sender, who sends again; what Clerk's API can't tell is taken from the signed event.
        """
        with self._crew.house() as house:
            if not house.loaded.settings.clerk.upsert_profiles or event.user_id is None:
                return
            if event.deleted:
                if house.clerk is None or self._crew.is_gone(event.user_id):
                    self._books.upserts.delete(event.user_id, at=event.sent_at or self._clock.now())
                return
            user: Any = None
            if house.clerk is not None:
                try:
                    user = house.clerk.get(event.user_id)
                    if user is None:
                        return
                except (AccessError, TemporaryError, PermanentError) as error:
                    _log.warning("clerk_not_asked", user=event.user_id, error=error.message)
            fresh = user is not None
            if user is None and event.user is not None:
                user = parse_user(event.user)
            if user is not None:
                self._books.upserts.write(user.profile(), fresh=fresh)

    def _redact(self, store: StoreSettings, event: ShopifyEvent) -> None:
        """By law: what we hold of these customers goes, and nobody of them is created again.

        Whom we healed before this came is left in the shop: no webhook is reason enough to delete anything there.
        """
        now, since = self._clock.now(), event.triggered_at
        for erased in self._books.erasure.redact(store.shop, event.customers, event.email, since=since, now=now):
            _log.info("erased", store=store.name, user=erased.user)
            if erased.left is not None:
                hint = "she was healed before her redaction came: request her erasure in Shopify again"
                _log.warning(
                    "erased_but_in_the_shop", store=store.name, user=erased.user, customer=erased.left, hint=hint
                )

    def _shops(self, store: StoreName | None) -> list[str]:
        return [s.shop for s in self._crew.stores() if store is None or s.name == store]
