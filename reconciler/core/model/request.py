"""Request: a (store, user) to reconcile, without its content; and how requests rank.

Nudges go before retries, and retries before resyncs. Each request ages, so that none starves.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal, NamedTuple

from reconciler.core.model.backoff import fraction_of
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, StoreName

Outcome = Literal["done", "again", "lost"]
ADDRESS = "address"  # a reason: another user gave up an email, phone or customer, or has one that this user waits for
DELETED = "user.deleted"  # a reason: the reconcile also queries Clerk; later nudges do not replace it


class Request(NamedTuple):
    """Reconcile this user in this store."""

    store: StoreName
    clerk_user_id: ClerkUserId


class Priority(IntEnum):
    """Why the request was enqueued; smaller values go first."""

    NUDGE = 0  # by an operator or an event
    RETRY = 1  # a reconcile failed, or must be repeated
    RESYNC = 2  # by a scheduled scan


HEAD_START_S = {Priority.NUDGE: 0.0, Priority.RETRY: 5.0, Priority.RESYNC: 300.0}
YIELDS = 0.25  # the share of a resync interval during which its requests yield to every nudge


def rank_at(priority: Priority, due_at: datetime) -> datetime:
    """The sort key of the queue: from this time on, the request goes before a new nudge."""
    return due_at + timedelta(seconds=HEAD_START_S[priority])


def resync_rank_at(request: Request, due_at: datetime, interval_s: float) -> datetime:
    """The sort key for a request of a resync: its own time within the interval, evenly distributed by its hash.

    If all requests of a resync aged at the same time, the rest of them would go before every nudge in one long block.
    """
    turn = YIELDS + (1 - YIELDS) * fraction_of(request.store, request.clerk_user_id)
    return due_at + timedelta(seconds=interval_s * turn)


@frozen(kw_only=True)
class Claim:
    """A request that one owner may work on until its lease ends. `fencing` grows with every claim of a request.

    `attempts`: failures in a row, those of crashed owners included. `generation`: the enqueues that this claim covers.
    `wants_updated_at`: the profile must be at least this new, else the request is retried shortly. `explicit`: an
    operator asked, so that a value that the shop refused may be tried once more. `due_at`: since when it has been due.
    """

    request: Request
    owner: str
    fencing: int
    priority: Priority
    generation: int
    attempts: int
    reason: str
    due_at: datetime
    wants_updated_at: datetime | None = None
    explicit: bool = False

    @property
    def store(self) -> StoreName:
        return self.request.store

    @property
    def clerk_user_id(self) -> ClerkUserId:
        return self.request.clerk_user_id


@frozen(kw_only=True)
class Waiting:
    """Counts of one store's requests: ready to claim, not due yet, claimed; and, of all these, failed before."""

    ready: int = 0
    delayed: int = 0
    in_flight: int = 0
    failing: int = 0
