"""Emails and phones that pass from one user to another: the order of their actions, and how circles are broken.

A takes B's old value while B takes C's: each waits for the next. First, all waits are granted. Then waits for values that
no user gives up are revoked, until nothing changes. In a circle of waits, one customer is parked: the awaited values are
cleared temporarily. Shopify requires that a name, a phone or an email remains; a circle that can't be broken is held, and
its message names all of it. Waits for phones are revoked first, so that emails may still move.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Final

from reconciler.core.decide.cost import MUTATION_POINTS
from reconciler.core.fields import normalise
from reconciler.core.model.action import Action, Change, Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import UNIQUE, ClerkUserId, CustomerId, Unique
from reconciler.core.model.reasons import NAMED_MAX, hold
from reconciler.core.model.scalars import IDENTITIES
from reconciler.core.model.values import text_of
from reconciler.core.model.view import Decision, Taken, place_of
from reconciler.core.plan.circles import NOTHING, break_circles

NOTHING_SENT: MappingOf[str, str] = {}
NAMES: MappingOf[str, str] = {"email": "email", "phone": "phone"}
CIRCLE_NAMED_MAX: Final = 20  # each of its holds names the circle: all of a long one would be the square of its length


@frozen(kw_only=True)
class Frees:
    """What an action frees: places (fields of a customer) with replaced values; and the keys of the values it writes.

    Places instead of keys, because the shop may return the value in an unknown spelling.
    """

    places: frozenset[str] = NOTHING
    writes: frozenset[str] = NOTHING

    def gives(self, taken: Taken) -> bool:
        """Whether this very value becomes free. False where it is only written again, in our spelling."""
        return taken.place in self.places and taken.key not in self.writes


NOTHING_FREED = Frees()
Freed = MappingOf[ClerkUserId, Frees]


@frozen(kw_only=True)
class Blocked:
    """A user with new values that customers of other users still have.

    `decisions`: the decision for each set of fields with free values; the empty set is the present situation.
    """

    decisions: MappingOf[frozenset[Unique], Decision]

    @property
    def as_is(self) -> Decision:
        return self.decisions[frozenset()]

    def decision_with(self, fields: Collection[Unique]) -> tuple[Decision, tuple[Taken, ...]]:
        """The decision if the values of these fields become free, and those values that it depends on."""
        free: frozenset[Unique] = frozenset()
        found: list[Taken] = []
        while more := [t for t in values_of_users(self.decisions[free]) if t.field in fields and t.field not in free]:
            found += more
            free |= {t.field for t in more}
        return self.decisions[free], tuple(found)


def alternatives_of(as_is: Decision, judge: Callable[[frozenset[Unique]], Decision]) -> Blocked | None:
    """The decisions of `judge` for each set of fields with values of other users; None where there are none."""
    if not values_of_users(as_is):
        return None
    found: dict[frozenset[Unique], Decision] = {frozenset(): as_is}
    left: list[frozenset[Unique]] = [frozenset()]
    while left:
        free = left.pop()
        fields = frozenset(t.field for t in values_of_users(found[free])) - free
        for more in {fields, *(frozenset({field}) for field in fields)} - {frozenset()}:
            if free | more not in found:
                found[free | more] = judge(free | more)
                left.append(free | more)
    return Blocked(decisions=found)


def values_of_users(decision: Decision) -> tuple[Taken, ...]:
    """The taken values that belong to other users, who may give them up."""
    return tuple(t for t in decision.taken if t.owner is not None)


def key_of(field: str, value: str | None) -> str | None:
    """The key of a value. Keys of emails contain an @, keys of phones do not."""
    return normalise.email_key(value) if field == "email" else normalise.phone_key(value)


def freed_keys(decision: Decision) -> frozenset[str]:
    """The keys of the values that this decision's action frees."""
    action, customer = decision.action, decision.customer
    if action is None or action.customer_id is None:
        return NOTHING
    found: set[str | None] = set()
    if customer is not None and action.kind == "merge":
        moves_on = decision.target is not None and decision.target.phone is None  # the merged customer takes it over
        found = {
            key_of("email", decision.value("email")),
            None if moves_on else key_of("phone", decision.value("phone")),
        }
    elif customer is not None and action.kind == "release" and action.how == "delete":
        found = {key_of(field, decision.value(field)) for field in UNIQUE}
    elif action.kind in {"update", "adopt", "relink"}:
        here = customer is not None and action.customer_id == customer.id
        found = {before for _, before in _moved_from(action, UNIQUE, decision.sent if here else {})}
    return frozenset(key for key in found if key is not None)


def frees(decision: Decision) -> Frees:
    """The places that this decision's action frees, and the keys of the values that it writes."""
    action, customer = decision.action, decision.customer
    if action is None or action.customer_id is None:
        return NOTHING_FREED
    fields: set[str] = set()
    at: CustomerId | None = action.customer_id
    if action.kind in {"update", "adopt", "relink"}:
        here = customer is not None and at == customer.id
        fields = {field for field, _ in _moved_from(action, UNIQUE, decision.sent if here else {})}
    elif customer is not None and (action.kind == "merge" or (action.kind == "release" and action.how == "delete")):
        moves_on = action.kind == "merge" and decision.target is not None and decision.target.phone is None
        fields = {f for f in UNIQUE if getattr(customer, f) is not None and not (moves_on and f == "phone")}
        at = customer.id
    elif customer is not None and action.kind == "release" and action.how in {"keep", "tag"}:
        fields, at = {"email"}, customer.id  # the successor adopts the customer together with its email
    return Frees(places=frozenset(place_of(field, at) for field in fields), writes=written_keys(action))


def written_keys(action: Action | None) -> frozenset[str]:
    """The keys of the values that this action writes."""
    changes = action.changes if action is not None else ()
    found = (key_of(c.field, text_of(c.after)) for c in changes if c.field in UNIQUE)
    return frozenset(key for key in found if key is not None)


def resolve(blocked: MappingOf[ClerkUserId, Blocked], freed: Freed) -> dict[ClerkUserId, Decision]:
    """The decision of each blocked user, with `waits_for` and `park` set.

    `freed`: what the actions of unblocked users free.
    """
    grants = _Grants(blocked, freed)
    while True:
        if grants.leave_one_claimant():
            continue
        parks, circle = break_circles(grants.edges(), grants.can_park)
        if not circle:
            return grants.decisions(parks)
        grants.take_back(circle)


def resolve_without(
    moves: MappingOf[ClerkUserId, Decision],
    blocked: MappingOf[ClerkUserId, Blocked],
    freed: Freed,
    gone: frozenset[ClerkUserId],
) -> dict[ClerkUserId, Decision]:
    """The decisions if the actions of `gone` are withheld: users who wait for them are blocked again."""
    if not gone:
        return dict(moves)
    left = {user: case for user, case in blocked.items() if user not in gone}
    again = resolve(left, {user: found for user, found in freed.items() if user not in gone})
    return {user: again.get(user, decision) for user, decision in moves.items()}


# --- the actions of a plan -------------------------------------------------------------------------------------------


def dependent_actions(actions: Collection[Action]) -> dict[ClerkUserId, Action]:
    """The actions that wait for another, or that others wait for, in the plan's order."""
    owners = {owner for a in actions if a.waits_for for owner in a.waits_for}
    if not owners:
        return {}
    return {a.clerk_user_id: a for a in actions if a.waits_for or a.park or a.clerk_user_id in owners}


def waves(actions: MappingOf[ClerkUserId, Action]) -> dict[ClerkUserId, int]:
    """The round of each action: 0 without a wait, else after all those it waits for. Parking comes before round 0."""
    before = {user: {o for o in a.waits_for if _goes_first(o, a, actions)} for user, a in actions.items()}
    after: defaultdict[ClerkUserId, list[ClerkUserId]] = defaultdict(list)
    for user, owners in before.items():
        for owner in owners:
            after[owner].append(user)
    open_ = {user: len(owners) for user, owners in before.items()}
    found: dict[ClerkUserId, int] = {}
    due = deque(user for user, count in open_.items() if not count)
    while due:
        user = due.popleft()
        first = int(any(owner in actions for owner in actions[user].waits_for))
        found[user] = max((found[owner] + 1 for owner in before[user]), default=first)
        for waiting in after[user]:
            open_[waiting] -= 1
            if not open_[waiting]:
                due.append(waiting)
    last = max(found.values(), default=0) + 1
    return found | {user: last for user in actions if user not in found}


def connected_circles(actions: MappingOf[ClerkUserId, Action]) -> list[list[Action]]:
    """The actions of each circle, with all that wait for them or that they wait for."""
    beside: defaultdict[ClerkUserId, set[ClerkUserId]] = defaultdict(set)
    for user, action in actions.items():
        for owner in action.waits_for:
            if owner in actions:
                beside[user].add(owner)
                beside[owner].add(user)
    seen: set[ClerkUserId] = set()
    found: list[list[Action]] = []
    for start in (user for user, action in actions.items() if action.park):
        if start in seen:
            continue
        knot, left = {start}, [start]
        while left:
            more = beside[left.pop()] - knot
            knot |= more
            left += more
        seen |= knot
        found.append([actions[user] for user in sorted(knot)])
    return found


def in_executable_order(actions: Collection[Action]) -> list[Action]:
    """Sort actions with fixed changes, as those of an undo, so that none takes a value before another has freed it.

    Sets `waits_for` and `park` of updates. Actions that can't be ordered, or of a user with several, keep their place.
    """
    counts = Counter(a.clerk_user_id for a in actions)
    moving = {a.clerk_user_id: a for a in actions if a.kind == "update" and counts[a.clerk_user_id] == 1}
    givers = {key: user for user, action in moving.items() for _, key in _moved_from(action, UNIQUE)}
    edges: dict[ClerkUserId, dict[ClerkUserId, frozenset[str]]] = {}
    for user, action in moving.items():
        for key in written_keys(action) & givers.keys():
            if givers[key] != user:
                to = edges.setdefault(user, {})
                to[givers[key]] = to.get(givers[key], NOTHING) | {key}
    parks, circle = break_circles(edges, lambda user, keys: _is_named_without(moving[user], keys))
    while circle:
        edges = {user: owners for user, owners in edges.items() if user not in circle}
        parks, circle = break_circles(edges, lambda user, keys: _is_named_without(moving[user], keys))
    for user, owners in edges.items():
        parked = parks.get(user, NOTHING)
        park = tuple(
            c.field for c in moving[user].changes if c.field in UNIQUE and key_of(c.field, text_of(c.before)) in parked
        )
        moving[user] = replace(moving[user], waits_for=tuple(sorted(owners)), park=park)
    found = [moving.get(a.clerk_user_id, a) for a in actions]
    rounds = waves({user: a for user, a in moving.items() if user in edges or user in givers.values()})
    return sorted(found, key=lambda a: rounds.get(a.clerk_user_id, 0))


def _is_named_without(action: Action, keys: frozenset[str]) -> bool:
    """Whether the customer has another name, phone or email without these values, according to the action."""
    left = {_key_before(c) for c in action.changes if c.field in UNIQUE} | {key_of("email", action.email)}
    return bool(action.name or left - {None} - keys)


def _key_before(change: Change) -> str | None:
    return key_of(change.field, text_of(change.before))


def _goes_first(owner: ClerkUserId, action: Action, actions: MappingOf[ClerkUserId, Action]) -> bool:
    """Whether the owner's action must precede this one: not if all that this one takes is parked before."""
    other = actions.get(owner)
    if other is None:
        return False
    if not other.park:
        return True
    moved, taken = _moved_from(other, UNIQUE), written_keys(action)
    if any(key in taken for _, key in moved):
        return any(key in taken for field, key in moved if field not in other.park)
    fields = {c.field for c in action.changes}  # the shop returns another spelling of the value
    return any(field in fields for field, _ in moved if field not in other.park)


def _moved_from(
    action: Action, fields: Collection[str], sent: MappingOf[str, str] = NOTHING_SENT
) -> set[tuple[str, str]]:
    """The fields that the action changes, each with the key of its value before."""
    found = {
        (c.field, key_of(c.field, sent.get(c.field, text_of(c.before))), key_of(c.field, text_of(c.after)))
        for c in action.changes
        if c.field in fields
    }
    return {(field, before) for field, before, after in found if before is not None and before != after}


# --- granted waits ---------------------------------------------------------------------------------------------------


class _Grants:
    """The waits that are granted: at first all, then fewer with each revocation."""

    def __init__(self, blocked: MappingOf[ClerkUserId, Blocked], freed: Freed) -> None:
        self._blocked, self._freed = blocked, freed
        self._givers = {place: user for user, found in freed.items() for place in found.places}
        for user, case in blocked.items():
            self._givers |= {place: user for decision in case.decisions.values() for place in frees(decision).places}
        self._fields: dict[ClerkUserId, frozenset[Unique]] = dict.fromkeys(blocked, frozenset(UNIQUE))
        self._now = {user: case.decision_with(UNIQUE) for user, case in blocked.items()}
        self._frees = {user: frees(decision) for user, (decision, _) in self._now.items()}
        self._circles: defaultdict[ClerkUserId, dict[str, str]] = defaultdict(dict)
        self._waiting: defaultdict[ClerkUserId, set[ClerkUserId]] = defaultdict(set)
        for user, case in blocked.items():
            for taken in (t for decision in case.decisions.values() for t in values_of_users(decision)):
                self._waiting[self._giver_of(taken)].add(user)
        self._settle(blocked)

    def leave_one_claimant(self) -> bool:
        """Keep one waiting user for each value and revoke the others. False if every value has only one.

        The one to keep is a user that the owner waits for in turn, so that a circle resolves; else the first by id.
        """
        claims: defaultdict[str, list[tuple[ClerkUserId, Taken]]] = defaultdict(list)
        for user in sorted(self._now):
            for taken in self._now[user][1]:
                claims[taken.key].append((user, taken))
        several = [claim for claim in claims.values() if len(claim) > 1]
        for claim in several:
            left = [(user, taken) for user, taken in claim if taken in self._now[user][1]]
            reached = self._reached(self._giver_of(left[0][1])) if len(left) > 1 else set()
            chosen = next((user for user, _ in left if user in reached), left[0][0] if left else None)
            for user, taken in left:
                if user != chosen:
                    self._take(user, {taken.field})
        return bool(several)

    def edges(self) -> dict[ClerkUserId, dict[ClerkUserId, frozenset[str]]]:
        """From each waiting user to the users they wait for, with the places; only users who wait themselves."""
        found: dict[ClerkUserId, dict[ClerkUserId, frozenset[str]]] = {}
        for user, (_, granted) in self._now.items():
            for taken in granted:
                owner = self._giver_of(taken)
                if owner in self._now and self._now[owner][1]:
                    to = found.setdefault(user, {})
                    to[owner] = to.get(owner, NOTHING) | {taken.place}
        return found

    def can_park(self, user: ClerkUserId, places: frozenset[str]) -> bool:
        """Whether the user's customer keeps a name, phone or email without these values."""
        decision = self._now[user][0]
        customer = decision.customer
        if customer is None or decision.action is None or decision.action.kind != "update":
            return False
        if any(place_of(field, customer.id) in places for field in decision.unparkable):
            return False
        left = {place_of(f, customer.id) for f in UNIQUE if getattr(customer, f) is not None} - places
        return bool(left) or any(customer.scalar(field) for field in IDENTITIES if field not in UNIQUE)

    def take_back(self, circle: list[ClerkUserId]) -> None:
        """Revoke the waits within a circle that can't be broken; if it has waits for phones, only those."""
        few = circle if len(circle) <= CIRCLE_NAMED_MAX else [*circle[:CIRCLE_NAMED_MAX], "…"]
        names = " → ".join([*few, circle[0]])
        words = [f"{u}: {text}" for u in circle for text in self._now[u][0].unparkable.values()][:NAMED_MAX]
        names += f" (Shopify refused to clear it on the customer of {'; '.join(words)})" if words else ""
        inside = {user: [t for t in self._now[user][1] if self._giver_of(t) in circle] for user in circle}
        phones = any(t.field == "phone" for granted in inside.values() for t in granted)
        for user, granted in inside.items():
            lost: set[Unique] = {t.field for t in granted if not phones or t.field == "phone"}
            self._circles[user] |= dict.fromkeys(lost, names)
            self._take(user, lost)

    def decisions(self, parks: MappingOf[ClerkUserId, frozenset[str]]) -> dict[ClerkUserId, Decision]:
        """The final decision of each user."""
        return {
            user: _with_order(
                decision, {self._giver_of(t) for t in granted}, parks.get(user, NOTHING), self._circles.get(user, {})
            )
            for user, (decision, granted) in self._now.items()
        }

    def _take(self, user: ClerkUserId, fields: set[Unique]) -> None:
        if fields:
            self._fields[user] -= fields
            self._now[user] = self._blocked[user].decision_with(self._fields[user])
            self._frees[user] = frees(self._now[user][0])
            self._settle({user, *self._waiting[user]})

    def _settle(self, users: Iterable[ClerkUserId]) -> None:
        """Revoke waits for values that no user frees or that are not written, then check who waits for that user."""
        due = deque(sorted(user for user in users if user in self._now))
        while due:
            user = due.popleft()
            decision, granted = self._now[user]
            lost = {
                t.field
                for t in granted
                if not _is_taken(t, decision.action) or not self._freed_by(self._giver_of(t)).gives(t)
            }
            if not lost:
                continue
            self._fields[user] -= lost
            self._now[user] = self._blocked[user].decision_with(self._fields[user])
            self._frees[user] = frees(self._now[user][0])
            due.append(user)
            due.extend(sorted(self._waiting[user] & self._now.keys()))

    def _giver_of(self, taken: Taken) -> ClerkUserId:
        """The user who gives the value up; after its owner has left, that may be the user who adopts the customer."""
        assert taken.owner is not None
        return self._givers.get(taken.place, taken.owner)

    def _freed_by(self, owner: ClerkUserId) -> Frees:
        return self._frees[owner] if owner in self._frees else self._freed.get(owner, NOTHING_FREED)

    def _reached(self, start: ClerkUserId) -> set[ClerkUserId]:
        """All users that this user waits for, directly or indirectly."""
        found, left = {start}, [start]
        while left:
            _, granted = self._now.get(left.pop(), (None, ()))
            more = {self._giver_of(t) for t in granted} - found
            found |= more
            left += more
        return found - {start}


def _is_taken(taken: Taken, action: Action | None) -> bool:
    """Whether this action takes the value: it writes it, or re-links to the very customer that has it."""
    moves = action is not None and action.kind == "relink" and action.customer_id == taken.customer_id
    return taken.key in written_keys(action) or (moves and taken.field == "email")


def _with_order(
    decision: Decision, givers: set[ClerkUserId], parked: frozenset[str], circles: MappingOf[str, str]
) -> Decision:
    """The decision with `waits_for` and `park`, and with holds that name their circle."""
    holds = tuple(_circle_hold(decision, h, circles) for h in decision.holds)
    decision = replace(decision, holds=holds)
    if not givers or decision.action is None:
        return decision
    customer = decision.customer
    park = tuple(f for f in UNIQUE if customer is not None and place_of(f, customer.id) in parked)
    cost = decision.action.cost_points + (MUTATION_POINTS if park else 0)
    action = replace(decision.action, waits_for=tuple(sorted(givers)), park=park, cost_points=cost)
    return replace(decision, action=action)


def _circle_hold(decision: Decision, held: Hold, circles: MappingOf[str, str]) -> Hold:
    """The hold, or one that names the circle of its value."""
    field = held.field or ""
    if field not in circles or held.reason not in {"EmailTaken", "PhoneTaken"}:
        return held
    reason = "EmailConflict" if field == "email" else "PhoneTaken"
    message = (
        f"the new {NAMES[field]} is part of a circle, and it can't be cleared temporarily on any customer in it: "
        f"{circles[field]}; give one of these customers a name"
    )
    return hold(decision.clerk_user_id, decision.customer, reason, message, field)
