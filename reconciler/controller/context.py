"""What the controller works with in one store: its readers, its writer, the state and the clock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from reconciler.controller.handover import Successors
from reconciler.controller.observe import Readers
from reconciler.controller.parallel import NEVER, Cancellation
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.request import Claim
from reconciler.core.model.store import Store
from reconciler.ports import (
    BulkRepository,
    BulkWriter,
    Clock,
    CustomerReader,
    CustomerWriter,
    Leases,
    MappingWriter,
    RequestQueue,
)


@dataclass(frozen=True, slots=True)
class BulkProgress:
    """How far the operations under way are: lines run, of how many, and the seconds left (None: nobody can tell yet)."""

    run: int
    lines: int
    left_s: float | None


@dataclass(frozen=True, slots=True)
class BulkContext:
    """What carries out large plans. `always`: also small ones, where the forecast would not.

    `lines_min`: fewer are not split into several operations, nor sent by bulk once more where one has failed. `tell` is
    called now and then while operations are under way, `nudge` with users who lost a customer to another user by an answer.
    `by_mirror` gives the customers by the mirror, if that stands now: creates are looked for there before they go into a
    file. Their key makes one harmless of whom it does not know, but a guest it does not know would be adopted unguarded.
    """

    shop: BulkWriter
    book: BulkRepository
    leases: Leases
    sleep: Callable[[float], None]
    always: bool = False
    lines_min: int = 1000
    tell: Callable[[BulkProgress], None] = lambda _progress: None
    by_mirror: Callable[[], CustomerReader | None] = lambda: None
    nudge: Callable[[Collection[ClerkUserId]], None] = lambda _users: None


@dataclass(frozen=True, slots=True)
class Fence:
    """The claim that a context works under: nothing is sent once another replica has taken it over."""

    queue: RequestQueue
    claim: Claim


@dataclass(frozen=True, slots=True)
class StoreContext:
    """All that the acting half needs in one store. `workers` are the calls that may be under way at once.

    Without `bulk` everything is sent one by one. `cancellation` ends what is under way. `successors` is
    asked before a customer is deleted; None: each release asks for itself. `fence` is checked before each write.
    """

    store: Store
    readers: Readers
    writer: CustomerWriter
    state: MappingWriter
    clock: Clock
    warn: Callable[[str], None]
    plan_digest: str = ""
    workers: int = 4
    explicit: bool = True
    insists: bool = False
    bulk: BulkContext | None = None
    cancellation: Cancellation = NEVER
    successors: Successors | None = None
    fence: Fence | None = None
