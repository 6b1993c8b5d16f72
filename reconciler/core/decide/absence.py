"""Absence: what proves that a user's profile is gone, and what the state says of a user until that is proven.

A row that is missing proves nothing by itself: a table may be reloaded, renamed or empty for a moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.core.model.action import Hold
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import NO_FINGERPRINTS, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import Store
from reconciler.core.model.view import Subject

TOMBSTONES = frozenset({"released", "erased"})
SIGHTING_MAX = timedelta(days=1)  # an older first sighting counts no more, whatever was read since
LATE_MIN_S = (
    15.0  # a read may come so much later than it was due, or half the grace later, without breaking the absence
)
AGAIN_FIRST_S = 10.0  # the row of a table that was reloaded is back soon


@dataclass(frozen=True, slots=True)
class Absence:
    """What counts as proof that a missing row means a user who left.

    `grace_s`: seconds for which every read misses the row, from the first to the last. None: the plan that a person reads
    is proof enough.
    `gone`: users who are gone for another reason: a signed `user.deleted`, or a 404 of Clerk's API.
    """

    grace_s: float | None = None
    gone: frozenset[ClerkUserId] = field(default_factory=frozenset)

    def is_proven(self, user: ClerkUserId, mapping: Mapping | None, now: datetime) -> bool:
        """Whether a user without a row is known to have left."""
        if self.grace_s is None or user in self.gone:
            return True
        since = self.first_seen(mapping, now)
        return since is not None and now - since >= timedelta(seconds=self.grace_s)

    def again_s(self, mapping: Mapping | None, now: datetime) -> float:
        """Seconds until the next look at a user whose row is missing: soon, then later, at last when the grace ends."""
        since = self.first_seen(mapping, now)
        return self._pause_s((now - since).total_seconds() if since is not None else 0.0)

    def _pause_s(self, so_far_s: float) -> float:
        return max(min(max(so_far_s, AGAIN_FIRST_S), (self.grace_s or 0.0) - so_far_s), 0.05)

    def first_seen(self, mapping: Mapping | None, now: datetime) -> datetime | None:
        """When the row was first seen missing; None where it was not, or where that says nothing any more.

        Each read says when the next is due. Where that is missed (the table or the shop did not answer, or the store was
        suspended) the row may have been there in between, so that the next read is a first one again.
        """
        if (
            mapping is None
            or (since := mapping.absent_since) is None
            or not timedelta(0) <= now - since <= SIGHTING_MAX
        ):
            return None
        read_at = max(mapping.last_seen_at or since, since)
        pause_s = self._pause_s((read_at - since).total_seconds())
        late_s = max(LATE_MIN_S, (self.grace_s or 0.0) / 2)
        return since if now - read_at <= timedelta(seconds=pause_s + late_s) else None


PLANNED = Absence()
"""For plans that a person reads."""


def uncounted(now: datetime) -> datetime:
    """As `absent_since` of a row that was missing while the table did not look whole: that it was, but no first sighting."""
    return now - 2 * SIGHTING_MAX


def is_living(mapping: Mapping | None) -> bool:
    """Whether there is a mapping that is no tombstone."""
    return mapping is not None and mapping.status not in TOMBSTONES


def missing_hold(user: ClerkUserId, mapping: Mapping | None, absence: Absence, now: datetime) -> Hold:
    """Says that the row is missing, and when the user is released."""
    since = absence.first_seen(mapping, now) or now
    until = since + timedelta(seconds=absence.grace_s or 0.0)
    message = (
        f"the profile row is missing since {since:%Y-%m-%d %H:%M:%S} UTC; "
        f"the user is released if it is still missing at {until:%H:%M:%S} UTC"
    )
    return hold(user, mapping, "RowMissing", message)


def missing_row(mapping: Mapping, held: Hold, store: Store, *, now: datetime, since: datetime | None) -> Mapping:
    """The mapping of a user whose row is missing. All that is known of the user stays as it was.

    `since`: when it was first seen missing; None where no read counts so far, since the table did not look whole.
    """
    update = {
        "store": store.name,
        "status": "pending",
        "reason": held.reason,
        "message": held.message,
        "last_seen_at": now,
        "absent_since": since,
        **NO_FINGERPRINTS,
    }
    return mapping.model_copy(update=update)


def is_missing(profile: Profile | None, mapping: Mapping | None) -> bool:
    """Whether a user whom we manage has no row."""
    return profile is None and is_living(mapping)


def seen_again(subject: Subject) -> Mapping | None:
    """The mapping of a user whose row is there, and was missing before; None where it says nothing of that."""
    mapping = subject.mapping
    if subject.profile is None or mapping is None or mapping.absent_since is None:
        return None
    return mapping.model_copy(update={"absent_since": None})
