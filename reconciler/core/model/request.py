"""Request: the name (store, user) of something to look at, never its content. The first step of the walk.

Also how requests rank: nudges before retries before resync, and a turn for each, so that none starves another.
Knows nothing of where they wait.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from reconciler.core.model.backoff import fraction_of
from reconciler.core.model.ids import ClerkUserId, StoreName

Outcome = Literal["done", "again", "lost"]
ADDRESS = "address"  # another user gave up an e-mail, phone or customer, or holds one that this user waits for
DELETED = "user.deleted"  # why a look was asked for that asks Clerk, too: kept whatever else is asked for meanwhile


class Request(NamedTuple):
    """Look at this user in this store."""

    store: StoreName
    clerk_user_id: ClerkUserId


class Priority(IntEnum):
    """Why somebody asked; the smaller goes first."""

    NUDGE = 0  # a person or an event asked
    RETRY = 1  # a look failed, or must be repeated
    RESYNC = 2  # nobody asked: its regular turn


HEAD_START_S = {Priority.NUDGE: 0.0, Priority.RETRY: 5.0, Priority.RESYNC: 300.0}
YIELDS = 0.25  # the part of a resync interval during which its keys give way to every nudge


def rank_at(priority: Priority, due_at: datetime) -> datetime:
    """When a request has waited long enough to go before a nudge that comes now: the order of the queue."""
    return due_at + timedelta(seconds=HEAD_START_S[priority])


def resync_rank_at(request: Request, due_at: datetime, interval_s: float) -> datetime:
    """The same for one key of a whole store's resync: its own moment in the interval, spread evenly by its name.

    If all keys of a resync aged at one moment, the rest of them would go before every nudge in one long block. Spread,
    they come of age at the pace at which they must be done, and never in a crowd.
    """
    turn = YIELDS + (1 - YIELDS) * fraction_of(request.store, request.clerk_user_id)
    return due_at + timedelta(seconds=interval_s * turn)


class Claim(BaseModel):
    """A request that one owner may work on until its lease ends. `fencing` grows with every claim of a key, for ever.

    `attempts`: looks that failed in a row, dead owners' among them. `generation`: which adds this look covers.
    `wants_updated_at`: the profile must be at least this new, else look again shortly. `explicit`: a person asked, so
    that a value the shop refused may be tried once more. `due_at`: since when it has been due.
    """

    model_config = ConfigDict(frozen=True)

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


class Waiting(BaseModel):
    """How one store's requests stand: ready to be taken, not due yet, being worked on; of all these, failed before."""

    model_config = ConfigDict(frozen=True)

    ready: int = 0
    delayed: int = 0
    in_flight: int = 0
    failing: int = 0
