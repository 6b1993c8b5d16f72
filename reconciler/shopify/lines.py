"""A few connections to one shop, each in the hands of one thread at a time.

Not one httpx.Client for all threads: httpcore 1.0.9 may close an idle connection that another thread has just been given
(encode/httpcore #1110, open on 2026-11-25); its reader then fails, hangs, or reads what is meant for somebody
else. Twenty threads met this within seconds. A client that only one thread uses at a time can't.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx

WAIT_S: Final = 60.0


class Lines:
    """`count` clients with a connection each; whoever was used last is used first, so that few are kept warm."""

    def __init__(self, make: Callable[[], httpx.Client], count: int) -> None:
        self._all = tuple(make() for _ in range(count))
        self._free: queue.LifoQueue[httpx.Client] = queue.LifoQueue()
        for client in reversed(self._all):
            self._free.put(client)

    @contextmanager
    def one(self) -> Iterator[httpx.Client]:
        """A client for this thread alone. httpx.PoolTimeout if none gets free."""
        try:
            client = self._free.get(timeout=WAIT_S)
        except queue.Empty:
            raise httpx.PoolTimeout(f"all {len(self._all)} connections were busy for {WAIT_S:g} s") from None
        try:
            yield client
        finally:
            self._free.put(client)

    def close(self) -> None:
        for client in self._all:
            client.close()
