"""What is done with the plan of stores: approve it, execute it, or make the one that reverts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, Literal

from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.apply.undo import apply_undo, undo_plan
from reconciler.controller.bulk.context import BulkContext
from reconciler.controller.context import StoreContext
from reconciler.controller.parallel import STORES_AT_ONCE, Cancellation, run_parallel, side_by_side
from reconciler.controller.runs import record_run
from reconciler.controller.scan.plan import Planned
from reconciler.controller.step import Outcome
from reconciler.core.model.act import Actor
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.run import NewRun, RunCounts
from reconciler.core.plan.gather import ScanResult, with_withheld
from reconciler.core.plan.plan import build_plan, total
from reconciler.errors import PermanentError, PlanRefused
from reconciler.settings import StoreSettings
from reconciler.wiring.components import Components

EVENTS_MAX: Final = 1_000_000  # of one store that are reverted


def approve_withheld(planned: Planned, digest: str) -> Planned:
    """The plan with the withheld actions approved, under the same digest. PlanRefused if `digest` is not this plan's.

    `undo --plan DIGEST` finds what was written by the digest that was approved.
    """
    if digest != planned.plan.digest:
        raise PlanRefused(
            f"the approved digest is {digest}, but the plan is now {planned.plan.digest}", hint="review the plan again"
        )
    scan_result = {name: with_withheld(found) for name, found in planned.scans.items()}
    stores = tuple(sorted((s.plan for s in scan_result.values()), key=lambda p: p.store))
    plan = replace(planned.plan, stores=stores, summary=total(store.summary for store in stores))
    return Planned(plan, scan_result, planned.passed_over, narrowed=planned.narrowed)


def approve_each(planned: Planned, digests: Mapping[StoreName, str]) -> tuple[Planned, dict[StoreName, str]]:
    """The plan of those stores that still have these digests, with the withheld actions approved; and why others have not.

    The digest of a store is that of a plan of this store alone. PlanRefused if no store has its digest.
    """
    approved: dict[StoreName, ScanResult] = {}
    refused: dict[StoreName, str] = {}
    for name, digest in digests.items():
        now = build_plan([planned.scans[name].plan], created_at=planned.plan.created_at).digest
        if now == digest:
            approved[name] = planned.scans[name]
        else:
            refused[name] = f"the approved digest is {digest}, but the plan is now {now}"
    if not approved:
        words = [f"{name}: {why}" for name, why in refused.items()] if len(refused) > 1 else refused.values()
        raise PlanRefused("; ".join(words), hint="review the plan again")
    plan = build_plan((scan.plan for scan in approved.values()), created_at=planned.plan.created_at)
    return approve_withheld(replace(planned, plan=plan, scans=approved), plan.digest), refused


def plan_revert(
    components: Components,
    stores: Sequence[StoreSettings],
    *,
    since: datetime | None = None,
    digest: str | None = None,
    run_id: int | None = None,
) -> Planned:
    """The plan that reverts what was written to these stores since then, for the plan with this digest, or by this run.

    PermanentError if the plan or the run wrote nothing there.
    """
    events = {
        s.name: components.state.mappings.events(
            shop=s.shop, since=since, plan_digest=digest, run_id=run_id, limit=EVENTS_MAX
        )
        for s in stores
    }
    if since is None and not any(events.values()):
        if digest is not None:
            raise PermanentError(f"nothing was written for a plan {digest}", hint="give the whole digest, or --since T")
        raise PermanentError(f"run {run_id} wrote nothing", hint="the console's page of runs, or /api/runs, shows all")
    work = {
        s.name: partial(
            undo_plan, s, components.readers(s), events[s.name], later_events(components, s, events[s.name])
        )
        for s in stores
    }
    scan_result = side_by_side(work)
    return Planned(build_plan((s.plan for s in scan_result.values()), created_at=components.clock.now()), scan_result)


def later_events(components: Components, store: StoreSettings, undone: Sequence[Event]) -> list[Event]:
    """The other events of the same users since the first of these, oldest first."""
    if not undone:
        return []
    chosen = {(e.run_id, e.plan_digest, e.at) for e in undone}
    users = {e.clerk_user_id for e in undone}
    found = components.state.mappings.events_of(users, shop=store.shop, since=min(e.at for e in undone))
    return [e for e in found if (e.run_id, e.plan_digest, e.at) not in chosen]


def apply_approved(
    components: Components, planned: Planned, actor: Actor, owner: str, *, kind: Literal["apply", "undo"] = "apply"
) -> int:
    """Apply a plan as `apply` or `undo` does, one by one, as a run of this actor; return its id. `owner`: see NewRun."""
    chosen = stores_to_apply(components, planned)
    refuse_pending_bulk(components, chosen.values())
    applied: Counter[str] = Counter()
    failed = held = 0
    new_run = NewRun(kind, tuple(chosen), actor, owner, planned.plan.digest)
    with record_run(components.state.runs, new_run, components.state_clock) as run:
        apply_store = apply_undo if kind == "undo" else partial(apply_plan, fresh=True)
        for _, outcome in execute_plan(components, planned, chosen, run_id=run.id, apply_store=apply_store):
            held += len(outcome.holds)
            if outcome.result == "applied":
                applied[outcome.action.kind] += 1
            elif outcome.result != "done already":
                failed += 1
        held += sum(len(part.holds) for part in planned.plan.stores)
        run.counts = RunCounts(actions=dict(sorted(applied.items())), holds=held, failures=failed)
        run.outcome = "failed" if failed or any(part.error for part in planned.plan.stores) else "done"
    return run.id


def stores_to_apply(
    components: Components, planned: Planned, *, assigning: bool = False
) -> dict[StoreName, StoreSettings]:
    """The stores of the plan, by name, without those that could not be planned. `assigning`: customers are assigned."""
    names = [str(part.store) for part in planned.plan.stores if part.error is None]
    if not names:
        return {}
    stores = components.assignable_stores(names) if assigning else components.stores(names)
    return {store.name: store for store in stores}


def execute_plan(
    components: Components,
    planned: Planned,
    stores: Mapping[StoreName, StoreSettings],
    *,
    run_id: int,
    apply_store: Callable[[ScanResult, StoreContext], Iterator[Outcome]],
    insists: bool = False,
    bulk_tier: Callable[[StoreSettings], BulkContext | None] = lambda _store: None,
    assigned: Mapping[StoreName, Mapping[ClerkUserId, CustomerId]] | None = None,
) -> Generator[tuple[StoreName, Outcome], None, None]:
    """Apply the plan of these stores side by side, and yield each outcome. Once it is closed, actions in progress end.

    `assigned`: the pairs that the plan was made with; each action is checked again with them.
    """
    cancellation = Cancellation()
    store_contexts = {
        name: components.store_context(
            store,
            plan_digest=planned.plan.digest,
            run_id=run_id,
            insists=insists,
            bulk=bulk_tier(store),
            assigned=(assigned or {}).get(name),
            cancellation=cancellation,
        )
        for name, store in stores.items()
    }
    works = {name: partial(apply_store, planned.scans[name], each) for name, each in store_contexts.items()}
    return run_parallel(works, cancellation, at_once=STORES_AT_ONCE, name="apply", one_ends_all=False)


def refuse_pending_bulk(components: Components, stores: Iterable[StoreSettings]) -> None:
    """PermanentError if bulk operations of an earlier run may still write older values after ours."""
    for store in stores:
        if files := components.state.bulk.bulk_files(store.shop):
            raise PermanentError(
                f"{store.name}: {len(files)} bulk operation{'s' if len(files) > 1 else ''} of an earlier run may still be "
                "running, and would overwrite newer values",
                hint=f"reconciler apply --store {store.name} --bulk auto finishes them first",
            )
