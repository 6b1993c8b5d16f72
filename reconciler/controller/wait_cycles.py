"""Who waits for what another user has, one request at a time: the cycle is found in the state, then observed in the shop.

Each row says which customers have what its user waits for. So a circle of any length is seen by the last of its users who
is reconciled, at the price of a few reads of the state; only where it closes are its users observed together.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field

from reconciler.controller.context import StoreContext
from reconciler.controller.observe import observe_users
from reconciler.controller.step import Step
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.view import Decision
from reconciler.core.plan import chains


@dataclass(frozen=True, slots=True)
class WaitCycle:
    """All users that a user waits for, in one step or several, and what is decided for them together; empty: no cycle."""

    decisions: MappingOf[ClerkUserId, Decision] = field(default_factory=dict)
    steps: MappingOf[ClerkUserId, Step] = field(default_factory=dict)


def wait_cycle(step: Step, context: StoreContext) -> WaitCycle:
    """The cycle that this user is part of, by the state, and by what the shop shows now."""
    user = step.subject.user
    waits_on = _all_reached(step, context)
    is_parked = step.subject.mapping is not None and bool(step.subject.mapping.parked)
    if not is_parked and not any(user in owners for owners in waits_on.values()):
        return WaitCycle()
    users = sorted({user, *waits_on, *(owner for owners in waits_on.values() for owner in owners)})
    steps = {s.subject.user: s for s in observe_users(users, context, explicit=False)}
    blocked = {name: s.blocked for name, s in steps.items() if s.blocked is not None}
    freed = {name: chains.frees(s.decision) for name, s in steps.items() if s.blocked is None}
    return WaitCycle(chains.resolve(blocked, freed), steps)


def _all_reached(step: Step, context: StoreContext) -> dict[ClerkUserId, set[ClerkUserId]]:
    """The users that this one waits for, those that they wait for, and so on, by the rows."""
    mappings, shop = context.readers.mappings, context.store.shop
    found = {step.subject.user: {t.owner for t in chains.values_of_users(step.decision) if t.owner is not None}}
    left = set(found[step.subject.user]) - found.keys()
    while left:
        rows = mappings.get(shop, sorted(left))
        customers = sorted({customer for row in rows.values() for customer in row.awaited_at})
        owners = mappings.owners(shop, customers) if customers else {}
        for user in left:
            row = rows.get(user)
            found[user] = {owners[c] for c in row.awaited_at if c in owners} if row is not None else set()
        left = {owner for user in left for owner in found[user]} - found.keys()
    return found
