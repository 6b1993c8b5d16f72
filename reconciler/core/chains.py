"""Addresses that pass from one of our users to another: who goes first, and how a circle is broken.

A takes B's old address while B takes C's: each waits for the next. Where the last one really moves away, all go, in that
order. Where they wait in a circle, one of them gives up her own address for a moment (she keeps a name or a phone, which
Shopify insists on); a circle in which nobody can is held, with all of it named.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as MappingOf

from pydantic import BaseModel, ConfigDict

from reconciler.core import normalise
from reconciler.core.forecast import MUTATION_POINTS
from reconciler.core.ids import ClerkUserId
from reconciler.core.plan import Action
from reconciler.core.reasons import hold
from reconciler.core.view import Decision


class Blocked(BaseModel):
    """A user whose new address another user's customer still has: what holds as it is, and what would if it were free."""

    model_config = ConfigDict(frozen=True)

    as_is: Decision
    if_free: Decision


def gives_up(decision: Decision) -> str | None:
    """The address (email_key form) that this decision's action sets free; None where it frees none."""
    action = decision.action
    if action is None or action.customer_id is None:
        return None
    if (action.kind == "release" and action.how == "delete") or action.kind == "merge":
        return normalise.email_key(decision.customer.email) if decision.customer else None
    for change in action.changes if action.kind == "update" else ():
        before = normalise.email_key(change.before) if change.field == "email" else None
        if before is not None and before != normalise.email_key(change.after):
            return before
    return None


def takes(action: Action | None) -> str | None:
    """The address (email_key form) that this action writes."""
    if action is None:
        return None
    written = next((c.after for c in action.changes if c.field == "email"), None)
    return normalise.email_key(written)


def resolved(
    blocked: MappingOf[ClerkUserId, Blocked], freed: MappingOf[ClerkUserId, str]
) -> dict[ClerkUserId, Decision]:
    """Each blocked user's decision, in which `waits_for` and `park` say the order.

    `freed`: the addresses that the actions of users who are not blocked give up.
    """
    decisions: dict[ClerkUserId, Decision] = {}
    for start in sorted(blocked):
        if start in decisions:
            continue
        path = [start]
        while (following := _owner(blocked[path[-1]])) in blocked and following not in path:
            if following in decisions:
                break
            path.append(following)
        if following in path:
            circle = path[path.index(following) :]
            decisions |= _circle(circle, blocked)
            path = path[: path.index(following)]
        for user in reversed(path):
            decisions[user] = _follows(blocked[user], decisions, freed)
    return decisions


def without(
    moves: MappingOf[ClerkUserId, Decision],
    blocked: MappingOf[ClerkUserId, Blocked],
    gone: frozenset[ClerkUserId],
) -> dict[ClerkUserId, Decision]:
    """The decisions that change when the actions of `gone` do not go after all: whoever waits for them is blocked again."""
    changed: dict[ClerkUserId, Decision] = {}
    lost = set(gone)
    while True:
        more = {
            user
            for user, decision in moves.items()
            if user not in lost and decision.action is not None and decision.action.waits_for in lost
        }
        if not more:
            return changed
        changed |= {user: blocked[user].as_is for user in more}
        lost |= more


def entangled(actions: Collection[Action]) -> dict[ClerkUserId, Action]:
    """Who waits for another's address or is waited for, in the plan's order; all others go whenever they like."""
    waiting = [a for a in actions if a.waits_for is not None or a.park]
    owners = {a.waits_for for a in waiting}
    if not waiting:
        return {}
    return {a.clerk_user_id: a for a in actions if a.waits_for is not None or a.park or a.clerk_user_id in owners}


def waves(actions: MappingOf[ClerkUserId, Action]) -> dict[ClerkUserId, int]:
    """In which round each action may go: 0 at once, else after the one it waits for. Parking comes before round 0."""
    found: dict[ClerkUserId, int] = {}
    for start in actions:
        path: list[ClerkUserId] = []
        at: ClerkUserId | None = start
        while at is not None and at in actions and at not in found and at not in path:
            path.append(at)
            at = _before(actions[at], actions)
        for user in reversed(path):
            before = _before(actions[user], actions)
            parked_first = actions[user].waits_for in actions and before is None
            found[user] = found[before] + 1 if before in found else int(parked_first)
    return found


def circle_of(start: Action, actions: MappingOf[ClerkUserId, Action]) -> list[Action]:
    """Everybody in the circle that this one closes, from her on; only her where a plan was cut in two."""
    found = [start]
    while (
        (following := found[-1].waits_for) in actions and following != start.clerk_user_id and len(found) < len(actions)
    ):
        assert following is not None
        found.append(actions[following])
    return found


def _before(action: Action, actions: MappingOf[ClerkUserId, Action]) -> ClerkUserId | None:
    """Whose action must be done first: none where the one she waits for is parked at the start."""
    owner = action.waits_for
    return None if owner is None or owner not in actions or actions[owner].park else owner


def _owner(case: Blocked) -> ClerkUserId:
    owner = case.as_is.blocked_by
    assert owner is not None
    return owner


def _follows(
    case: Blocked, decisions: MappingOf[ClerkUserId, Decision], freed: MappingOf[ClerkUserId, str]
) -> Decision:
    """She may go if the one she waits for gives the address up."""
    owner, email = _owner(case), case.as_is.blocked_email
    given = gives_up(decisions[owner]) if owner in decisions else freed.get(owner)
    if given is None or given != email or takes(case.if_free.action) != email:
        return case.as_is
    return _waiting(case.if_free, owner)


def _waiting(decision: Decision, owner: ClerkUserId, *, park: bool = False) -> Decision:
    assert decision.action is not None
    return decision.model_copy(update={"action": decision.action.model_copy(update={"waits_for": owner, "park": park})})


def _circle(circle: list[ClerkUserId], blocked: MappingOf[ClerkUserId, Blocked]) -> dict[ClerkUserId, Decision]:
    willing = all(
        takes(blocked[user].if_free.action) == blocked[user].as_is.blocked_email
        and gives_up(blocked[user].if_free) is not None
        for user in circle
    )
    able = sorted(user for user in circle if _can_park(blocked[user]))
    if willing and able:
        found = {}
        for user in circle:
            park = user == able[0]
            decision = _waiting(blocked[user].if_free, _owner(blocked[user]), park=park)
            if park and decision.action is not None:
                dearer = decision.action.model_copy(
                    update={"cost_points": decision.action.cost_points + MUTATION_POINTS}
                )
                decision = decision.model_copy(update={"action": dearer})
            found[user] = decision
        return found
    if not willing:
        return {user: blocked[user].as_is for user in circle}
    names = " → ".join([*circle, circle[0]])
    return {user: _held(blocked[user].as_is, f"her address goes round in a circle that Shopify can't turn: {names}")
            for user in circle}  # fmt: skip


def _held(decision: Decision, message: str) -> Decision:
    holds = tuple(
        hold(decision.clerk_user_id, decision.customer, "EmailConflict", message, "email")
        if h.field == "email" and h.reason == "EmailTaken"
        else h
        for h in decision.holds
    )
    return decision.model_copy(update={"holds": holds})


def _can_park(case: Blocked) -> bool:
    customer = case.if_free.customer
    return customer is not None and any((customer.first_name, customer.last_name, customer.phone))
