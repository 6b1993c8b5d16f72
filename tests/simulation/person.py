"""People who run `plan`, `apply` and `undo` beside the replicas: one by one or by bulk, immediately or from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from reconciler.cli.commands.sync.apply import load_saved_plan
from reconciler.cli.commands.sync.plan import save
from reconciler.cli.commands.sync.wave import begin_wave, end_wave
from reconciler.cli.context import Context
from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.apply.undo import apply_undo, undo_plan
from reconciler.controller.bulk.context import BulkContext
from reconciler.controller.context import StoreContext
from reconciler.controller.leaving.handover import Successors
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.runs import record_run
from reconciler.controller.scan.plan import Planned, scan_store
from reconciler.controller.step import Outcome
from reconciler.core.model.act import Actor
from reconciler.core.model.run import NewRun, RunKind
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.plan import build_plan
from reconciler.core.report.status import ApplyResult, Failure
from reconciler.errors import PlanRefused
from reconciler.settings import Loaded, StoreSettings
from reconciler.wiring import Components
from reconciler.wiring.plans import approve_withheld, later_events, refuse_pending_bulk, stores_to_apply
from tests.simulation.replica import Place, SimConnections
from tests.simulation.threads import SimThreads

READS_S = 60.0
FRESH = 0.5  # of the plans are applied as they are made, the others from a file
LINES_MIN = (1, 2, 1000)  # that make a file of their own
PIECE_LINES = 2


class Person:
    """Applies the plan of every store once. Call its methods in a task of the machine; they raise what the command tells.

    `runs`: the runs that were recorded, also where the process was killed.
    """

    def __init__(
        self, place: Place, components: Callable[[Loaded, SimConnections], Components],
        connections: Callable[[Place, Loaded], SimConnections], *, by_bulk: bool = False,
    ) -> None:  # fmt: skip
        loaded = place.files.read()
        self._place, self.machine, self._by_bulk = place, place.machine, by_bulk
        self._connections = connections(place, loaded)
        self._components = components(loaded, self._connections)
        self._threads = SimThreads(place.scheduler, place.machine)
        self.runs: list[int] = []

    def close(self) -> None:
        self._connections.__exit__()

    def apply(self) -> None:
        for store in self._components.stores():
            planned = self._plan([store])
            self._read()
            if not self._by_bulk:
                refuse_pending_bulk(self._components, [store])
            self._execute(
                planned, [store], "apply", partial(apply_plan, fresh=self._place.scheduler.dice.random() < FRESH)
            )

    def save_plan(self, path: Path) -> Planned:
        """As `plan --out`."""
        planned = self._plan(self._components.upcoming_stores(Context().actor))
        save(planned, path, narrowed=False)
        return planned

    def apply_saved(self, path: Path, max_age: timedelta, begins: Callable[[], None]) -> None:
        """As `apply FILE --yes`. `begins` is called when nothing keeps it from being applied."""
        context, components = Context(), self._components
        planned, seal = load_saved_plan(path, context, components, max_age=max_age)
        self._read()
        if not components.state.applied_plans.mark_applied(seal, self._now()):
            raise PlanRefused("applied already")
        since = begin_wave(context, components, planned)
        chosen = stores_to_apply(components, planned)
        refuse_pending_bulk(components, chosen.values())
        begins()
        results = self._execute(planned, chosen.values(), "apply", partial(apply_plan, fresh=False))
        end_wave(context, components, planned, results, since=since)

    def undo(
        self, store: StoreSettings, since: datetime, begins: Callable[[Planned], None], outcomes: list[Outcome]
    ) -> None:
        """As `undo --since`, with all that its guards withhold approved. `begins` gets what will be reverted."""
        components = self._components
        events = components.state.mappings.events(shop=store.shop, since=since)
        found = undo_plan(store, components.readers(store), events, later_events(components, store, events))
        plan = build_plan([found.plan], created_at=self._now())
        planned = approve_withheld(Planned(plan, {store.name: found}), plan.digest)
        self._read()
        begins(planned)
        self._execute(planned, [store], "undo", apply_undo, outcomes)

    def stores(self) -> dict[str, StoreSettings]:
        return {store.name: store for store in self._components.stores()}

    # --- parts ----------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._connections.state_clock.now()

    def _read(self) -> None:
        """Read the plan before it is confirmed."""
        self._place.scheduler.sleep(READS_S * self._place.scheduler.dice.random())

    def _plan(self, stores: Iterable[StoreSettings]) -> Planned:
        now, components = self._now(), self._components
        scans = {s.name: scan_store(s, components.readers(s), ObserveOptions(now=now)) for s in stores}
        return Planned(build_plan([found.plan for found in scans.values()], created_at=self._now()), scans)

    def _execute(
        self, planned: Planned, stores: Iterable[StoreSettings], kind: RunKind,
        apply_store: Callable[[ScanResult, StoreContext], Iterator[Outcome]], outcomes: list[Outcome] | None = None,
    ) -> list[ApplyResult]:  # fmt: skip
        """Each store as a run of its own."""
        components, scheduler, results = self._components, self._place.scheduler, []
        for store in stores:
            new_run = NewRun(kind, (store.name,), Actor("person", "command"), self.machine.name, planned.plan.digest)
            with record_run(components.state.runs, new_run, self._connections.state_clock) as run:
                self.runs.append(run.id)
                context = replace(
                    components.store_context(
                        store, plan_digest=planned.plan.digest, run_id=run.id, bulk=self._bulk(store)
                    ),
                    threads=self._threads,
                    successors=Successors(lock=self._threads.lock()),
                )
                failed = []
                for outcome in apply_store(planned.scans[store.name], context):
                    action = outcome.action
                    scheduler.note(f"{kind} {action.kind} {action.clerk_user_id} {outcome.result}")
                    if outcomes is not None:
                        outcomes.append(outcome)
                    if outcome.result == "not tried":
                        who, what = action.clerk_user_id, outcome.message
                        failed.append(Failure(clerk_user_id=who, kind=action.kind, result=outcome.result, message=what))
                results.append(ApplyResult(store=store.name, failed=failed))
                run.outcome = "done"
        return results

    def _bulk(self, store: StoreSettings) -> BulkContext | None:
        if not self._by_bulk:
            return None
        scheduler = self._place.scheduler
        bulk = self._components.bulk(store, always=True)
        return replace(bulk, sleep=scheduler.sleep, lines_min=scheduler.dice.choice(LINES_MIN), piece_lines=PIECE_LINES)
