"""The plan of several stores, each scanned in a thread of its own: a broken or slow shop never hurts another one."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from reconciler.controller.observe import ObserveOptions
from reconciler.controller.parallel import side_by_side
from reconciler.controller.readers import Readers
from reconciler.controller.scan.store import Progress, halves, scan_store
from reconciler.controller.scan.stream import Moved, find_moved
from reconciler.core.model.ids import StoreName
from reconciler.core.model.store import Store
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.plan import Plan, build_plan


@dataclass(frozen=True, slots=True)
class PassedOver:
    """So many of a store's users count as in sync unread: by its mirror nothing of theirs had moved at this time.

    `decided`: so many more were decided on by what the mirror shows, or does not show, of them.
    """

    users: int
    as_of: datetime
    decided: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan of several stores, and per store what was found on the way, and how many users were passed over.

    `narrowed`: it is of users that a person named.
    """

    plan: Plan
    scans: MappingOf[StoreName, ScanResult]
    passed_over: MappingOf[StoreName, PassedOver] = field(default_factory=dict)
    narrowed: bool = False


def plan_stores(
    stores: MappingOf[StoreName, tuple[Store, Readers]],
    ask: ObserveOptions,
    *,
    progress: Callable[[StoreName], Progress] | None = None,
    as_of: MappingOf[StoreName, datetime] | None = None,
) -> Planned:
    """Scan each store in a thread of its own; the plan is the same whatever order they end in.

    Stores that may pass over who has not moved share one pass over the profiles; `as_of` says how old their mirrors are.
    """
    moved = _moved(stores, ask)
    work = {
        name: partial(
            scan_store, store, readers, ask, progress=progress(name) if progress else None, moved=moved.get(name)
        )
        for name, (store, readers) in stores.items()
    }
    scan_result = side_by_side(work)
    passed_over = {
        name: PassedOver(moved[name].equal, at, scan_result[name].by_mirror)
        for name, at in (as_of or {}).items()
        if name in moved
    }
    return Planned(
        build_plan((s.plan for s in scan_result.values()), created_at=ask.now), scan_result, passed_over, ask.insists
    )


def plan_assigned(stores: MappingOf[StoreName, tuple[Store, Readers]], *, now: datetime) -> Planned:
    """The plan of those users only that `Readers.assigned` names customers for, store by store."""
    work = {
        name: partial(scan_store, store, readers, ObserveOptions(now=now, users=list(readers.assigned)))
        for name, (store, readers) in stores.items()
    }
    scan_result = side_by_side(work)
    return Planned(build_plan((s.plan for s in scan_result.values()), created_at=now), scan_result)


def _moved(stores: MappingOf[StoreName, tuple[Store, Readers]], ask: ObserveOptions) -> dict[StoreName, Moved]:
    both = {name: pair for name, (_, readers) in stores.items() if (pair := halves(readers, ask)) is not None}
    found: dict[StoreName, Moved] = {}
    for rows in {id(rows): rows for rows, _ in both.values()}.values():
        names = [name for name, (theirs, _) in both.items() if theirs is rows]
        found |= zip(names, find_moved([(stores[name][0], both[name][1]) for name in names], rows), strict=True)
    return found
