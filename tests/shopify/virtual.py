"""Virtual time for threads: when all of them wait, the clock jumps to the next deadline. No real second passes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Blocked:
    until: float
    on: object
    woken: bool = False


class VirtualTime:
    """A clock, a sleep and conditions for a known number of threads, started by `run`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._blocked: list[_Blocked] = []
        self._running = 0

    def __call__(self) -> float:
        return self.now

    def condition(self) -> threading.Condition:
        return _VirtualCondition(self)

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.block(_Blocked(self.now + seconds, None))

    def run(self, *workers: Callable[[], None]) -> None:
        """Run them all in threads of their own until they end; what one raises is raised here."""
        errors: list[BaseException] = []
        self._running = len(workers)

        def main(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  handed on to the test
                errors.append(error)
            finally:
                with self.lock:
                    self._running -= 1
                    self._advance()

        threads = [threading.Thread(target=main, args=(work,)) for work in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def block(self, entry: _Blocked) -> None:
        self._blocked.append(entry)
        self._running -= 1
        self._advance()
        while not entry.woken:
            self._changed.wait()

    def wake(self, entries: list[_Blocked]) -> None:
        for entry in entries:
            entry.woken = True
            self._blocked.remove(entry)
            self._running += 1
        self._changed.notify_all()

    def blocked_on(self, thing: object) -> list[_Blocked]:
        return [entry for entry in self._blocked if entry.on is thing]

    def _advance(self) -> None:
        if self._running == 0 and self._blocked:
            self.now = max(self.now, min(entry.until for entry in self._blocked))
            self.wake([entry for entry in self._blocked if entry.until <= self.now])


class _VirtualCondition(threading.Condition):
    def __init__(self, time: VirtualTime) -> None:
        super().__init__(time.lock)
        self._time = time

    def wait(self, timeout: float | None = None) -> bool:
        entry = _Blocked(self._time.now + timeout if timeout is not None else float("inf"), self)
        self._time.block(entry)
        return True

    def notify_all(self) -> None:
        self._time.wake(self._time.blocked_on(self))
