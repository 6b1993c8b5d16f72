"""Ids of recently accepted webhooks: bounded, in memory. A forgotten one only costs another reconcile."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 50_000


class SeenWebhooks:
    """The last `size` ids. Thread-safe."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def seen(self, webhook_id: str) -> bool:
        with self._lock:
            return webhook_id in self._ids

    def add(self, webhook_id: str) -> None:
        with self._lock:
            self._ids[webhook_id] = None
            self._ids.move_to_end(webhook_id)
            if len(self._ids) > self._size:
                self._ids.popitem(last=False)
