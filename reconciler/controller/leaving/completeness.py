"""Whether the profiles table appears whole from one store, before anything is concluded from a row that is missing.

Reads a bounded number of rows: a scan compares all of them and asks the guards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta

from reconciler.controller.readers import Readers
from reconciler.core.decide.leaving.absence import has_ceased_to_match
from reconciler.core.fields import normalise
from reconciler.core.fields.desired import config_digest
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.store import Store
from reconciler.core.plan.guard import ceiling_of
from reconciler.errors import SourceError
from reconciler.ports import MappingReader, ProfileReader

SAMPLE = 1000  # mapped users to read the rows of
HALF = SAMPLE // 2
BESIDE = 10
BESIDE_MIN = HALF // 4  # so many neighbours on each side has a user who shares another's sample
SHARED_S = 2.0  # how long a sample is shared
SHARED_PART = 0.1  # and for no larger part of the grace
SHARED_MAX = 20  # places in a store, of each of which the rows around it are kept


@frozen
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


@frozen
class _Look:
    """The rows of some mapped users, as read at one time.

    `first` and `last` bound the users who have enough neighbours among these; None: no bound.
    """

    at: datetime
    profiles: ProfileReader
    users: Collection[ClerkUserId]
    missing: frozenset[ClerkUserId]
    unmatched: frozenset[ClerkUserId]
    first: ClerkUserId | None = None
    last: ClerkUserId | None = None

    def is_around(self, user: ClerkUserId) -> bool:
        return (self.first is None or self.first <= user) and (self.last is None or user <= self.last)


_Asked = tuple[ShopDomain, str, bool]


@frozen
class Samples:
    """Samples of stores' mapped users. Users next to each other share the rows that were read some seconds ago.

    So where thousands of rows cease to match at the same time, the app's table is not read a thousand times for each. A
    user elsewhere needs other neighbours: a sample around another user may have passed by what is still to be loaded. No
    lock is held while rows are read, so two threads may read the same.
    """

    _heads: dict[_Asked, _Look] = field(default_factory=dict)
    _around: dict[_Asked, tuple[_Look, ...]] = field(default_factory=dict)

    def of(self, user: ClerkUserId, store: Store, readers: Readers, now: datetime, *, by_where: bool = False) -> Sample:
        """The sample of mapped users around this one, or of all where they are few.

        `by_where`: rows that do not match the store's `where` are absent as well.

        Raises SourceError where there is no row at all.
        """
        asked = (store.shop, config_digest(store), by_where)
        shared_s = min(SHARED_S, (readers.absence.grace_s or 0.0) * SHARED_PART)

        def is_usable(look: _Look) -> bool:
            return look.profiles is readers.profiles and timedelta(0) <= now - look.at < timedelta(seconds=shared_s)

        head = self._heads.get(asked)
        if head is None or not is_usable(head):
            self._forget_others(asked, now)
            head = self._heads[asked] = _look_at_head(store, readers, now, by_where=by_where)
        looks = [head]
        if len(head.users) == HALF:
            usable = tuple(look for look in self._around.get(asked, ()) if is_usable(look))
            around = next((look for look in usable if look.is_around(user)), None)
            if around is None:
                around = _look_around(user, store, readers, now, by_where=by_where)
                usable = (*usable, around)
            self._around[asked] = usable[-SHARED_MAX:]
            looks.append(around)
        return _sample_of(looks, store, readers, by_where=by_where)

    def _forget_others(self, asked: _Asked, now: datetime) -> None:
        """Drop the samples of other stores that are shared no longer: each may hold thousands of ids."""
        old = [other for other, head in list(self._heads.items()) if now - head.at >= timedelta(seconds=SHARED_S)]
        for other in old:
            if other != asked:
                self._heads.pop(other, None)
                self._around.pop(other, None)


def _look_at_head(store: Store, readers: Readers, now: datetime, *, by_where: bool) -> _Look:
    """The first mapped users of the store, or all where they are few."""
    if readers.profiles.count(at_most=1) == 0:
        raise SourceError("the profiles are empty: no user is released", hint="reconciler doctor")
    users = readers.mappings.mapped_users(store.shop, after=None, limit=SAMPLE)
    return _look_at(users if len(users) < SAMPLE else users[:HALF], store, readers, now, by_where=by_where)


def _look_around(user: ClerkUserId, store: Store, readers: Readers, now: datetime, *, by_where: bool) -> _Look:
    """Mapped users next to this one, on both sides: a table that is loading in the order of its keys misses them too."""
    mappings = readers.mappings
    behind = mappings.mapped_users(store.shop, after=user, limit=HALF // 2)
    before = mappings.mapped_users_before(store.shop, user, limit=HALF - len(behind))
    users = [*before, *behind]
    return replace(
        _look_at(users, store, readers, now, by_where=by_where),
        first=users[BESIDE_MIN] if len(users) == HALF else None,
        last=users[-1 - BESIDE_MIN] if len(behind) == HALF // 2 else None,
    )


def _look_at(users: Sequence[ClerkUserId], store: Store, readers: Readers, now: datetime, *, by_where: bool) -> _Look:
    """By one reading: of the rows where their values count, else of the keys."""
    profiles = readers.profiles
    if not by_where:
        missing = profiles.users_without_row(users) if users else frozenset()
        return _Look(now, profiles, users, missing, frozenset())
    rows = profiles.get(users) if users else {}
    unmatched = frozenset(user for user, row in rows.items() if has_ceased_to_match(row, store))
    return _Look(now, profiles, users, frozenset(users) - rows.keys(), unmatched)


def _sample_of(looks: Sequence[_Look], store: Store, readers: Readers, *, by_where: bool) -> Sample:
    asked = len(frozenset[ClerkUserId]().union(*(look.users for look in looks)))
    missing = frozenset[ClerkUserId]().union(*(look.missing for look in looks))
    unmatched = len(frozenset[ClerkUserId]().union(*(look.unmatched for look in looks)))
    ceiling = ceiling_of(store.guards.release, asked)
    if len(missing) + unmatched > max(ceiling, 1):
        missing = without_successor(missing, store, readers.profiles, readers.mappings)
    return Sample(asked, len(missing) + unmatched, ceiling, by_where)


def present_beside(user: ClerkUserId, store: Store, readers: Readers) -> list[ClerkUserId]:
    """Some mapped users next to this one that have a row. SourceError."""
    before = readers.mappings.mapped_users_before(store.shop, user, limit=BESIDE)
    beside = [*before, *readers.mappings.mapped_users(store.shop, after=user, limit=BESIDE)]
    rows = readers.profiles.get(beside) if beside else {}
    return [other for other in beside if other != user and other in rows and not rows[other].deleted]


def without_successor(
    users: Collection[ClerkUserId], store: Store, profiles: ProfileReader, mappings: MappingReader
) -> frozenset[ClerkUserId]:
    """Those of these users without a row with an address that no row has: the others may have a new id."""
    rows = mappings.get(store.shop, users)
    keys = {user: key for user in users if (row := rows.get(user)) and (key := normalise.email_key(row.email))}
    claimed = {normalise.email_key(profile.email) for profile in profiles.sharing_email(set(keys.values()))}
    return frozenset(user for user in users if keys.get(user) not in claimed or user not in keys)
