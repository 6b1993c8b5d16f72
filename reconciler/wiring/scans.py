"""The plan of stores, as `plan`, `apply` and the HTTP API make it. Apart from plans.py, which imports what executes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from reconciler.controller.mirror.refresh import MirrorCheck, check_mirror
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.parallel import side_by_side
from reconciler.controller.scan.held_back import with_held_back
from reconciler.controller.scan.plan import Planned, Progress, plan_stores, scan_store
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.plan import build_plan
from reconciler.core.report.drift import without_switches
from reconciler.settings import StoreSettings
from reconciler.wiring.components import Components


def plan_of(
    components: Components,
    stores: Sequence[StoreSettings],
    *,
    users: Sequence[ClerkUserId] | None = None,
    live: bool = False,
    keeps_withheld: bool = True,
    note_mirrors: Callable[[Mapping[StoreName, MirrorCheck]], None] = lambda _found: None,
    progress: Callable[[StoreName], Progress] | None = None,
) -> Planned:
    """Plan these stores, for these users or for all.

    Every customer is read from the shop if `live`, if users are named, or if the shop's mirror can't be used;
    `note_mirrors` gets what was found about the mirrors before the scan begins. `keeps_withheld` False: for a
    plan that is only shown.
    """
    mirrored = () if live or users is not None else stores
    found = side_by_side({s.name: partial(check_mirror, components.mirror(s, wait=_never)) for s in mirrored})
    note_mirrors(found)
    as_of = {name: mirror.as_of for name, mirror in found.items() if mirror.as_of is not None}
    readers = {s.name: (s, components.readers(s, by_mirror=s.name in as_of)) for s in stores}
    ask = ObserveOptions(
        now=components.clock.now(),
        users=users,
        insists=users is not None,
        keep_all=users is not None,
        keeps_withheld=keeps_withheld,
    )
    planned = plan_stores(readers, ask, progress=progress, as_of=as_of)
    waiting = {store.name: store for store in stores if store.held_back is not None}
    return _with_held_back(components, planned, waiting, ask) if waiting else planned


def _with_held_back(
    components: Components, planned: Planned, stores: Mapping[StoreName, StoreSettings], ask: ObserveOptions
) -> Planned:
    """The plan with holds for what the policy of stores.yaml would do in stores that keep an earlier one."""
    scans = dict(planned.scans)
    work = {name: partial(scan_target, components, store, ask) for name, store in stores.items()}
    for name, target in side_by_side(work).items():
        held_back = stores[name].held_back
        if target is not None and held_back is not None:
            scans[name] = with_held_back(scans[name], target, held_back)
    plan = build_plan((found.plan for found in scans.values()), created_at=planned.plan.created_at)
    return replace(planned, plan=plan, scans=scans)


def scan_target(components: Components, store: StoreSettings, ask: ObserveOptions) -> ScanResult | None:
    """The scan of a store by the policy of stores.yaml, which it does not have yet; None where no other is in force.

    What a switch or a pause would hold is what this policy would do all the same.
    """
    target = store.held_back.target if store.held_back is not None else None
    if target is None:
        return None
    assert isinstance(target, StoreSettings)
    return scan_store(without_switches(target), components.readers(target), replace(ask, guards=False))


def _never(_seconds: float) -> bool:
    """A plan does not wait for a bulk query."""
    return False
