"""Guards: ceilings for the actions of one plan in a store. All actions of a kind above its ceiling are held."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Final

from reconciler.core.decide.consent import (
    DIRECTIONS,
    Direction,
    decided_without_consent,
    direction_of,
    directions_of,
    has_consent,
    is_consent_alone,
)
from reconciler.core.decide.cost import points_of
from reconciler.core.model.action import KINDS, Action, Hold, Kind
from reconciler.core.model.consent import is_consent
from reconciler.core.model.frozen import frozen
from reconciler.core.model.store import Ceiling, Store
from reconciler.core.model.view import Decision

Guard = Kind | Direction
GUARDS: Final[tuple[Guard, ...]] = (*KINDS, *DIRECTIONS)
DIRECTION_WORDS: Final[MappingOf[Guard, str]] = {"consent": "consent grant", "withdrawal": "consent withdrawal"}
COUNTABLE = 1e12  # above the rows of any table


@frozen(kw_only=True)
class Guarded:
    """The allowed actions, the withheld ones, and their holds."""

    actions: tuple[Action, ...]
    withheld: tuple[Action, ...] = ()
    holds: tuple[Hold, ...] = ()


def guard_of(action: Action) -> Guard:
    """The guard that withholds the whole action: its kind's; that of its consents, where it writes nothing else.

    An update that withdraws one consent and grants the other is withheld with the withdrawals.
    """
    if not is_consent_alone(action):
        return action.kind
    return "withdrawal" if "withdrawal" in directions_of(action) else "consent"


def consents_beside(action: Action) -> tuple[Direction, ...]:
    """The guards that count its consents and may withhold them alone: the rest of the action is executed."""
    if not (found := directions_of(action)):
        return ()
    whole = guard_of(action)
    return tuple(each for each in DIRECTIONS if each in found and each != whole)


def guards_of(action: Action) -> tuple[Guard, ...]:
    """The guards that count this action."""
    return (guard_of(action), *consents_beside(action))


def consent_hold(action: Action, direction: Direction, message: str) -> Hold:
    """The hold of these consents of an action, the rest of which is executed; it carries them as an update."""
    consents = tuple(change for change in action.changes if direction_of(change) == direction)
    update = replace(action, kind="update", changes=consents, cost_points=points_of("update", consents))
    return replace(guard_hold(update, message), field=", ".join(change.field for change in consents))


def consents_held(holds: Iterable[Hold]) -> tuple[Hold, ...]:
    """Of these holds, those by which a guard withholds the consents of an action, the rest of which is executed."""
    return tuple(h for h in holds if h.reason == "GuardExceeded" and h.field is not None and is_consent(h.field))


def without_withheld_consents(decision: Decision, planned: Action, holds: Iterable[Hold]) -> Decision:
    """The decision without the consents that the planned action does not write, since a guard has withheld them."""
    held = consents_held(holds)
    found = {direction_of(change) for hold in held if hold.action is not None for change in hold.action.changes}
    directions = [each for each in DIRECTIONS if each in found or not has_consent(planned)]
    return decided_without_consent(decision, *held, directions=directions)


def ceiling_in(store: Store, guard: Guard) -> Ceiling:
    """The ceiling of this guard: grants and withdrawals of consents have the same one, and are counted apart."""
    found: Ceiling = getattr(store.guards, "consent" if guard == "withdrawal" else guard)
    return found


def ceiling_of(ceiling: Ceiling, mappings: int) -> int:
    """The allowed count n: n <= max, and 100 n <= percent times the mappings; without mappings only max counts."""
    if ceiling.percent is None or mappings == 0:
        return ceiling.max
    return min(ceiling.max, int(ceiling.percent * mappings / 100 + 1e-9))


def enough_of(ceiling: Ceiling) -> int | None:
    """The count of mappings from which on the percentage has no effect; None without a percentage."""
    if ceiling.percent is None:
        return None
    return math.ceil(min(ceiling.max * 100 / ceiling.percent, COUNTABLE)) + 1 if ceiling.percent else 1


def ceiling_now(store: Store, kind: Guard, count: Callable[[int], int]) -> int:
    """How many actions of this kind may go. `count` counts the mappings, up to a number from which on more do not matter."""
    ceiling = ceiling_in(store, kind)
    enough = enough_of(ceiling)
    return ceiling_of(ceiling, 0 if enough is None else count(enough))


def ceiling_message(kind: Guard, count: int, ceiling: Ceiling, mappings: int) -> str:
    """The message of a guard: the count, the ceiling, and how to approve the actions."""
    words = DIRECTION_WORDS.get(kind, kind)
    many = f"{count} {words} action is" if count == 1 else f"{count} {words} actions are"
    percent = ""
    if ceiling.percent is not None and mappings:
        allowed = ceiling_of(ceiling, mappings) or "none"
        percent = f" and {ceiling.percent:g} % of {mappings} {_mappings(mappings)}, which together allow {allowed}"
    return f"{many} above the ceiling of {ceiling.max}{percent}; to allow these, approve the digest of the plan"


def budget_message(kind: Guard, store: Store, allowed: int) -> str:
    """The message of an hour's budget that is spent."""
    ceiling = ceiling_in(store, kind)
    few = f" ({ceiling.percent:g} % of its mappings; max is {ceiling.max})" if allowed < ceiling.max else ""
    return f"this hour's budget for {DIRECTION_WORDS.get(kind, kind)} is spent: {allowed or 'none'} at most{few}"


def closed_kinds(store: Store, mappings: int) -> dict[Guard, int]:
    """Kinds that allow no action at all, by their percentage of few mappings; and the mappings needed for one."""
    ceilings = {kind: ceiling_in(store, kind) for kind in GUARDS if kind != "withdrawal"}
    return {
        kind: math.ceil(100 / ceiling.percent - 1e-9)
        for kind, ceiling in ceilings.items()
        if ceiling.max and ceiling.percent and ceiling_of(ceiling, mappings) == 0
    }


def _mappings(count: int) -> str:
    return "mapping" if count == 1 else "mappings"


def apply_guards(actions: tuple[Action, ...], store: Store, *, mappings: int) -> Guarded:
    """Hold all actions of each kind above its ceiling."""
    over = kinds_above(Counter(action.kind for action in actions), store, mappings=mappings)
    withheld = tuple(a for a in actions if a.kind in over)
    holds = tuple(guard_hold(a, over[a.kind]) for a in withheld)
    return Guarded(actions=tuple(a for a in actions if a.kind not in over), withheld=withheld, holds=holds)


def kinds_above(counts: MappingOf[Guard, int], store: Store, *, mappings: int) -> dict[Guard, str]:
    """The kinds above their ceilings, with the messages of their guards."""
    over: dict[Guard, str] = {}
    for kind in GUARDS:
        ceiling = ceiling_in(store, kind)
        if counts.get(kind, 0) > ceiling_of(ceiling, mappings):
            over[kind] = ceiling_message(kind, counts[kind], ceiling, mappings)
    return over


def guard_hold(action: Action, message: str) -> Hold:
    """The hold of a withheld action."""
    return Hold(
        clerk_user_id=action.clerk_user_id,
        customer_id=action.customer_id,
        reason="GuardExceeded",
        message=message,
        who_acts="operator",
        action=action,
    )
