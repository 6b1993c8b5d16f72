"""Writes of profile rows from Clerk's data: those that are due, and those that were refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from reconciler.core.decide.profile_rows.merge import Values
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import may_want
from reconciler.core.model.action import Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping as MappingRow
from reconciler.core.model.profile import Profile
from reconciler.core.model.reasons import hold
from reconciler.core.model.store import Store

REFUSED: Final = "ProfileRefused"
COVERED: Final = frozenset[str]({"in_sync", "pending"})
"""The statuses that a refused row hides: held, released and erased mappings stay as they are."""
ADDRESSES: Final[Mapping[str, Callable[[str | None], str | None]]] = {
    "email": normalise.email_key,
    "phone": normalise.phone_key,
}
"""The fields of which a table often lets only one row have each value, with the key by which two values are equal."""

Outcome = Literal["written", "kept", "deleted"]


@frozen
class RowWrite:
    """The write of one row. `last`: the `clerk_values` of the last write, None where they are unknown.

    `tried`: later ones, for writes that may have reached the row without being recorded. `fill_only`: only empty
    columns get a value; a missing row is created anyway.
    """

    profile: Profile
    last: Values | None = None
    fill_only: bool = False
    tried: tuple[Values, ...] = ()


@frozen
class RowWritten:
    """The outcome of one write; "deleted": the row is marked deleted and was not changed. `held`: why a part was not."""

    outcome: Outcome
    held: str | None = None


@frozen
class ClerkChange:
    """Clerk's data of one user. `at`: Clerk's time of the change; `deleted_at`: when Clerk deleted the user.

    `created`: the user has just signed up; values that the app has already set in the row are kept.
    """

    user: ClerkUserId
    at: datetime | None = None
    profile: Profile | None = None
    deleted_at: datetime | None = None
    created: bool = False


@frozen
class WriteClaim:
    """One row to write, claimed until its lease ends. `profile` is None where only the deletion must be marked, or
    where Clerk's data was erased from the state: then Clerk is queried.

    `last` and `tried` are those of RowWrite. `generation` shows whether this is still the newest write, `fencing`
    whether the claim is still valid. `attempts` counts failures; `refused`: the table refused the row while it was
    missing. `due_at`: when it is or was due.
    """

    user: ClerkUserId
    profile: Profile | None
    deleted_at: datetime | None
    last: Values | None
    fill_only: bool
    generation: int
    fencing: int
    attempts: int
    due_at: datetime
    refused: bool = False
    tried: tuple[Values, ...] = ()

    def row_write(self, profile: Profile) -> RowWrite:
        """The write of this row; a row that was refused while missing may have been created by the app since."""
        return RowWrite(profile, self.last, self.fill_only or self.refused, self.tried)


@frozen
class WriteKnown:
    """Clerk's time of a user's newest write, whether Clerk deleted the user, and the values last written."""

    newest_at: datetime | None
    deleted: bool
    last: Values | None


@frozen
class RefusedWrite:
    """A row, or a part of it, that the profiles table refuses, and why. `profile`: Clerk's data, where it is kept."""

    user: ClerkUserId
    message: str
    since: datetime
    profile: Profile | None = None

    @property
    def email_key(self) -> str | None:
        return normalise.email_key(self.profile.email) if self.profile is not None else None

    def concerns(self, store: Store) -> bool:
        """Whether the store may want this user. Values that Clerk does not have count as matching: the app may set
        them.
        """
        return self.profile is None or may_want(self.profile, store)

    def hold(self, mapping: MappingRow | None) -> Hold:
        return hold(self.user, mapping, REFUSED, self.message)


def unique_keys_of(values: Values) -> dict[str, str]:
    """The keys of the email and the phone among these values, by field."""
    found = {name: values.get(name) for name in ADDRESSES}
    keys = {name: ADDRESSES[name](value) for name, value in found.items() if isinstance(value, str)}
    return {name: key for name, key in keys.items() if key is not None}


def shown_mapping(store: Store, refused: RefusedWrite, mapping: MappingRow | None) -> MappingRow:
    """The mapping, or a new one, with the refusal as its hold. Held, released and erased mappings stay unchanged."""
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
    if mapping.status not in COVERED:
        return mapping
    return replace(mapping, status="held", reason=REFUSED, message=refused.message)
