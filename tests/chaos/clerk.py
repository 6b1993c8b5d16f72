"""Clerk's webhooks: signed, late, doubled, out of order, and repeated until a replica takes them, as Svix does.

What Svix would give up on after a day is repeated here until the end; "dropped" is a first attempt that never arrives.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import httpx

from tests.chaos.app import metadata_of
from tests.chaos.people import User
from tests.clerk import sender
from tests.clock import WallClock

GIVES_UP_S = 15.0  # Svix waits no longer for an answer (docs.svix.com, read 2026-11-23)
PAUSE_S = 0.05
LATE_S = 6.0


def user_object(user: User) -> dict[str, Any]:
    """Clerk's user object, in full, for this user as they are now."""
    phones = (
        [{"id": "idn_phone", "phone_number": user.phone, "verification": {"status": "verified"}}] if user.phone else []
    )
    return sender.user(
        user.id,
        first_name=user.first,
        last_name=user.last,
        image_url=user.avatar,
        email_addresses=[{"id": "idn_main", "email_address": user.email, "verification": {"status": "verified"}}],
        phone_numbers=phones,
        primary_phone_number_id="idn_phone" if user.phone else None,
        public_metadata=json.loads(metadata_of(user)),
        updated_at=user.updated_ms,
    )


@dataclass(order=True, slots=True)
class _Delivery:
    due: float
    number: int
    message_id: str = field(compare=False)
    body: bytes = field(compare=False)
    attempts: int = field(default=0, compare=False)


@dataclass(slots=True)
class Sender:
    """Sends to any of the replicas. `answers` counts what came back; `slow` holds the seconds of answers that came late."""

    urls: Callable[[], Sequence[str]]
    seed: int
    answers: Counter[str] = field(default_factory=Counter)
    slow: list[float] = field(default_factory=list)
    chance: float = 0.15
    """Of each message to be lost at first, doubled, or late."""
    _waiting: list[_Delivery] = field(default_factory=list)
    _under_way: int = 0
    _numbers: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _random: random.Random = field(default_factory=random.Random)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._random = random.Random(f"clerk {self.seed}")
        self._threads = [threading.Thread(target=self._run, name=f"clerk {n}", daemon=True) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVES_UP_S * 2)

    def tell(self, kind: str, user: User) -> None:
        data = {"id": user.id, "object": "user", "deleted": True} if kind == "user.deleted" else user_object(user)
        body = sender.event(kind, data)
        now = time.monotonic()
        with self._lock:
            self._numbers += 1
            message_id = f"msg_{self._numbers}"
            late, double, lost = (self._random.random() < self.chance for _ in range(3))
            due = now + (self._random.uniform(0, LATE_S) if late or lost else 0)
            heappush(self._waiting, _Delivery(due, self._numbers, message_id, body))
            if double:
                self._numbers += 1
                heappush(
                    self._waiting, _Delivery(now + self._random.uniform(0, LATE_S), self._numbers, message_id, body)
                )

    def waiting(self) -> int:
        with self._lock:
            return len(self._waiting) + self._under_way

    def _run(self) -> None:
        with httpx.Client(timeout=GIVES_UP_S) as client:
            while not self._stop.is_set():
                with self._lock:
                    now = time.monotonic()
                    delivery = heappop(self._waiting) if self._waiting and self._waiting[0].due <= now else None
                    self._under_way += delivery is not None
                if delivery is None:
                    self._stop.wait(PAUSE_S)
                    continue
                taken = self._send(client, delivery)
                with self._lock:
                    self._under_way -= 1
                    if not taken:
                        delivery.attempts += 1
                        delivery.due = time.monotonic() + min(0.5 * 2**delivery.attempts, 5.0)
                        heappush(self._waiting, delivery)

    def _send(self, client: httpx.Client, delivery: _Delivery) -> bool:
        urls = self.urls()
        with self._lock:
            url = self._random.choice(urls) if urls else None
        if url is None:
            return False
        headers = sender.headers(delivery.body, message_id=delivery.message_id, at=WallClock().now())
        before = time.monotonic()
        try:
            status = str(client.post(f"{url}/webhooks/clerk", content=delivery.body, headers=headers).status_code)
        except httpx.TransportError as error:
            status = type(error).__name__
        took = time.monotonic() - before
        self.answers[status] += 1
        if status.isdigit():
            self.slow.append(took)
        return status.startswith("2")
