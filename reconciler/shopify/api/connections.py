"""A pool of connections to one shop; each is used by one thread at a time.

It is not one transport for all threads: httpcore 1.0.9 may close an idle connection that another thread has just
acquired (encode/httpcore#1110, open on 2026-11-25). That thread's read then fails, hangs, or returns another thread's
response. Twenty threads met this within seconds. It can't happen if only one thread uses a transport at a time.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx

WAIT_S: Final = 60.0


class ConnectionPool:
    """`count` transports with one connection each. The last one used is reused first, so that few connections stay open."""

    def __init__(self, make: Callable[[], httpx.BaseTransport], count: int) -> None:
        self._all = tuple(make() for _ in range(count))
        self._free: queue.LifoQueue[httpx.BaseTransport] = queue.LifoQueue()
        for transport in reversed(self._all):
            self._free.put(transport)

    @contextmanager
    def lend(self) -> Iterator[httpx.BaseTransport]:
        """Lend a transport to this thread. httpx.PoolTimeout if none is free within WAIT_S."""
        try:
            transport = self._free.get(timeout=WAIT_S)
        except queue.Empty:
            raise httpx.PoolTimeout(f"all {len(self._all)} connections were busy for {WAIT_S:g} s") from None
        try:
            yield transport
        finally:
            self._free.put(transport)

    def close(self) -> None:
        for transport in self._all:
            transport.close()
