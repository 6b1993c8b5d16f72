"""`ports.threads.Threads` under the scheduler: threads, and what they wait with, are tasks.

Only one task runs at a time, and none is interrupted, so that only a lock that is held over calls that wait counts.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from reconciler.ports.threads import Threads
from tests.simulation.scheduler import Machine, Scheduler, Task

T = TypeVar("T")


class Waiting:
    """Who waits for something. `wait` is True where it was woken, and False where the time was over."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._tasks: list[Task] = []

    def wait(self, seconds: float | None) -> bool:
        task = self._scheduler.current
        assert task is not None
        self._tasks.append(task)
        try:
            self._scheduler.park(seconds)
        finally:
            woken = task not in self._tasks
            if not woken:
                self._tasks.remove(task)
        return woken

    def wake(self, count: int | None = None) -> None:
        woken, self._tasks = (self._tasks, []) if count is None else (self._tasks[:count], self._tasks[count:])
        for task in woken:
            if not task.machine.dead:
                self._scheduler.wake(task)


class SimEvent(threading.Event):
    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._waiting = Waiting(scheduler)

    def set(self) -> None:
        super().set()
        self._waiting.wake()

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self._waiting.wait(timeout)
        return self.is_set()


class SimLock:
    """One that is held while its task waits for something else."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._waiting, self._is_held = Waiting(scheduler), False

    def __enter__(self) -> None:
        while self._is_held:
            self._waiting.wait(None)
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False
        self._waiting.wake(1)


class SimCondition(threading.Condition):
    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler, self._waiting = scheduler, Waiting(scheduler)

    def wait(self, timeout: float | None = None) -> bool:
        return self._waiting.wait(timeout)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        until_s = None if timeout is None else self._scheduler.now_s + timeout
        while not (found := predicate()):
            left_s = None if until_s is None else until_s - self._scheduler.now_s
            if left_s is not None and left_s <= 0:
                break
            self._waiting.wait(left_s)
        return found

    def notify(self, n: int = 1) -> None:
        self._waiting.wake(n)

    def notify_all(self) -> None:
        self._waiting.wake()


class SimQueue(SimpleQueue[Any]):
    def __init__(self, scheduler: Scheduler) -> None:
        self._items: deque[Any] = deque()
        self._waiting = Waiting(scheduler)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        self._items.append(item)
        self._waiting.wake(1)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
        while not self._items:
            self._waiting.wait(timeout)
        return self._items.popleft()

    def get_nowait(self) -> Any:
        if not self._items:
            raise Empty
        return self._items.popleft()


class SimThread(threading.Thread):
    """A task that begins with `start`."""

    def __init__(self, scheduler: Scheduler, machine: Machine, call: Callable[[], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._scheduler, self._machine, self._call = scheduler, machine, call
        self._over = SimEvent(scheduler)
        self._begun = False

    def start(self) -> None:
        self._begun = True
        self._scheduler.spawn(self._machine, self.name, self._work)

    def _work(self) -> None:
        try:
            self._call()
        finally:
            self._over.set()

    @property
    def ident(self) -> int | None:
        return id(self) if self._begun else None

    def is_alive(self) -> bool:
        return self._begun and not self._over.is_set()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)


class SimFuture(Future[Any]):
    """Done when a task has made its result: who waits for it is a task, too."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._made = SimEvent(scheduler)
        self.add_done_callback(lambda _future: self._made.set())

    def result(self, timeout: float | None = None) -> Any:
        self._made.wait(timeout)
        return super().result(0)


class SimPool(Executor):
    """So many tasks of one machine, which take the calls in their order."""

    def __init__(self, threads: SimThreads, workers: int, name: str) -> None:
        self._threads, self._workers, self._name = threads, workers, name
        self._calls: deque[tuple[SimFuture, Callable[[], Any]]] = deque()
        self._begun: list[threading.Thread] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = SimFuture(self._threads.scheduler)
        self._calls.append((future, lambda: fn(*args, **kwargs)))
        running = [each for each in self._begun if each.is_alive()]
        if len(running) < self._workers:
            thread = self._threads.thread(self._work, f"{self._name}-{len(self._begun)}")
            self._begun = [*running, thread]
            thread.start()
        return future

    def _work(self) -> None:
        while self._calls:
            future, call = self._calls.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                made = call()
            except Exception as error:  # noqa: BLE001  raised where the result is read
                future.set_exception(error)
            else:
                future.set_result(made)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        for thread in self._begun:
            thread.join()


class SimThreads(Threads):
    """Those of one machine."""

    def __init__(self, scheduler: Scheduler, machine: Machine) -> None:
        self.scheduler, self._machine = scheduler, machine

    def pool(self, workers: int, name: str) -> Executor:
        return SimPool(self, workers, name)

    def thread(self, call: Callable[[], None], name: str) -> threading.Thread:
        return SimThread(self.scheduler, self._machine, call, name)

    def lock(self) -> SimLock:
        return SimLock(self.scheduler)

    def event(self) -> threading.Event:
        return SimEvent(self.scheduler)

    def condition(self) -> threading.Condition:
        return SimCondition(self.scheduler)

    def queue(self, of: type[T]) -> SimpleQueue[T | None]:
        return SimQueue(self.scheduler)

    def steady_s(self) -> float:
        return self.scheduler.now_s
