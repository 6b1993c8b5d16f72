"""Free phones that several users of one plan would get: the first of them gets it, and the phone of the others is held.

The first is the first that comes: a look goes by the users' names. A phone that a customer already has is a matter of
chains.py. Whether another user gets the same free one the plan can tell, and the table can't: it may never be written.
Memory does not grow with the plan: a filter of a fixed size says whose phone may have come before, and only what would
become of these users is kept until the end, in piles.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from heapq import merge
from itertools import groupby

from pydantic import BaseModel, ConfigDict

from reconciler.core.decide.refused import with_changes
from reconciler.core.fields import normalise
from reconciler.core.model.action import Action, Hold
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.reasons import hold
from reconciler.core.model.view import Decision, Taken
from reconciler.core.plan.chains import Blocked, Freed, resolved
from reconciler.core.plan.pile import Growing, Piles

FILTER_BYTES = 1 << 20
PROBES = 3  # places of a phone in the filter


class Claim(BaseModel):
    """That a user gets this phone, by its key; `came_late` where another user may have come before."""

    model_config = ConfigDict(frozen=True)

    key: str
    came_late: bool
    user: ClerkUserId


def phone_of(action: Action | None) -> str | None:
    """The key of the phone that this action writes; None where it writes none."""
    changes = action.changes if action is not None else ()
    return next((normalise.phone_key(c.after) for c in changes if c.field == "phone"), None)


def phone_hold(decision: Decision, first: ClerkUserId) -> Hold:
    """Says who gets the phone that this user should have as well."""
    return hold(decision.clerk_user_id, decision.customer, "PhoneTaken", message_of(first), "phone")


def message_of(first: ClerkUserId) -> str:
    """What that hold says."""
    return f"the phone is also that of {first}, who gets it first; the other fields are written all the same"


def without_phone(decision: Decision, held: Hold) -> Decision:
    """The decision less the phone that its action writes; `held` says why."""
    action, key = decision.action, phone_of(decision.action)
    if action is None or key is None:
        return decision
    kept = tuple(c for c in action.changes if c.field != "phone")
    found = with_changes(decision, action, kept, (*decision.holds, held))
    return found.model_copy(update={"taken": (*decision.taken, Taken(field="phone", key=key))})


class FreePhones:
    """The phones that a plan writes, and who gets each."""

    def __init__(self, piles: Piles) -> None:
        self._claims: Growing[Claim] = piles(Claim, _by_key)
        self._late: Growing[Claim] = piles(Claim, _by_key)
        self._filter: bytearray | None = None

    def came_before(self, decision: Decision) -> bool:
        """Note the phone that this user gets; whether another user of this plan may get the same one."""
        key = phone_of(decision.action)
        if key is None:
            return False
        late = self._note(key)
        pile = self._late if late else self._claims
        pile.add(Claim(key=key, came_late=late, user=decision.clerk_user_id))
        return late

    def firsts(self) -> Iterator[tuple[ClerkUserId, ClerkUserId]]:
        """Each user who may have come late, by phone and name, with who gets it: the same user where no other was first."""
        for _, claims in groupby(merge(self._claims.whole(), self._late.whole(), key=_by_key), key=lambda c: c.key):
            first: ClerkUserId | None = None
            for claim in claims:
                first = first or claim.user
                if claim.came_late:
                    yield claim.user, first

    def holders(self, keys: Collection[str]) -> dict[str, ClerkUserId]:
        """Who gets each of these phones, of those that any user gets."""
        found: dict[str, ClerkUserId] = {}
        for claim in merge(self._claims.whole(), self._late.whole(), key=_by_key) if keys else ():
            if claim.key in keys:
                found.setdefault(claim.key, claim.user)
        return found

    def _note(self, key: str) -> bool:
        """Mark the places of this phone; whether all of them were marked."""
        if self._filter is None:
            self._filter = bytearray(FILTER_BYTES)
        places = hashlib.blake2b(key.encode(), digest_size=4 * PROBES).digest()
        known = True
        for begin in range(0, len(places), 4):
            byte, bit = divmod(int.from_bytes(places[begin : begin + 4]) % (8 * FILTER_BYTES), 8)
            known = known and bool(self._filter[byte] >> bit & 1)
            self._filter[byte] |= 1 << bit
        return known


def _by_key(claim: Claim) -> tuple[str, bool, ClerkUserId]:
    return claim.key, claim.came_late, claim.user


def resolved_apart(
    blocked: MappingOf[ClerkUserId, Blocked], freed: Freed, holders: MappingOf[str, ClerkUserId]
) -> tuple[dict[ClerkUserId, Decision], dict[ClerkUserId, Blocked]]:
    """Blocked users as chains.py resolves them, where each free phone goes to one alone; and the cases it rests on.

    `holders` get theirs before any user who is blocked.
    """
    left = {user: _without(case, holders) for user, case in blocked.items()}
    while True:
        found = resolved(left, freed)
        writers: defaultdict[str, list[ClerkUserId]] = defaultdict(list)
        for user in sorted(found):
            if (key := phone_of(found[user].action)) is not None:
                writers[key].append(user)
        lost = {user: {key: users[0]} for key, users in writers.items() for user in users[1:]}
        if not lost:
            return found, left
        left |= {user: _without(left[user], firsts) for user, firsts in lost.items()}


def _without(case: Blocked, firsts: MappingOf[str, ClerkUserId]) -> Blocked:
    """The case in which the user is written none of these phones."""
    if not any((phone_of(d.action) or "") in firsts for d in case.decisions.values()):
        return case
    decisions = {
        free: without_phone(d, phone_hold(d, first)) if (first := firsts.get(phone_of(d.action) or "")) else d
        for free, d in case.decisions.items()
    }
    return Blocked(decisions=decisions)


def keys_of(blocked: MappingOf[ClerkUserId, Blocked]) -> frozenset[str]:
    """The phones that these users may be written."""
    found = (phone_of(d.action) for case in blocked.values() for d in case.decisions.values())
    return frozenset(key for key in found if key is not None)
