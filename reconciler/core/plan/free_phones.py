"""Free phones that several users of one plan would get: the first user gets it, and the others are held.

The first is the first in the scan, which goes by user id. chains.py handles phones that a customer already has.
Memory does not grow with the plan: a Bloom filter finds users with a phone that may have occurred before, and only the
outcomes of these users are kept until the end, in series.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from heapq import merge
from itertools import groupby

from reconciler.core.decide.refused import with_changes
from reconciler.core.fields import normalise
from reconciler.core.model.action import Action, Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.reasons import hold
from reconciler.core.model.values import text_of
from reconciler.core.model.view import Decision, Taken
from reconciler.core.plan.chains import Blocked, Freed, resolve
from reconciler.core.plan.series import NewSeries, SeriesBuilder

FILTER_BYTES = 1 << 20
PROBES = 3  # bits of a phone in the filter


@frozen(kw_only=True)
class PhoneClaim:
    """A user's claim to a phone, by key. `came_late`: another user may have claimed it before."""

    key: str
    came_late: bool
    user: ClerkUserId


def phone_key_of(action: Action | None) -> str | None:
    """The key of the phone that this action writes; None where it writes none."""
    changes = action.changes if action is not None else ()
    return next((normalise.phone_key(text_of(c.after)) for c in changes if c.field == "phone"), None)


def phone_hold(decision: Decision, first: ClerkUserId) -> Hold:
    """The hold of a phone that another user gets."""
    return hold(decision.clerk_user_id, decision.customer, "PhoneTaken", phone_taken_message(first), "phone")


def phone_taken_message(first: ClerkUserId) -> str:
    """The message of that hold."""
    return f"the phone is also claimed by {first}, who gets it first; the other fields are written"


def without_phone(decision: Decision, held: Hold) -> Decision:
    """The decision without the phone in its action, and with this hold."""
    action, key = decision.action, phone_key_of(decision.action)
    if action is None or key is None:
        return decision
    kept = tuple(c for c in action.changes if c.field != "phone")
    found = with_changes(decision, action, kept, (*decision.holds, held))
    return replace(found, taken=(*decision.taken, Taken(field="phone", key=key)))


class FreePhones:
    """The phones that a plan writes, and the user who gets each."""

    def __init__(self, new_series: NewSeries) -> None:
        self._claims: SeriesBuilder[PhoneClaim] = new_series(PhoneClaim, _by_key)
        self._late: SeriesBuilder[PhoneClaim] = new_series(PhoneClaim, _by_key)
        self._filter: bytearray | None = None

    def note_phone(self, decision: Decision) -> bool:
        """Record the phone of this decision; True if another user of this plan may get the same one."""
        key = phone_key_of(decision.action)
        if key is None:
            return False
        late = self._note(key)
        series = self._late if late else self._claims
        series.add(PhoneClaim(key=key, came_late=late, user=decision.clerk_user_id))
        return late

    def firsts(self) -> Iterator[tuple[ClerkUserId, ClerkUserId]]:
        """Yield each user who may have come late, by phone and id, and the user who gets the phone."""
        for _, claims in groupby(merge(self._claims.whole(), self._late.whole(), key=_by_key), key=lambda c: c.key):
            first: ClerkUserId | None = None
            for claim in claims:
                first = first or claim.user
                if claim.came_late:
                    yield claim.user, first

    def holders(self, keys: Collection[str]) -> dict[str, ClerkUserId]:
        """The user who gets each of these phones; phones that no user gets are missing."""
        found: dict[str, ClerkUserId] = {}
        for claim in merge(self._claims.whole(), self._late.whole(), key=_by_key) if keys else ():
            if claim.key in keys:
                found.setdefault(claim.key, claim.user)
        return found

    def _note(self, key: str) -> bool:
        """Set the bits of this phone; True if all of them were set."""
        if self._filter is None:
            self._filter = bytearray(FILTER_BYTES)
        places = hashlib.blake2b(key.encode(), digest_size=4 * PROBES).digest()
        known = True
        for begin in range(0, len(places), 4):
            byte, bit = divmod(int.from_bytes(places[begin : begin + 4]) % (8 * FILTER_BYTES), 8)
            known = known and bool(self._filter[byte] >> bit & 1)
            self._filter[byte] |= 1 << bit
        return known


def _by_key(claim: PhoneClaim) -> tuple[str, bool, ClerkUserId]:
    return claim.key, claim.came_late, claim.user


def resolve_with_phones(
    blocked: MappingOf[ClerkUserId, Blocked], freed: Freed, holders: MappingOf[str, ClerkUserId]
) -> tuple[dict[ClerkUserId, Decision], dict[ClerkUserId, Blocked]]:
    """Resolve blocked users as chains.py does, with each free phone for one user only; and the cases used for it.

    `holders` get their phones before any blocked user.
    """
    left = {user: _without(case, holders) for user, case in blocked.items()}
    while True:
        found = resolve(left, freed)
        writers: defaultdict[str, list[ClerkUserId]] = defaultdict(list)
        for user in sorted(found):
            if (key := phone_key_of(found[user].action)) is not None:
                writers[key].append(user)
        lost = {user: {key: users[0]} for key, users in writers.items() for user in users[1:]}
        if not lost:
            return found, left
        left |= {user: _without(left[user], firsts) for user, firsts in lost.items()}


def _without(case: Blocked, firsts: MappingOf[str, ClerkUserId]) -> Blocked:
    """The case without decisions that write one of these phones."""
    if not any((phone_key_of(d.action) or "") in firsts for d in case.decisions.values()):
        return case
    decisions = {
        free: without_phone(d, phone_hold(d, first)) if (first := firsts.get(phone_key_of(d.action) or "")) else d
        for free, d in case.decisions.items()
    }
    return Blocked(decisions=decisions)


def keys_of(blocked: MappingOf[ClerkUserId, Blocked]) -> frozenset[str]:
    """The phones that may be written for these users."""
    found = (phone_key_of(d.action) for case in blocked.values() for d in case.decisions.values())
    return frozenset(key for key in found if key is not None)
