"""People who run `plan`, read it for a while, and run `apply` beside the replicas: one by one, or by bulk operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.bulk.context import BulkContext
from reconciler.controller.leaving.handover import Successors
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.runs import record_run
from reconciler.controller.scan.plan import scan_store
from reconciler.core.model.act import Actor
from reconciler.core.model.run import NewRun
from reconciler.core.plan.plan import build_plan
from reconciler.settings import Loaded, StoreSettings
from reconciler.wiring import Components
from reconciler.wiring.plans import refuse_pending_bulk
from tests.simulation.replica import Place, SimConnections
from tests.simulation.threads import SimThreads

READS_S = 60.0
FRESH = 0.5  # of the plans are applied as they are made, the others from a file
LINES_MIN = (1, 2, 1000)  # that make a file of their own
PIECE_LINES = 2


class Person:
    """Applies the plan of every store once. Call `apply` in a task of the machine; it raises what the command tells."""

    def __init__(
        self, place: Place, components: Callable[[Loaded, SimConnections], Components],
        connections: Callable[[Place, Loaded], SimConnections], *, by_bulk: bool = False,
    ) -> None:  # fmt: skip
        loaded = place.files.read()
        self._place, self.machine, self._by_bulk = place, place.machine, by_bulk
        self._connections = connections(place, loaded)
        self._components = components(loaded, self._connections)
        self._threads = SimThreads(place.scheduler, place.machine)

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
        if not self._by_bulk:
            refuse_pending_bulk(components, [store])
        new_run = NewRun("apply", (store.name,), Actor("person", "command"), self.machine.name, plan.digest)
        with record_run(components.state.runs, new_run, clock) as run:
            context = replace(
                components.store_context(store, plan_digest=plan.digest, run_id=run.id, bulk=self._bulk(store)),
                threads=self._threads,
                successors=Successors(lock=self._threads.lock()),
            )
            for outcome in apply_plan(found, context, fresh=scheduler.dice.random() < FRESH):
                scheduler.note(f"apply {outcome.action.kind} {outcome.action.clerk_user_id} {outcome.result}")
            run.outcome = "done"

    def _bulk(self, store: StoreSettings) -> BulkContext | None:
        if not self._by_bulk:
            return None
        scheduler = self._place.scheduler
        bulk = self._components.bulk(store, always=True)
        return replace(bulk, sleep=scheduler.sleep, lines_min=scheduler.dice.choice(LINES_MIN), piece_lines=PIECE_LINES)
