"""Pieces of work side by side, each in a thread of its own: what they yield comes as it is known, and they end together.

A thread can't be broken off from outside: long work checks `Cancellation` where it may end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from collections.abc import Mapping as MappingOf
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final, TypeVar

from reconciler.ports.threads import THREADS, Threads

STORES_AT_ONCE: Final = 8
NAP_S = 1.0  # a wait checks so often whether it should end

K = TypeVar("K")
T = TypeVar("T")


class Cancelled(Exception):
    """The work was cancelled and ends where it is. No error: only `run_parallel` handles it."""


class Cancellation:
    """Whether work should end where it is. One that was made `of` another is cancelled with it, and not the reverse."""

    def __init__(self, of: Cancellation | None = None) -> None:
        self._of = of
        self._over = threading.Event()

    def cancel(self) -> None:
        """Ask the work to end; returns immediately."""
        self._over.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work should end."""
        return self._over.is_set() or (self._of is not None and self._of.is_cancelled)

    def check(self) -> None:
        """Raise Cancelled where the work should end."""
        if self.is_cancelled:
            raise Cancelled

    def sleep(self, sleep: Callable[[float], None], seconds: float) -> None:
        """Sleep so long, but not when it is cancelled: raises Cancelled shortly afterwards."""
        while seconds > 0:
            self.check()
            sleep(min(seconds, NAP_S))
            seconds -= NAP_S
        self.check()


NEVER: Final = Cancellation()
"""That of a claim, which runs to its end. Not to be cancelled."""


def side_by_side(work: MappingOf[K, Callable[[], T]]) -> dict[K, T]:
    """Each store's work in a thread of its own."""
    with ThreadPoolExecutor(STORES_AT_ONCE, thread_name_prefix="plan") as pool:
        found = {name: pool.submit(each) for name, each in work.items()}
        return {name: future.result() for name, future in found.items()}


def run_parallel(
    works: MappingOf[K, Callable[[], Iterator[T]]],
    cancellation: Cancellation,
    *,
    at_once: int,
    name: str,
    one_ends_all: bool,
    threads: Threads = THREADS,
) -> Generator[tuple[K, T], None, None]:
    """What each work yields, with its name, as it is known; each in a thread, so many at once.

    An error that ends one is raised when all have ended; with `one_ends_all` the others are asked to end, too. So they
    are when this is closed, which waits until they have ended.
    """
    done = threads.queue(tuple[K, T])

    def run(key: K, work: Callable[[], Iterator[T]]) -> None:
        try:
            with closing(_through(work)) as items:
                cancellation.check()
                for item in items:
                    done.put((key, item))
                    cancellation.check()
        except Cancelled:
            pass
        except BaseException:
            if one_ends_all:
                cancellation.cancel()
            raise
        finally:
            done.put(None)

    with threads.pool(at_once, name) as pool:
        running = [pool.submit(run, key, work) for key, work in works.items()]
        left = len(running)
        try:
            while left:
                item = done.get()
                if item is None:
                    left -= 1
                else:
                    yield item
        finally:
            if left:
                cancellation.cancel()
    for future in running:
        future.result()
    cancellation.check()


def _through(work: Callable[[], Iterator[T]]) -> Generator[T, None, None]:
    """Its items; closing this closes it."""
    yield from work()
