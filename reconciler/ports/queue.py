"""The queue of requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Protocol

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Claim, Outcome, Priority, Request, Waiting


class RequestQueue(Protocol):
    """The requests, one row a key, with a workqueue's promises. Safe to share by threads, and by processes on Postgres.

    A key is in it once, never worked on twice at once, and looked at once more where it was added while worked on.
    A holder whose lease has run out may be taken over at once; by its claim's `fencing` all its late calls are void.
    """

    def add(
        self,
        requests: Iterable[Request],
        now: datetime,
        *,
        priority: Priority = Priority.NUDGE,
        reason: str,
        due_at: datetime | None = None,
        wants_updated_at: datetime | None = None,
        explicit: bool = False,
    ) -> int:
        """Ask for a look at each, now or at `due_at`; gives how many requests that changed.

        One look for many adds; a nudge cuts a backoff short, a resync doesn't. A delayed add is answered by a look that
        begins at its time or later, whatever looks come before; of several delayed adds by the earliest's.
        """

    def add_all(
        self,
        store: StoreName,
        users: Iterable[ClerkUserId],
        now: datetime,
        *,
        interval_s: float,
        reason: str = "resync",
    ) -> int:
        """A resync: a look at each of any number of users, due at once, overtaken by nudges, all within the interval.

        Written in chunks, so that a million keys never stall a nudge; broken off in the middle, it may be repeated.
        """

    def claim(
        self, owner: str, now: datetime, *, limit: int, lease_s: float, stores: MappingOf[StoreName, int]
    ) -> list[Claim]:
        """Take up to `limit` requests that are due, the oldest by rank first, for `lease_s`.

        Only of `stores`, and so many of each that this owner has at most that number of it in hand: a store that is
        suspended is left out, and a slow one never takes all workers.
        """

    def done(self, claims: Collection[Claim], now: datetime) -> tuple[Outcome, ...]:
        """Looked at: what became of each: `done` (gone from the queue), `again` (asked for meanwhile), `lost`."""

    def retry(self, claim: Claim, now: datetime, *, delay_s: float, reason: str) -> bool:
        """The look failed: another after the delay, or as soon as asked for; one attempt more. False: no longer ours."""

    def postpone(self, claim: Claim, due_at: datetime, *, reason: str) -> bool:
        """The look did not fail, but must be repeated then: attempts begin at 0 again. False: no longer ours."""

    def release(self, claims: Collection[Claim]) -> None:
        """Hand back what was not looked at (on SIGTERM): others may take it at once."""

    def renew(self, claims: Collection[Claim], now: datetime, *, lease_s: float) -> tuple[Claim, ...]:
        """Hold on to these for `lease_s` from now; gives those that are no longer ours: their work must stop."""

    def still_mine(self, claim: Claim) -> bool:
        """Whether nobody has taken it over: to be asked before a write that no transaction can fence."""

    def depth(self, store: StoreName | None = None) -> int:
        """How many requests there are, delayed ones and those in hand among them."""

    def oldest_age_s(self, now: datetime, stores: Collection[StoreName]) -> float:
        """How long the request that has been due longest in these stores has been so, in hand or not; 0 without one."""

    def tally(self, now: datetime) -> dict[StoreName, Waiting]:
        """How the requests of each store stand; reads the whole table."""

    def forget(self, store: StoreName) -> int:
        """Drop all requests of a store that is no more; gives how many."""
