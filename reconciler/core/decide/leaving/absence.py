"""Absence: when a profile row that is missing, or has ceased to match `where`, proves that the user has left.

One read alone is no proof: a table may be reloaded, renamed or empty for a short time, and a column may be filled after the
rows. Where the store's `on_leave` can be reverted, a row that does not match is proof at once.
"""

from __future__ import annotations

from dataclasses import field, replace
from datetime import datetime, timedelta

from reconciler.core.fields.desired import config_digest, is_wanted, profile_digest
from reconciler.core.model.action import Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import NO_FINGERPRINTS, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import DESTRUCTIVE, Store
from reconciler.core.model.view import Subject

TOMBSTONES = frozenset({"released", "erased"})
SIGHTING_MAX = timedelta(days=1)  # an older first sighting does not count
LATE_MIN_S = 15.0  # a read may be late by this, or by half the grace, without restarting the absence
AGAIN_FIRST_S = 10.0  # the first pause: the row of a reloaded table is back soon


@frozen
class Absence:
    """When an absent row counts as proof that the user has left.

    `grace_s`: seconds from the first to the last read, in all of which the row must be absent. None: no grace, since an
    operator reads the plan. `gone`: users known to have left otherwise: by a signed `user.deleted`, or a 404 of Clerk's
    API.
    """

    grace_s: float | None = None
    gone: frozenset[ClerkUserId] = field(default_factory=frozenset)

    def is_proven(self, user: ClerkUserId, mapping: Mapping | None, now: datetime) -> bool:
        """Whether a user with an absent row is known to have left."""
        if self.grace_s is None or user in self.gone:
            return True
        since = self.first_seen(mapping, now)
        return since is not None and now - since >= timedelta(seconds=self.grace_s)

    def again_s(self, mapping: Mapping | None, now: datetime) -> float:
        """Seconds until the next read of an absent row: growing pauses, the last one until the grace ends."""
        since = self.first_seen(mapping, now)
        return self._pause_s((now - since).total_seconds() if since is not None else 0.0)

    def _pause_s(self, so_far_s: float) -> float:
        return max(min(max(so_far_s, AGAIN_FIRST_S), (self.grace_s or 0.0) - so_far_s), 0.05)

    def first_seen(self, mapping: Mapping | None, now: datetime) -> datetime | None:
        """When the row was first found absent; None where it was not, or where that no longer counts.

        Each read sets the time of the next one. If that is missed (the table or the shop did not answer, or the store
        was suspended), the row may have been present in between, and the absence restarts.
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
"""The absence for plans that an operator reads."""


def uncounted_absence(now: datetime) -> datetime:
    """The `absent_since` of a row that was missing from an incomplete table: it does not count as a first sighting."""
    return now - 2 * SIGHTING_MAX


def is_living(mapping: Mapping | None) -> bool:
    """Whether there is a mapping that is not a tombstone."""
    return mapping is not None and mapping.status not in TOMBSTONES


def absence_hold(
    user: ClerkUserId, profile: Profile | None, mapping: Mapping | None, absence: Absence, now: datetime
) -> Hold:
    """The hold of a user with an absent row; its message has the time of the release."""
    since = absence.first_seen(mapping, now) or now
    until = since + timedelta(seconds=absence.grace_s or 0.0)
    if profile is not None:
        message = (
            f"the profile row has not matched `where` since {since:%Y-%m-%d %H:%M:%S} UTC; "
            f"the user is released, and the customer deleted, if that is still so at {until:%H:%M:%S} UTC"
        )
        return hold(user, mapping, "NoLongerWanted", message)
    message = (
        f"the profile row has been missing since {since:%Y-%m-%d %H:%M:%S} UTC; "
        f"the user is released if it is still missing at {until:%H:%M:%S} UTC"
    )
    return hold(user, mapping, "RowMissing", message)


def absent_row(
    mapping: Mapping, profile: Profile | None, held: Hold, store: Store, *, now: datetime, since: datetime | None
) -> Mapping:
    """The mapping of a user with an absent row: pending, with all else unchanged but what was read of a row that is there.

    `since`: when the row was first found absent; None where no read counts yet, because the table seemed incomplete.
    """
    if profile is not None:
        mapping = replace(mapping, profile_digest=profile_digest(profile), config_digest=config_digest(store))
    return replace(
        mapping,
        store=store.name,
        status="pending",
        reason=held.reason,
        message=held.message,
        reason_since=reason_since(mapping, held.reason, now),
        last_seen_at=now,
        absent_since=since,
        **NO_FINGERPRINTS,
    )


def reason_since(row: Mapping, reason: str | None, now: datetime) -> datetime | None:
    """Since when the user has this reason, given the row before; None without a reason."""
    if reason is None:
        return None
    return row.reason_since if row.reason == reason else now


def is_missing(profile: Profile | None, mapping: Mapping | None) -> bool:
    """Whether a mapped user has no row."""
    return profile is None and is_living(mapping)


def is_absent(profile: Profile | None, mapping: Mapping | None, store: Store) -> bool:
    """Whether a mapped user has no row, or one that does not match `where` while `on_leave` can't be reverted."""
    return is_living(mapping) and (profile is None or has_ceased_to_match(profile, store))


def has_ceased_to_match(profile: Profile, store: Store) -> bool:
    """Whether the row does not match `where`, and the release that follows can't be reverted."""
    return store.on_leave in DESTRUCTIVE and not profile.deleted and is_wanted(profile, store) is False


def without_absence(subject: Subject, store: Store) -> Mapping | None:
    """The mapping without `absent_since` of a user with a row again; None where it had none."""
    mapping = subject.mapping
    if mapping is None or mapping.absent_since is None or subject.profile is None:
        return None
    if is_absent(subject.profile, mapping, store):
        return None
    return replace(mapping, absent_since=None)
