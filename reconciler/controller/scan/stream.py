"""One pass over the profiles for any number of stores: who has moved, and how many have not.

A hot loop over whole shops. Rows and mappings come as the driver's own tuples, a range of keys at a time, and are compared
as fingerprints; objects are built only for those that have moved. Asks no shop: what it passes over was found equal by a
read of the shop, and neither the row nor the policy nor what the mirror holds of the customer has moved since.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from reconciler.controller.scan.spool import IN_MEMORY, Spool
from reconciler.core.fields.desired import config_digest, is_wanted
from reconciler.core.model.batches import batches
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.ports import PairReader, RangeReader, RowChunk, RowReader

ROWS = 4000  # of the profiles in one range
PAIRS = 16_000  # mappings of one store in one range: more only where many rows have vanished
TAIL = 1000


Confirm = Callable[[Sequence[ClerkUserId]], AbstractSet[ClerkUserId]]


@frozen
class Part:
    """One store's share of a range of keys that ends at `upto`: rows, how many are passed over, and users to observe.

    `odd` are rows that can't be asked for by name.
    """

    upto: ClerkUserId | None
    rows: int
    equal: int
    users: Sequence[ClerkUserId]
    odd: Sequence[Profile] = ()


class Watch:
    """One store in a pass: its policy, and where its mappings are.

    `live`: no user is passed over, since there is no mirror; each that is mapped or wanted is named. `confirm` is asked
    for those of the users to pass over who may be.
    """

    def __init__(
        self,
        store: Store,
        pairs: RangeReader,
        *,
        live: bool = False,
        pairs_max: int = PAIRS,
        confirm: Confirm | None = None,
    ) -> None:
        self.store = store
        self._pairs_max = pairs_max
        self._pairs = pairs
        self._live = live
        self._config = config_digest(store)
        self._never = frozenset(accepted.user for accepted in store.accept)  # what is agreed to ends by itself
        self._sums = pairs.sums if isinstance(pairs, PairReader) and not live else None
        self._takes_all = self._sums is not None  # as far as is known
        self._confirm = confirm

    def parts(self, chunk: _Chunk, after: ClerkUserId | None) -> Iterator[Part]:
        """The chunk behind this key: one part, unless very many users of this range have no row any more."""
        if odd := chunk.odd:
            yield Part(after, len(odd), 0, (), odd)
        if (upto := chunk.upto) is None:
            return
        fingerprints = chunk.fingerprints
        if self._adds_up(chunk, after, upto):
            yield Part(upto, len(fingerprints), len(fingerprints), ())
            return
        mapped: set[ClerkUserId] = set()
        equal, whole = 0, False
        while not whole:
            found = dict(
                self._pairs.pairs(self.store.shop, self._config, after=after, upto=upto, limit=self._pairs_max)
            )
            whole = len(found) < self._pairs_max
            users = [u for u, fp in found.items() if self._may_have_moved(u, fp, chunk)]
            if self._confirm is not None:
                named = set(users)
                same = self._confirm([u for u in found if u not in named])
                users = [u for u in found if u not in same]
            equal += len(found) - len(users)
            mapped |= found.keys() & fingerprints.keys()
            if whole:
                unmapped = [u for u in fingerprints if u not in mapped]
                users = sorted([*users, *self._wanted(chunk, unmapped)])
                yield Part(upto, len(fingerprints), equal, users)
            else:
                after = next(reversed(found))
                yield Part(after, 0, 0, users)

    def _may_have_moved(self, user: ClerkUserId, fp: int | None, chunk: _Chunk) -> bool:
        return self._live or fp is None or chunk.fingerprints.get(user) != fp or user in self._never

    def _adds_up(self, chunk: _Chunk, after: ClerkUserId | None, upto: ClerkUserId) -> bool:
        """Whether each row is mapped and equal: as many, with the same sum of fingerprints, and no others.

        Asked of a store only as long as all rows are mapped there: one that takes a part of them is asked by name.
        """
        count = len(chunk.fingerprints)
        if (
            self._sums is None
            or not self._takes_all
            or chunk.sum is None
            or not self._never.isdisjoint(chunk.fingerprints)
        ):
            return False
        living, equal, total = self._sums(self.store.shop, self._config, after=after, upto=upto)
        self._takes_all = living == count
        return (living, equal, total) == (count, count, chunk.sum)

    def tail(self, after: ClerkUserId | None) -> Iterator[Part]:
        """After the last row: users with a mapping there have no row."""
        while users := self._pairs.mapped_users(self.store.shop, after=after, limit=TAIL):
            after = users[-1]
            yield Part(after, 0, 0, users)

    def _wanted(self, chunk: _Chunk, users: Sequence[ClerkUserId]) -> list[ClerkUserId]:
        """Those without a mapping that the store wants, or may want as far as the row shows."""
        profiles = chunk.profiles(users) if users else {}
        return [u for u in users if is_wanted(profiles.get(u), self.store) is not False]


class _Chunk:
    """A chunk of rows, of which each becomes a Profile once at most, however many stores ask for it."""

    def __init__(self, rows: RowChunk) -> None:
        self._rows = rows
        self._profiles: dict[ClerkUserId, Profile] = {}
        self.fingerprints, self.odd = rows.fingerprints(), rows.odd()
        numbers = self.fingerprints.values()
        self.sum = None if None in numbers else sum(fp for fp in numbers if fp is not None)
        self.upto: ClerkUserId | None = next(reversed(list(self.fingerprints)), None)

    def profiles(self, users: Sequence[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        missing = {u for u in users if u not in self._profiles}
        if missing:
            self._profiles |= {profile.clerk_user_id: profile for profile, _ in self._rows.profiles(missing)}
        return self._profiles


def parts_of(
    watches: Sequence[Watch], rows: RowReader, *, after: ClerkUserId | None = None, rows_max: int = ROWS
) -> Iterator[tuple[Watch, Part]]:
    """Each store's parts behind this key, in key order; all stores' parts of a range come before the next range."""
    for found in rows.scan_rows(chunk=rows_max, after=after):
        chunk = _Chunk(found)
        for watch in watches:
            for part in watch.parts(chunk, after):
                yield watch, part
        after = after if chunk.upto is None else chunk.upto
    for watch in watches:
        for part in watch.tail(after):
            yield watch, part


@frozen
class _Line:
    """Users of one part, as they are kept in a file."""

    users: tuple[ClerkUserId, ...]


class Moved:
    """What a pass found in one store: how many it passed over, and which users to observe; many names lie in a file."""

    def __init__(self, *, in_memory_bytes: int = IN_MEMORY) -> None:
        self.equal = 0
        self.odd: list[Profile] = []
        self._lines = Spool(_Line, in_memory_bytes=in_memory_bytes)

    def add(self, part: Part) -> None:
        """One more; PermanentError where the disk is full."""
        self.equal += part.equal
        self.odd += part.odd
        if part.users:
            self._lines.add(_Line(users=tuple(part.users)))

    def chunks(self, size: int) -> Iterator[list[ClerkUserId]]:
        """Their names in key order."""
        return batches((user for line in self._lines for user in line.users), size)


def find_moved(
    stores: Sequence[tuple[Store, PairReader]], rows: RowReader, *, rows_max: int = ROWS, pairs_max: int = PAIRS
) -> list[Moved]:
    """One pass for all of these stores; memory grows with neither the rows nor those who have moved."""
    return moved_by([Watch(store, pairs, pairs_max=pairs_max) for store, pairs in stores], rows, rows_max=rows_max)


def moved_by(watches: Sequence[Watch], rows: RowReader, *, rows_max: int = ROWS) -> list[Moved]:
    """One pass for all of these watches."""
    found = {id(watch): Moved() for watch in watches}
    with frozen_garbage():
        for watch, part in parts_of(watches, rows, rows_max=rows_max):
            found[id(watch)].add(part)
    return [found[id(watch)] for watch in watches]


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """What is there now is no garbage: the collector leaves it out while tuples come and go by the million."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
