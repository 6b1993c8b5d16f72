"""A person who runs `plan`, reads it for a while, and runs `apply` beside the replicas."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, TypeVar

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.runs import record_run
from reconciler.controller.scan.plan import scan_store
from reconciler.core.model.act import Actor
from reconciler.core.model.run import NewRun
from reconciler.core.plan.plan import build_plan
from reconciler.settings import Loaded, StoreSettings
from reconciler.wiring import Components
from tests.simulation.replica import Place, SimConnections
from tests.simulation.scheduler import Machine, Scheduler
from tests.simulation.threads import SimThreads

T = TypeVar("T")
READS_S = 60.0
FRESH = 0.5  # of the plans are applied as they are made, the others from a file


class SimPool(Executor):
    """So many tasks of one machine that work on the items together."""

    def __init__(self, scheduler: Scheduler, machine: Machine, workers: int) -> None:
        self._threads, self._workers = SimThreads(scheduler, machine), workers

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        items = deque(enumerate(zip(*iterables, strict=True)))
        found: dict[int, T] = {}
        failed: list[Exception] = []

        def work() -> None:
            while items and not failed:
                number, arguments = items.popleft()
                try:
                    found[number] = fn(*arguments)
                except Exception as error:  # noqa: BLE001  raised where the results are read
                    failed.append(error)

        threads = [self._threads.thread(work, f"apply-{number}") for number in range(self._workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        return iter([found[number] for number in sorted(found)])


class Person:
    """Applies the plan of every store once. Call `apply` in a task of the machine; it raises what the command tells."""

    def __init__(
        self, place: Place, components: Callable[[Loaded, SimConnections], Components],
        connections: Callable[[Place, Loaded], SimConnections],
    ) -> None:  # fmt: skip
        loaded = place.files.read()
        self._place, self.machine = place, place.machine
        self._connections = connections(place, loaded)
        self._components = components(loaded, self._connections)

    def close(self) -> None:
        self._connections.__exit__()

    def apply(self) -> None:
        for store in self._components.stores():
            self._apply(store)

    def _apply(self, store: StoreSettings) -> None:
        components, scheduler = self._components, self._place.scheduler
        clock = self._connections.state_clock
        found = scan_store(store, components.readers(store), ObserveOptions(now=clock.now()))
        plan = build_plan([found.plan], created_at=clock.now())
        scheduler.sleep(READS_S * scheduler.dice.random())
        new_run = NewRun("apply", (store.name,), Actor("person", "command"), self._place.machine.name, plan.digest)
        with record_run(components.state, new_run, clock) as run:
            context = replace(
                components.store_context(store, plan_digest=plan.digest, run_id=run.id),
                open_pool=lambda workers, _name: SimPool(scheduler, self._place.machine, workers),
            )
            for outcome in apply_plan(found, context, fresh=scheduler.dice.random() < FRESH):
                scheduler.note(f"apply {outcome.action.kind} {outcome.action.clerk_user_id} {outcome.result}")
            run.outcome = "done"
