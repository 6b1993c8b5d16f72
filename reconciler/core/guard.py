"""Guards: ceilings on what one plan may do in a store. A kind above its ceiling is held whole; the rest goes on."""

from __future__ import annotations

import math
from collections import Counter

from pydantic import BaseModel, ConfigDict

from reconciler.core.desired import digest
from reconciler.core.plan import KINDS, Action, Hold, Kind
from reconciler.core.store import Ceiling, Store

COUNTABLE = 1e12  # more rows than any table has


class Guarded(BaseModel):
    """The actions that may go, those withheld, and the holds that say so."""

    model_config = ConfigDict(frozen=True)

    actions: tuple[Action, ...]
    withheld: tuple[Action, ...] = ()
    holds: tuple[Hold, ...] = ()


def ceiling_of(ceiling: Ceiling, mappings: int) -> int:
    """How many may go: n <= max, and 100 n <= percent times the mappings; without mappings only max counts."""
    if ceiling.percent is None or mappings == 0:
        return ceiling.max
    return min(ceiling.max, int(ceiling.percent * mappings / 100 + 1e-9))


def enough_of(ceiling: Ceiling) -> int | None:
    """The count of mappings from which on the percentage changes nothing any more; None where none is asked for."""
    if ceiling.percent is None:
        return None
    return math.ceil(min(ceiling.max * 100 / ceiling.percent, COUNTABLE)) + 1 if ceiling.percent else 1


def guarded(actions: tuple[Action, ...], store: Store, *, mappings: int) -> Guarded:
    """Hold each kind that is above its ceiling, whole."""
    counts = Counter(action.kind for action in actions)
    over: dict[Kind, str] = {}
    for kind in KINDS:
        ceiling: Ceiling = getattr(store.guards, kind)
        if counts[kind] > ceiling_of(ceiling, mappings):
            percent = "" if ceiling.percent is None else f" and {ceiling.percent:g} % of {mappings} mappings"
            over[kind] = f"{counts[kind]} {kind} actions are above the ceiling of {ceiling.max}{percent}"
    withheld = tuple(a for a in actions if a.kind in over)
    holds = tuple(
        Hold(
            clerk_user_id=a.clerk_user_id,
            customer_id=a.customer_id,
            reason="GuardExceeded",
            message=over[a.kind],
            who_acts="operator",
            withholds=digest(a.model_dump(mode="json")),
        )
        for a in withheld
    )
    return Guarded(actions=tuple(a for a in actions if a.kind not in over), withheld=withheld, holds=holds)
