"""The plan of stores, as `plan`, `apply` and the HTTP API make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from reconciler.controller.mirror.refresh import MirrorCheck, check_mirror
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.parallel import side_by_side
from reconciler.controller.scan.plan import Planned, Progress, plan_stores
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.settings import StoreSettings
from reconciler.wiring.components import Components


def plan_of(
    components: Components,
    stores: Sequence[StoreSettings],
    *,
    users: Sequence[ClerkUserId] | None = None,
    live: bool = False,
    note_mirrors: Callable[[Mapping[StoreName, MirrorCheck]], None] = lambda _found: None,
    progress: Callable[[StoreName], Progress] | None = None,
) -> Planned:
    """Plan these stores, for these users or for all.

    Every customer is read from the shop if `live`, if users are named, or if the shop's mirror can't be used;
    `note_mirrors` gets what was found about the mirrors before the scan begins.
    """
    mirrored = () if live or users is not None else stores
    found = side_by_side({s.name: partial(check_mirror, components.mirror(s, wait=_never)) for s in mirrored})
    note_mirrors(found)
    as_of = {name: mirror.as_of for name, mirror in found.items() if mirror.as_of is not None}
    readers = {s.name: (s, components.readers(s, by_mirror=s.name in as_of)) for s in stores}
    ask = ObserveOptions(now=components.clock.now(), users=users, insists=users is not None)
    return plan_stores(readers, ask, progress=progress, as_of=as_of)


def _never(_seconds: float) -> bool:
    """A plan does not wait for a bulk query."""
    return False
