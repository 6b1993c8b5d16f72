"""What is known of one user's profile row as Clerk tells of it: the writes that are due, and those that were refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from reconciler.core.decide.profile_row import Values
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import may_want
from reconciler.core.model.action import Hold
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping as MappingRow
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import Store

REFUSED: Final = "ProfileRefused"

Outcome = Literal["written", "kept", "deleted"]


@dataclass(frozen=True, slots=True)
class RowWrite:
    """What one row is to hold. `last`: what `clerk_values` gave when it was last written, None where that is not known.

    `tried`: what it gave since, for writes that may have reached the row without being recorded. `fill_only`: only empty
    columns take a value; a row that is missing is made all the same.
    """

    profile: Profile
    last: Values | None = None
    fill_only: bool = False
    tried: tuple[Values, ...] = ()


@dataclass(frozen=True, slots=True)
class RowWritten:
    """What became of one row: "deleted" where it is marked so and left alone. `held`: why a part was left as it is."""

    outcome: Outcome
    held: str | None = None


@dataclass(frozen=True, slots=True)
class ClerkChange:
    """What Clerk says of one user. `at`: Clerk's own time of it; `deleted_at`: when Clerk deleted the user.

    `created`: of somebody who has just signed up; what the app has put into the row by then is the app's.
    """

    user: ClerkUserId
    at: datetime | None = None
    profile: Profile | None = None
    deleted_at: datetime | None = None
    created: bool = False


@dataclass(frozen=True, slots=True)
class WriteClaim:
    """One row to be written, claimed until its lease ends. `profile` is None where only its deletion is to be marked,
    or where what Clerk said was erased: then Clerk is asked.

    `last` and `tried` are those of RowWrite. `generation` and `fencing` tell whether this is still the newest, and
    whether the claim still holds. `attempts` failed before; `refused` as a row that was not there.
    """

    user: ClerkUserId
    profile: Profile | None
    deleted_at: datetime | None
    last: Mapping[str, Any] | None
    fill_only: bool
    generation: int
    fencing: int
    attempts: int
    refused: bool = False
    tried: tuple[Mapping[str, Any], ...] = ()

    def row_write(self, profile: Profile) -> RowWrite:
        """The write of this row; one that was missing when it was refused may be the app's by now."""
        return RowWrite(profile, self.last, self.fill_only or self.refused, self.tried)


@dataclass(frozen=True, slots=True)
class WriteKnown:
    """What is known of a user's row: Clerk's time of the newest, whether Clerk deleted the user, what was written last."""

    newest_at: datetime | None
    deleted: bool
    last: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RefusedWrite:
    """A row that the profiles' table refuses, or a part of it, and why. `profile`: what Clerk says, where it is kept."""

    user: ClerkUserId
    message: str
    since: datetime
    profile: Profile | None = None

    @property
    def email_key(self) -> str | None:
        return normalise.email_key(self.profile.email) if self.profile is not None else None

    def concerns(self, store: Store) -> bool:
        """Whether the store may want this user: what Clerk does not say is no reason against it, the app may say it."""
        return self.profile is None or may_want(self.profile, store)

    def hold(self, mapping: MappingRow | None) -> Hold:
        return hold(self.user, mapping, REFUSED, self.message)


def shown_mapping(store: Store, refused: RefusedWrite, mapping: MappingRow | None) -> MappingRow:
    """The mapping with the refusal as its hold; one is made up for a user without any. A tombstone stays what it is."""
    if mapping is None:
        return MappingRow(
            clerk_user_id=refused.user,
            store=store.name,
            shop=store.shop,
            status="held",
            reason=REFUSED,
            message=refused.message,
            first_seen_at=refused.since,
            last_seen_at=refused.since,
        )
    if mapping.status not in {"in_sync", "pending"}:
        return mapping
    values = {name: getattr(mapping, name) for name in MappingRow.model_fields}
    return MappingRow(**{**values, "status": "held", "reason": REFUSED, "message": refused.message})
