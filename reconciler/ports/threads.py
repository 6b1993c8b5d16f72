"""The threads of a part of this process, and what they wait with: an argument, so that a simulation can replace them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Final, TypeVar

T = TypeVar("T")


class Threads:
    """Threads, pools of them, what they wait with, and a clock for their pauses.

    A simulation replaces it: its threads take turns, in an order that it chooses, and its clock is virtual.
    """

    def thread(self, call: Callable[[], None], name: str) -> threading.Thread:
        """A thread that does not delay the end of the process."""
        return threading.Thread(target=call, name=name, daemon=True)

    def pool(self, workers: int, name: str) -> Executor:
        """So many threads, which end with the `with` block around them."""
        return ThreadPoolExecutor(workers, thread_name_prefix=name)

    def lock(self) -> AbstractContextManager[object]:
        """A lock that is held over calls which wait."""
        return threading.Lock()

    def event(self) -> threading.Event:
        return threading.Event()

    def condition(self) -> threading.Condition:
        return threading.Condition()

    def queue(self, of: type[T]) -> SimpleQueue[T | None]:  # noqa: ARG002  names the type
        return SimpleQueue()

    def steady_s(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


THREADS: Final = Threads()
