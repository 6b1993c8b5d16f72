"""A row from a standby that is older than the one that was read last: a replica may lag behind another, or the primary."""

from __future__ import annotations

from typing import Final

from reconciler.core.fields.desired import profile_digest
from reconciler.core.model.action import Hold
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold

STALE: Final = "StaleRow"
STALE_AGAIN_S: Final = 30.0  # after so long the row is read again


def stale_row_hold(user: ClerkUserId, profile: Profile | None, mapping: Mapping | None) -> Hold | None:
    """The hold of a user with an earlier row, by its `updated_at`; None for any other row.

    On a primary such a row is right: the app has restored it. A released user has a tombstone for it (tombstone.py).
    """
    if profile is None or not profile.may_lag or mapping is None or mapping.status in {"released", "erased"}:
        return None
    at, read_at = profile.updated_at, mapping.wanted_row_at
    if at is None or read_at is None or at >= read_at or profile_digest(profile) == mapping.wanted_digest:
        return None
    shown, before = f"{at:%Y-%m-%d %H:%M:%S} UTC", f"{read_at:%Y-%m-%d %H:%M:%S} UTC"
    message = f"the standby shows the row of {shown}, and that of {before} was read before"
    return hold(user, mapping, STALE, message)
