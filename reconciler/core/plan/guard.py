"""Guards: ceilings on what one plan may do in a store. A kind above its ceiling is held whole; the rest goes on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping as MappingOf

from pydantic import BaseModel, ConfigDict

from reconciler.core.model.action import KINDS, Action, Hold, Kind
from reconciler.core.model.store import Ceiling, Store

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


def ceiling_now(store: Store, kind: Kind, count: Callable[[int], int]) -> int:
    """How many actions of this kind may go. `count` counts the mappings, up to a number from which on more do not matter."""
    ceiling: Ceiling = getattr(store.guards, kind)
    enough = enough_of(ceiling)
    return ceiling_of(ceiling, 0 if enough is None else count(enough))


def said_above(kind: Kind, count: int, ceiling: Ceiling, mappings: int) -> str:
    """How many there are, how many were allowed and why, and how they may go all the same."""
    many = f"{count} {kind} action is" if count == 1 else f"{count} {kind} actions are"
    percent = ""
    if ceiling.percent is not None and mappings:
        allowed = ceiling_of(ceiling, mappings) or "none"
        percent = f" and {ceiling.percent:g} % of {mappings} {_mappings(mappings)}, which together let {allowed} go"
    return f"{many} above the ceiling of {ceiling.max}{percent}; approving the digest of the plan lets these go"


def shut(store: Store, mappings: int) -> dict[Kind, int]:
    """Kinds of which not even one may go, by their percentage of so few mappings; with how many mappings one may."""
    ceilings: dict[Kind, Ceiling] = {kind: getattr(store.guards, kind) for kind in KINDS}
    return {
        kind: math.ceil(100 / ceiling.percent - 1e-9)
        for kind, ceiling in ceilings.items()
        if ceiling.max and ceiling.percent and ceiling_of(ceiling, mappings) == 0
    }


def _mappings(count: int) -> str:
    return "mapping" if count == 1 else "mappings"


def guarded(actions: tuple[Action, ...], store: Store, *, mappings: int) -> Guarded:
    """Hold each kind that is above its ceiling, whole."""
    over = above(Counter(action.kind for action in actions), store, mappings=mappings)
    withheld = tuple(a for a in actions if a.kind in over)
    holds = tuple(held_back(a, over[a.kind]) for a in withheld)
    return Guarded(actions=tuple(a for a in actions if a.kind not in over), withheld=withheld, holds=holds)


def above(counts: MappingOf[Kind, int], store: Store, *, mappings: int) -> dict[Kind, str]:
    """The kinds of which there are more than their ceilings, and what is said of that."""
    over: dict[Kind, str] = {}
    for kind in KINDS:
        ceiling: Ceiling = getattr(store.guards, kind)
        if counts.get(kind, 0) > ceiling_of(ceiling, mappings):
            over[kind] = said_above(kind, counts[kind], ceiling, mappings)
    return over


def held_back(action: Action, message: str) -> Hold:
    """The hold of an action that a guard withholds."""
    return Hold(
        clerk_user_id=action.clerk_user_id,
        customer_id=action.customer_id,
        reason="GuardExceeded",
        message=message,
        who_acts="operator",
        action=action,
    )
