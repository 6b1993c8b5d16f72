"""Whether the profiles table appears whole from one store, before anything is concluded from a row that is missing.

Reads a bounded number of rows: a scan compares all of them and asks the guards.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reconciler.controller.readers import Readers
from reconciler.core.decide.leaving.absence import has_ceased_to_match
from reconciler.core.fields import normalise
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.store import Store
from reconciler.core.plan.guard import ceiling_of
from reconciler.errors import SourceError
from reconciler.ports import MappingReader, ProfileReader

SAMPLE = 1000  # mapped users to read the rows of
HALF = SAMPLE // 2
BESIDE = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """So many mapped users were asked for, and so many of them have an absent row and no successor."""

    asked: int
    absent: int
    ceiling: int
    by_where: bool = False

    @property
    def looks_whole(self) -> bool:
        """Whether no more rows are absent than a plan could release; one that is absent alone is no sign."""
        return self.absent <= max(self.ceiling, 1)

    @property
    def message(self) -> str:
        what = "does not match `where`" if self.by_where else "is missing"
        return (
            f"the profile row {what}, as for {self.absent} of {self.asked} mapped users of this store: "
            "the table may be loading, so no user is released; `reconciler apply` releases them after showing the plan"
        )


def sample(user: ClerkUserId, store: Store, readers: Readers, *, by_where: bool = False) -> Sample:
    """Ask for the rows of mapped users around this one, or of all where they are few.

    `by_where`: rows that do not match the store's `where` are absent as well.

    Raises SourceError where there is no row at all.
    """
    profiles, mappings = readers.profiles, readers.mappings
    if profiles.count(at_most=1) == 0:
        raise SourceError("the profiles are empty: no user is released", hint="reconciler doctor")
    users = mappings.mapped_users(store.shop, after=None, limit=SAMPLE)
    if len(users) == SAMPLE:
        users = sorted({*users[:HALF], *_neighbours(user, store, mappings)})
    missing = profiles.users_without_row(users) if users else frozenset()
    rows = profiles.get(users) if by_where and users else {}
    unmatched = sum(has_ceased_to_match(row, store) for row in rows.values())
    ceiling = ceiling_of(store.guards.release, len(users))
    if len(missing) + unmatched > max(ceiling, 1):
        missing = without_successor(missing, store, profiles, mappings)
    return Sample(len(users), len(missing) + unmatched, ceiling, by_where)


def present_beside(user: ClerkUserId, store: Store, readers: Readers) -> list[ClerkUserId]:
    """Some mapped users next to this one that have a row. SourceError."""
    before = readers.mappings.mapped_users_before(store.shop, user, limit=BESIDE)
    beside = [*before, *readers.mappings.mapped_users(store.shop, after=user, limit=BESIDE)]
    rows = readers.profiles.get(beside) if beside else {}
    return [other for other in beside if other != user and other in rows and not rows[other].deleted]


def _neighbours(user: ClerkUserId, store: Store, mappings: MappingReader) -> list[ClerkUserId]:
    """Mapped users next to this one, on both sides: a table that is loading in the order of its keys misses them too."""
    behind = mappings.mapped_users(store.shop, after=user, limit=HALF // 2)
    return [*mappings.mapped_users_before(store.shop, user, limit=HALF - len(behind)), *behind]


def without_successor(
    users: Collection[ClerkUserId], store: Store, profiles: ProfileReader, mappings: MappingReader
) -> frozenset[ClerkUserId]:
    """Those of these users without a row with an address that no row has: the others may have a new id."""
    rows = mappings.get(store.shop, users)
    keys = {user: key for user in users if (row := rows.get(user)) and (key := normalise.email_key(row.email))}
    claimed = {normalise.email_key(profile.email) for profile in profiles.sharing_email(set(keys.values()))}
    return frozenset(user for user in users if keys.get(user) not in claimed or user not in keys)
