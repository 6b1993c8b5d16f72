"""What the controller works with in one store: its readers, its writer, the state and the clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import field, replace
from typing import Protocol

from reconciler.controller.leaving.completeness import Samples
from reconciler.controller.leaving.handover import Successors
from reconciler.controller.leaving.without_users import WithoutUsers
from reconciler.controller.parallel import Cancellation
from reconciler.controller.readers import Readers
from reconciler.controller.step import Outcome, Step, StoreAccess
from reconciler.core.model.action import Action
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.store import Store
from reconciler.ports import (
    Clock,
    CustomerReader,
    CustomerWriter,
    MappingWriter,
)
from reconciler.ports.threads import THREADS, Threads

Earlier = MappingOf[ClerkUserId, str | None]
"""Users with writes that an earlier run left: the digest of the row that was executed completely, or None."""

Check = Callable[[Sequence[Action]], list[Step | Outcome]]
"""Each action with what it rests on now, or why it does not fit any more."""


class BulkPart(Protocol):
    """The part of one store's plan that goes by bulk operations."""

    def resume(self) -> Earlier:
        """Resume what an earlier run left, to its end, and return the outcome of each user."""

    def selection(self, actions: Collection[Action], *, but: Container[ClerkUserId]) -> Callable[[Action], bool] | None:
        """Which of a plan's actions go by bulk; none of the users in `but`. None: none does."""

    def by_mirror(self) -> CustomerReader | None:
        """The customers by the mirror, where that is current: creates are searched there first."""

    def apply_actions(self, actions: Collection[Action], check: Check) -> Iterator[Outcome]:
        """Check each action, send it by bulk and read the answer; outcomes come as they are known."""


class BulkTier(Protocol):
    """The optional bulk tier, as `apply` knows it."""

    def begin(self, context: StoreContext, access: StoreAccess) -> BulkPart:
        """Begin with one store's plan. `access` is refused where the store can't be used any more."""


class Fence(Protocol):
    """The claim that a context works under."""

    def check_claim(self, shop: ShopDomain) -> None:
        """Raise LeaseLost if another replica has taken the claim over, or the user was erased in this shop.

        Check it before a write that no transaction can fence.
        """


@frozen
class StoreContext:
    """What is needed to plan and write in one store. `workers`: so many calls may be under way at the same time.

    `threads` makes the threads for them.

    Built once for one plan or one claim. Without `bulk` everything is sent one by one. `cancellation` ends what is under
    way. `successors` is asked before a customer is deleted, and `samples` before an absent row counts. `fence` is checked
    before each write. `losers` are the users who have lost a customer by writes to `state` under a claim.
    """

    store: Store
    readers: Readers
    writer: CustomerWriter
    state: MappingWriter
    clock: Clock
    warn: Callable[[str], None]
    plan_digest: str = ""
    run_id: int | None = None
    workers: int = 4
    threads: Threads = THREADS
    explicit: bool = True
    insists: bool = False
    bulk: BulkTier | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)
    successors: Successors = field(default_factory=Successors)
    samples: Samples = field(default_factory=Samples)
    fence: Fence | None = None
    losers: Collection[ClerkUserId] = ()

    def after_deletion(self, user: ClerkUserId, *, row_stays: bool = False) -> StoreContext:
        """The context of what follows once Clerk is known to have this user no more.

        `row_stays`: the profile still has the row, which counts as missing from here on. Of all that a context holds, only
        this is learned on the way.
        """
        absence = replace(self.readers.absence, gone=self.readers.absence.gone | {user})
        profiles = WithoutUsers(self.readers.profiles, frozenset({user})) if row_stays else self.readers.profiles
        return replace(self, readers=replace(self.readers, absence=absence, profiles=profiles))
