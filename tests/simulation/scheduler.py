"""One seeded scheduler for everything that runs: tasks take turns in one thread, and time is virtual.

A task runs until it waits: at a scheduling point, for a while, or for another task. Which is next, and how long a point
takes, is drawn from the seed, so that a run is repeated by its seed. Nothing waits in real time: when all wait, the clock
moves to the first who need not wait any more.
"""

from __future__ import annotations

import gc
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush

from greenlet import getcurrent, greenlet

START = 1_795_000_000.0  # 2026-11-18
TRACE_KEPT = 400
QUICK_S = (0.0, 0.0005, 0.002, 0.01)  # what a point takes as a rule
SLOW_S = (0.2, 1.0, 4.0, 20.0, 45.0)  # and now and then
COLLECT_EVERY = 4000  # turns: garbage may hold a connection, which is back in its pool when it is collected
SLOW = 0.004  # of all points


class Died(BaseException):
    """This machine ends here: what catches it is no part of the product."""


class Stuck(AssertionError):
    """A task ended by an unexpected error."""


@dataclass(eq=False, slots=True)
class Machine:
    """What tasks run on: it may die, freeze, and lose the way to one of the others."""

    name: str
    dead: bool = False
    frozen_until: float = 0.0
    cut_until: dict[str, float] = field(default_factory=dict)
    """By what it can't reach: `state`, `profiles`."""
    at_work: str = ""
    """What happens when a worker next calls a shop: it `ends`, or its way to the state is `cut` for a minute."""


@dataclass(eq=False, slots=True)
class Task:
    """One thread of control. `due`: the turn that it waits for; an older one in the list of turns is void."""

    machine: Machine
    name: str
    run: greenlet
    due: int = 0
    started: bool = False
    kind: str = field(init=False)
    """Its name without numbers."""

    def __post_init__(self) -> None:
        self.kind = self.name.rstrip("0123456789")


class Scheduler:
    """All tasks and the virtual clock. `digest` names the interleaving; `trace` holds its end.

    `orders`: each order of three points that came one after the other, by what was called and the kind of task that called.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"schedule {seed}")
        self.now_s = START
        self.points: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=TRACE_KEPT)
        self.tasks: list[Task] = []
        self.slow = SLOW
        self.orders: set[tuple[str, ...]] = set()
        self._last: tuple[str, ...] = ("", "", "")
        self._digest = blake2b(digest_size=12)
        self._turns: list[tuple[float, float, int, Task]] = []
        self._numbers = self._given = 0
        self._hub = getcurrent()
        self._current: Task | None = None
        self._dying: list[Machine] = []
        self._failed: Stuck | None = None

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    # --- for tasks ------------------------------------------------------------------------------------------------

    def spawn(self, machine: Machine, name: str, call: Callable[[], None]) -> Task:
        """A new task, which begins at its first turn."""

        def run() -> None:
            try:
                call()
            except Died:
                pass
            except Exception as error:  # noqa: BLE001  shown with the trace, in the scheduler's own thread
                self._failed = Stuck(f"{task.machine.name} {task.name}: {type(error).__name__}: {error}")
                self._failed.__cause__ = error
            self.tasks.remove(task)

        task = Task(machine, name, greenlet(run, self._hub))
        self.tasks.append(task)
        self._plan(task, 0.0)
        return task

    def sleep(self, seconds: float) -> None:
        """The current task continues after so long. A caller that is no task, such as a test, does not wait."""
        task = self._here()
        if task is not None:
            self._plan(task, seconds)
            self._switch(task)

    def point(self, label: str) -> None:
        """A scheduling point: others may continue first. It takes a moment, and now and then much longer."""
        task = self._here()
        if task is None:
            return
        self.points[label.partition(" ")[0]] += 1
        self._last = (*self._last[1:], f"{task.kind} {label}")
        self.orders.add(self._last)
        dice = self.dice
        seconds = dice.choice(SLOW_S) if dice.random() < self.slow else dice.choice(QUICK_S) * dice.random()
        self.note(label)
        self.sleep(seconds)

    def note(self, what: str) -> None:
        """A line of the trace, by the current task."""
        task = self._current
        line = f"{task.machine.name} {task.name} {what}" if task is not None else what
        self._digest.update(line.encode())
        self.trace.append(f"{self.now_s - START:.4f} {line}")

    def park(self, seconds: float | None = None) -> None:
        """The current task continues when it is woken, or after so long."""
        task = self._here()
        assert task is not None, "only a task can wait for another"
        task.due = 0
        if seconds is not None:
            self._plan(task, seconds)
        self._switch(task)

    def wake(self, task: Task) -> None:
        self._plan(task, 0.0)

    @property
    def current(self) -> Task | None:
        """The task that runs; None where the caller is none."""
        return self._here()

    def is_at_work(self, machine: Machine) -> bool:
        """Whether any task of this machine has not ended."""
        return any(task.machine is machine for task in self.tasks)

    def kill(self, machine: Machine) -> None:
        """All tasks of this machine end where they are, at the scheduler's next turn."""
        machine.dead = True
        self._dying.append(machine)
        if self._current is not None and self._current.machine is machine:
            raise Died

    # --- the loop -------------------------------------------------------------------------------------------------

    def run(self, until_s: float, over: Callable[[], bool] = lambda: False) -> None:
        """Give turns until this time, or until it is over."""
        while not over():
            self._bury()
            if not self._turns or self._turns[0][0] > until_s:
                self.now_s = max(self.now_s, until_s)
                return
            at, _, number, task = heappop(self._turns)
            if number != task.due or task.run.dead:
                continue
            if task.machine.frozen_until > at:
                task.due = 0
                self._plan(task, task.machine.frozen_until - self.now_s)
                continue
            self.now_s = max(self.now_s, at)
            self._given += 1
            if self._given % COLLECT_EVERY == 0:
                gc.collect()
            self._give(task)

    def end(self) -> None:
        """Every task ends."""
        for task in self.tasks:
            task.machine.dead = True
            if task.machine not in self._dying:
                self._dying.append(task.machine)
        self._bury()

    def _give(self, task: Task) -> None:
        self._current, task.started = task, True
        task.run.switch()
        self._current = None
        if self._failed is not None:
            raise self._failed

    def _bury(self) -> None:
        while self._dying:
            machine = self._dying.pop()
            for task in [t for t in self.tasks if t.machine is machine]:
                if not task.started:
                    self.tasks.remove(task)
                    task.due = 0
                    continue
                self._current = task
                task.run.throw(Died)
                self._current = None

    def _here(self) -> Task | None:
        task = self._current
        if task is None or getcurrent() is not task.run:
            return None
        if task.machine.dead:
            raise Died
        return task

    def _plan(self, task: Task, seconds: float) -> None:
        self._numbers += 1
        task.due = self._numbers
        heappush(self._turns, (self.now_s + max(0.0, seconds), self.dice.random(), self._numbers, task))

    def _switch(self, task: Task) -> None:
        self._hub.switch()
        if task.machine.dead:
            raise Died
