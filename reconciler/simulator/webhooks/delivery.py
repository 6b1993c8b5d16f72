"""Delivers a simulated shop's webhooks, signed as by Shopify, to loopback only, with configurable unreliability.

It reads `shop.outbox`, outside all calls. `pump()` once sends everything due by the shop's clock; as a context manager it
pumps in a thread. Failed deliveries are retried eight times over four hours, with the old body; after eight consecutive
failures a subscription created by the API is removed (Shopify webhooks pages, read 2026-11-23).
"""

import base64
import hashlib
import hmac
import json
import random
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from reconciler.simulator.customers.records import SimEvent, SimSubscription
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.shop import Shop
from reconciler.simulator.webhooks.bodies import topic_header
from reconciler.simulator.webhooks.uris import LOOPBACK

FAILURES_MAX: Final = 8
RETRY_AFTER_S: Final = (10, 60, 300, 900, 1800, 2700, 3600, 5030)
"""The delays before the eight retries; four hours in total."""
CONNECT_S: Final = 1.0
TOTAL_S: Final = 5.0
IDLE_S: Final = 0.02


@dataclass(slots=True)
class Weather:
    """The unreliability of deliveries. Probabilities from 0 to 1; `delay_s` by the shop's clock."""

    drop: float = 0.0
    duplicate: float = 0.0
    shuffle: bool = False
    """Deliveries that are due together are sent in random order."""
    delay_s: float = 0.0


@dataclass(slots=True, order=True)
class _Delivery:
    due_at: float
    order: float
    event: SimEvent = field(compare=False)
    subscription: SimSubscription | None = field(compare=False)
    webhook_id: str = field(compare=False)
    attempts: int = field(default=0, compare=False)


class Deliverer:
    """Sends the shop's events to their subscribers.

    `origin`: scheme, host and port on loopback that receive everything instead of the real addresses. `routes`: the same for
    addresses by prefix: {"https://hooks.example.com": "http://127.0.0.1:8080"}. `app_url`: the address in the app's own
    configuration, which receives every event and is never removed. `sent` counts deliveries, failures, drops and removals.
    """

    def __init__(
        self,
        shop: Shop,
        *,
        secret: str | None = None,
        app_url: str | None = None,
        routes: Mapping[str, str] | None = None,
        origin: str | None = None,
        weather: Weather | None = None,
        seed: int = 0,
    ) -> None:
        self.shop = shop
        self.app_url = app_url
        self.routes = dict(routes or {})
        self.origin = origin
        self.weather = weather or Weather()
        self.sent: Counter[str] = Counter()
        self._secret = secret
        self._random = random.Random(f"{shop.domain} {seed}")  # noqa: S311 - repeatable on purpose
        self._waiting: list[_Delivery] = []
        self._under_way = 0
        self._http = httpx.Client(timeout=httpx.Timeout(TOTAL_S, connect=CONNECT_S), follow_redirects=False)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        if secret is not None and shop.webhook_secret is None:
            shop.webhook_secret = secret

    # --- running --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name=f"webhooks {self.shop.domain}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._http.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.pump() == 0:
                self._stop.wait(IDLE_S)

    def pump(self) -> int:
        """Send everything that is due now. Returns the number of attempted deliveries."""
        with self._lock:
            self._take_over()
            now = self.shop.now()
            due = sorted(each for each in self._waiting if each.due_at <= now)
            self._waiting = [each for each in self._waiting if each.due_at > now]
            self._under_way += len(due)
        for each in due:
            self._try(each)
            with self._lock:
                self._under_way -= 1
        return len(due)

    def waiting(self) -> int:
        """The number of events and deliveries that have not arrived, including those in progress."""
        with self._lock:
            return len(self.shop.outbox) + len(self._waiting) + self._under_way

    # --- steps ----------------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        while self.shop.outbox:
            event = self.shop.outbox.popleft()
            receivers: list[SimSubscription | None] = [*self.shop.subscribers(event)]
            if self.app_url is not None:
                receivers.append(None)
            for receiver in receivers:
                self._post(event, receiver)

    def _post(self, event: SimEvent, receiver: SimSubscription | None) -> None:
        if self._random.random() < self.weather.drop:
            self.sent["dropped"] += 1
            return
        webhook_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        copies = 2 if self._random.random() < self.weather.duplicate else 1
        for _ in range(copies):
            order = self._random.random() if self.weather.shuffle else float(event.number % (1 << 40))
            due_at = event.at + self.weather.delay_s
            self._waiting.append(_Delivery(due_at, order, event, receiver, webhook_id))

    def _try(self, delivery: _Delivery) -> None:
        subscription = delivery.subscription
        if subscription is not None and subscription.number not in self.shop.subscriptions:
            return
        delivery.attempts += 1
        if self._send(delivery):
            self.sent["delivered"] += 1
            if subscription is not None:
                subscription.failures = 0
            return
        self.sent["failed"] += 1
        if subscription is not None:
            subscription.failures += 1
            if subscription.failures >= FAILURES_MAX:
                self.shop.subscriptions.pop(subscription.number, None)
                self.sent["removed"] += 1
                return
        if delivery.attempts <= len(RETRY_AFTER_S):
            delivery.due_at = self.shop.now() + RETRY_AFTER_S[delivery.attempts - 1]
            with self._lock:
                self._waiting.append(delivery)

    def _send(self, delivery: _Delivery) -> bool:
        """Send one delivery. Returns whether it was accepted with 2xx, on loopback."""
        url = self._url(delivery.subscription)
        if urlsplit(url).hostname not in LOOPBACK:
            self.sent["not loopback"] += 1
            return False
        body = json.dumps(_chosen(delivery)).encode()
        try:
            return self._http.post(url, content=body, headers=self._headers(delivery, body)).is_success
        except httpx.HTTPError:
            return False

    def _url(self, subscription: SimSubscription | None) -> str:
        url = (self.app_url or "") if subscription is None else subscription.uri
        for start, instead in self.routes.items():
            if url.startswith(start):
                return instead + url.removeprefix(start)
        if self.origin is not None:
            parts = urlsplit(url)
            return self.origin.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")
        return url

    def _headers(self, delivery: _Delivery, body: bytes) -> dict[str, str]:
        secret = self._secret or self.shop.webhook_secret or ""
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic_header(delivery.event.topic),
            "X-Shopify-Hmac-Sha256": sign(body, secret),
            "X-Shopify-Shop-Domain": self.shop.domain,
            "X-Shopify-API-Version": self.shop.webhook_api_version,
            "X-Shopify-Webhook-Id": delivery.webhook_id,
            "X-Shopify-Event-Id": str(uuid.UUID(int=delivery.event.number, version=4)),
            "X-Shopify-Triggered-At": datetime.fromtimestamp(delivery.event.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }


def sign(body: bytes, secret: str) -> str:
    """X-Shopify-Hmac-Sha256 of a body."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def _chosen(delivery: _Delivery) -> Json:
    """The payload, or the part of it that a subscription includes."""
    payload = delivery.event.payload
    wanted = delivery.subscription.include_fields if delivery.subscription is not None else ()
    return {name: payload[name] for name in payload if name in wanted} if wanted else payload
