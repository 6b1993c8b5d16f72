"""The queue of requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Protocol

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Claim, Outcome, Priority, Request, Waiting


class RequestQueue(Protocol):
    """The queue of requests, with the guarantees of a workqueue. Shared by threads, and by processes on Postgres.

    A request is in it once, has one worker at a time, and is reconciled again if it was added meanwhile. After its lease
    has expired, another worker may claim it; the claim's `fencing` then makes late calls of the former one void.
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
        """Enqueue these requests, due now or at `due_at`; return how many this changed.

        Many adds lead to one reconcile. A nudge ends a backoff, a resync does not. A delayed add leads to a reconcile at
        its time or later, independent of earlier ones; several delayed adds to one at the earliest time.
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
        """Enqueue a resync of any number of users: due now, overtaken by nudges, all within the interval.

        Written in chunks, so that a million requests do not block a nudge. An interrupted call may be repeated.
        """

    def claim(
        self, owner: str, now: datetime, *, limit: int, lease_s: float, stores: MappingOf[StoreName, int]
    ) -> list[Claim]:
        """Take up to `limit` requests that are due, the oldest by rank first, for `lease_s`.

        `stores` maps each store to the maximum that this owner may hold of it, so that a slow store does not occupy all
        workers. Other stores, such as suspended ones, are left out.
        """

    def done(self, claims: Collection[Claim], now: datetime) -> tuple[Outcome, ...]:
        """Finish claims; the outcome of each: `done` (removed), `again` (added meanwhile), `lost` (claim expired)."""

    def retry(self, claim: Claim, now: datetime, *, delay_s: float, reason: str) -> bool:
        """Retry a failed request after the delay, or on a nudge, with one more attempt. False: no longer ours."""

    def postpone(self, claim: Claim, due_at: datetime, *, reason: str) -> bool:
        """Repeat a request at `due_at` that did not fail; attempts restart at 0. False: no longer ours."""

    def release(self, claims: Collection[Claim]) -> None:
        """Return unfinished claims (on SIGTERM): others may claim them immediately."""

    def renew(self, claims: Collection[Claim], now: datetime, *, lease_s: float) -> tuple[Claim, ...]:
        """Extend the leases by `lease_s` from now; return claims that are no longer ours: stop their work."""

    def depth(self, store: StoreName | None = None) -> int:
        """The count of requests, including delayed and claimed ones."""

    def oldest_ages_s(self, now: datetime, stores: Collection[StoreName]) -> dict[StoreName, float]:
        """Seconds since the oldest request of each of these stores became due, claimed or not; 0 without one."""

    def tally(self, now: datetime) -> dict[StoreName, Waiting]:
        """The counts of each store's requests; reads the whole table."""

    def forget(self, store: StoreName) -> int:
        """Delete all requests of a removed store; return their count."""
