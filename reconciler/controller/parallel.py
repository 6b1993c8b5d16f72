"""Pieces of work side by side, each in a thread of its own: what they yield comes as it is known, and they end together.

A thread can't be broken off from outside: whoever works for long asks `Ending` at moments at which it may end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from collections.abc import Mapping as MappingOf
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from typing import TypeVar

NAP_S = 1.0  # whoever waits asks so often whether it should end

K = TypeVar("K")
T = TypeVar("T")


class Ended(Exception):
    """Nobody wants this work any more: it ends where it is. No error, and nobody's to handle but `merged`'s."""


class Ending:
    """Whether work should end where it is. One that was made `of` another ends with it, and not the other way round."""

    def __init__(self, of: Ending | None = None) -> None:
        self._of = of
        self._over = threading.Event()

    def end(self) -> None:
        """Ask for it; returns at once."""
        self._over.set()

    @property
    def is_over(self) -> bool:
        """Whether somebody asked for it."""
        return self._over.is_set() or (self._of is not None and self._of.is_over)

    def check(self) -> None:
        """Raise Ended where it is over."""
        if self.is_over:
            raise Ended

    def slept(self, sleep: Callable[[float], None], seconds: float) -> None:
        """Sleep so long, but not when it is over: raises Ended shortly afterwards."""
        while seconds > 0:
            self.check()
            sleep(min(seconds, NAP_S))
            seconds -= NAP_S
        self.check()


def merged(
    works: MappingOf[K, Callable[[], Iterator[T]]], ending: Ending, *, at_once: int, name: str, one_ends_all: bool
) -> Generator[tuple[K, T], None, None]:
    """What each work yields, with its name, as it is known; each in a thread, so many at once.

    An error that ends one is raised when all have ended; with `one_ends_all` the others are asked to end, too. So they
    are when nobody takes any more: closing this waits until they have.
    """
    done: SimpleQueue[tuple[K, T] | None] = SimpleQueue()

    def run(key: K, work: Callable[[], Iterator[T]]) -> None:
        try:
            with closing(_through(work)) as items:
                ending.check()
                for item in items:
                    done.put((key, item))
                    ending.check()
        except Ended:
            pass
        except BaseException:
            if one_ends_all:
                ending.end()
            raise
        finally:
            done.put(None)

    with ThreadPoolExecutor(at_once, thread_name_prefix=name) as pool:
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
                ending.end()
    for future in running:
        future.result()
    ending.check()


def _through(work: Callable[[], Iterator[T]]) -> Generator[T, None, None]:
    """Its items; closing this closes it."""
    yield from work()
