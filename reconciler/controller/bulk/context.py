"""What the bulk tier works with in one store, beside what the controller does."""

from __future__ import annotations

from collections.abc import Callable, Collection

from reconciler.controller.context import BulkPart, StoreContext
from reconciler.controller.step import StoreAccess
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.ports import BulkRepository, BulkWriter, CustomerReader, Leases

PIECE = 500  # lines that are in memory, or in one transaction, at a time


@frozen
class BulkRunProgress:
    """How far the operations under way are: lines run, of how many, and the seconds left (None: not known yet)."""

    run: int
    lines: int
    left_s: float | None


@frozen
class BulkContext:
    """What executes large plans. `always`: also small ones, which the forecast would not choose.

    `lines_min`: fewer are not split into several operations, nor sent by bulk once more where one has failed. `tell` is
    called now and then while operations are under way, `nudge` with users who lost a customer to another user by an answer.
    `piece_lines` lines are in memory, or in one transaction, at a time.
    `by_mirror` gives the customers by the mirror, if that is current: creates are searched there before they go into a
    file. Their key makes an unknown customer harmless, but an unknown guest would be adopted unguarded.
    """

    shop: BulkWriter
    book: BulkRepository
    leases: Leases
    sleep: Callable[[float], None]
    always: bool = False
    lines_min: int = 1000
    piece_lines: int = PIECE
    tell: Callable[[BulkRunProgress], None] = lambda _progress: None
    by_mirror: Callable[[], CustomerReader | None] = lambda: None
    nudge: Callable[[Collection[ClerkUserId]], None] = lambda _users: None

    def begin(self, context: StoreContext, access: StoreAccess) -> BulkPart:
        """controller.context.BulkTier."""
        from reconciler.controller.bulk.apply import BulkRun  # noqa: PLC0415  it works with this class

        return BulkRun(context, self, access)
