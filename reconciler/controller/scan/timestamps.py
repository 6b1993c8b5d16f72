"""Rows that change while their `updated_at` does not, found where rows are compared anyway.

An `updated_at` that no trigger maintains, or that is stored in another time zone, makes a resync blind: a changed row does
not come with the changes. Each resync compares the next slice of mapped users with their rows; who is found there is
queued, and from then on resyncs read all rows, until rows change together with the column again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.controller.readers import Readers
from reconciler.core.fields.desired import profile_digest
from reconciler.core.model.batches import batches
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.ports import RowReader, SeenRow

OVERLAP_S = 300.0  # rows are committed later than they are stamped
UNTOLD_MAX = 10  # users that prove that `updated_at` can't be trusted
ROWS_AT_ONCE = 1000


@dataclass(slots=True)
class Evidence:
    """What changed rows say of `updated_at`. `before`: a row with an older one was read by the last resync as it was.

    `untold` are users with a row that changed without it, `told` counts rows that changed with it.
    """

    store: Store
    readers: Readers
    before: datetime | None
    untold: list[ClerkUserId] = field(default_factory=list)
    told: int = 0

    def note(self, rows: Iterable[tuple[Profile, str, str]]) -> list[ClerkUserId]:
        """Judge rows by the digest that each had at the last scan and has now; gives who changed without `updated_at`.

        A user with a request in the queue proves nothing: the change may be known already.
        """
        old: list[ClerkUserId] = []
        for profile, digest, now in rows:
            if self.before is None or profile.updated_at is None or not digest or digest == now:
                continue
            if profile.updated_at < self.before:
                old.append(profile.clerk_user_id)
            else:
                self.told += 1
        waiting = self.readers.mappings.waiting(self.store.name, self.store.shop, old) if old else frozenset()
        untold = [user for user in old if user not in waiting]
        self.untold += untold[: max(0, UNTOLD_MAX - len(self.untold))]
        return untold

    def told_of(self, users_before: Sequence[ClerkUserId]) -> tuple[ClerkUserId, ...]:
        """Users that prove the column wrong; none once rows change together with it again."""
        if self.untold:
            return tuple(dict.fromkeys([*self.untold, *users_before]))[:UNTOLD_MAX]
        return () if self.told else tuple(users_before)


def evidence_since(watermark: datetime | None, store: Store, readers: Readers) -> Evidence:
    """What a resync must have seen if the last one began at this time, where rows say when they changed."""
    return Evidence(store, readers, less_overlap(watermark) if watermark is not None else None)


def less_overlap(at: datetime) -> datetime:
    """The time from which on rows are read that may have been committed since `at`."""
    return at - timedelta(seconds=OVERLAP_S) if at.year > 1 else at


@frozen
class Compared:
    """A slice of the mapped users, compared with their rows: `untold` have one that changed without its `updated_at`."""

    missing: Sequence[ClerkUserId]
    untold: Sequence[ClerkUserId]


def compare(seen: Sequence[SeenRow], readers: Readers, evidence: Evidence) -> Compared:
    """Compare these users' rows with what they were at the last scan: by fingerprint, where one is known."""
    rows = readers.profiles
    if not isinstance(rows, RowReader):
        return Compared(sorted(readers.profiles.users_without_row([one.user for one in seen])), ())
    missing: list[ClerkUserId] = []
    untold: list[ClerkUserId] = []
    for part in batches(seen, ROWS_AT_ONCE):
        gone, changed = _compare_rows(part, rows)
        missing += gone
        untold += evidence.note(changed)
    return Compared(sorted(missing), untold)


def _compare_rows(part: Sequence[SeenRow], rows: RowReader) -> tuple[list[ClerkUserId], list[tuple[Profile, str, str]]]:
    """Who of these has no row, and the rows that may have changed, each with the digest that it had and has."""
    chunk = rows.rows_of([one.user for one in part])
    now = chunk.fingerprints()
    gone = [one.user for one in part if one.user not in now]
    digests = {
        one.user: one.digest for one in part if one.digest and (one.fp is None or now.get(one.user, one.fp) != one.fp)
    }
    doubtful = [profile for profile, _ in chunk.profiles(digests.keys() & now.keys())]
    return gone, [(profile, digests[profile.clerk_user_id], profile_digest(profile)) for profile in doubtful]
