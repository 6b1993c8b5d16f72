"""Bulk operations of one shop: queries, mutations, and the records of running ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import field
from datetime import datetime
from typing import Final, Literal, Protocol

from reconciler.core.model.event import Event
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.write import (
    AddTags,
    Create,
    DeleteMetafields,
    RemoveTags,
    SetMetafields,
    Update,
    Write,
)
from reconciler.errors import ReconcilerError
from reconciler.ports.customers import Shown

BulkStatus = Literal["running", "completed", "canceled", "failed", "expired"]


@frozen
class BulkState:
    """The state of a bulk operation. `running`: created, running or being cancelled; the other statuses are final.

    `readable`: there are result lines. If the operation is not `completed`, the result is partial, and missing customers
    may exist. `objects` were found so far; `error_code` is Shopify's code of a failure.
    """

    operation: str
    status: BulkStatus
    objects: int
    readable: bool
    error_code: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None


class BulkReader(Protocol):
    """All customers of one shop by one bulk query. Starting and cancelling one changes nothing in the shop."""

    def start(self) -> str:
        """Start a query over all customers; return the operation's id. TemporaryError if too many are running."""

    def state(self, operation: str) -> BulkState | None:
        """The state of the operation; None where the shop has no such operation, or no longer."""

    def lines(self, operation: str, *, skip: int = 0, batch: int = 1000) -> Iterator[list[bytes]]:
        """Stream the result's lines in batches, without line ends and without the first `skip` lines.

        A line is one customer with the fields of the point reads under the same names (`m0` the back-link, `m1`… the
        store's metafields in their order). An expired URL is requested again once, by the operation's id. TemporaryError
        for a broken stream or an incomplete result, PermanentError for a result that has expired (after seven days).
        """

    def cancel(self, operation: str) -> None:
        """Cancel the operation; success if it has already ended."""


FILE_KINDS: Final[MappingOf[type[Write], str]] = {
    Create: "customers",
    Update: "customers",
    AddTags: "add_tags",
    RemoveTags: "remove_tags",
    SetMetafields: "set_metafields",
    DeleteMetafields: "delete_metafields",
}
"""Which writes share a file (`rides_in`), since one mutation runs on all its lines; no other write goes by bulk."""


@frozen
class Upload:
    """An uploaded file for a bulk mutation: its path, the digest of its content, and the count of its lines."""

    path: str
    digest: str
    lines: int


@frozen
class BulkAnswer:
    """The result of one line of a file, counted from 0: `error`, or success; `customer` if one was written.

    `shown`: the fields in the answer, for each customer of the line.
    """

    line: int
    customer: CustomerId | None = None
    error: ReconcilerError | None = None
    shown: MappingOf[CustomerId, Shown] = field(default_factory=dict)


class BulkWriter(Protocol):
    """Writes to one shop by bulk mutations. They cost no points while they run, have no order, and take minutes."""

    def upload(self, rides_in: str, lines: Iterable[Write]) -> Upload:
        """Upload a file, a write a line, as many as one file may hold. TemporaryError: nothing came of it."""

    def run(self, rides_in: str, path: str, mark: str) -> str:
        """Run the file as a mutation; return the operation's id. `mark` is stored with it, so that `find` finds it.

        AnswerLost: search for the mark. TemporaryError: too many are running. Refused: this file can't be run.
        """

    def find(self, mark: str) -> str | None:
        """The operation with this mark; None where there is none."""

    def operation_state(self, operation: str) -> BulkState | None:
        """The state of the operation; None where the shop has no such operation, or no longer."""

    def answers(self, operation: str, rides_in: str, *, batch: int = 500) -> Iterator[list[BulkAnswer]]:
        """Stream the results of its lines in batches, without order; a line may be missing, or come twice.

        Errors as of BulkReader.lines. An operation that is not `completed` has partial results or none.
        """


@frozen
class BulkLine:
    """The next write of one user's action in bulk; each user has one at most in a shop.

    `decision` is its decision (JSON, without the spec), `position` the index of the next write, `customer` the target, once
    known. It is line `number` of `file`; None: it waits for a file. `tries`: the count of files that had it.
    """

    user: ClerkUserId
    rides_in: str
    decision: str
    plan_digest: str
    position: int = 0
    customer: CustomerId | None = None
    tries: int = 0
    file: str | None = None
    number: int | None = None


@frozen
class BulkFile:
    """An uploaded or running file. `key` marks its operation; `operation` is None until its id is known."""

    key: str
    shop: ShopDomain
    rides_in: str
    path: str
    digest: str
    lines: int
    begun_at: datetime
    operation: str | None = None


@frozen
class Settled:
    """`losers` lost a customer to another row, as in MappingWriter; the rows of `overtaken` were changed meanwhile."""

    losers: tuple[ClerkUserId, ...] = ()
    overtaken: frozenset[ClerkUserId] = frozenset()


@frozen
class BulkCounts:
    """How far a shop's bulk writes are.

    Of the files with unread results: the begin of the oldest, how many there are, how many of them the shop has started, and
    their lines. Then the lines that wait for a file, and the unsettled lines in all files.
    """

    began_at: datetime | None = None
    files: int = 0
    operations: int = 0
    lines: int = 0
    waiting: int = 0
    left: int = 0


class BulkRepository(Protocol):
    """The records of bulk writes, stored before each step, so that a killed run can be continued.

    Each call is one transaction.
    """

    def bulk_files(self, shop: ShopDomain) -> list[BulkFile]:
        """The files with unread results, oldest first."""

    def bulk_waiting(self, shop: ShopDomain) -> dict[str, int]:
        """The count of lines that wait for a file, by `rides_in`."""

    def bulk_counts(self, shops: Collection[ShopDomain]) -> dict[ShopDomain, BulkCounts]:
        """The counts of those of these shops that have files or lines."""

    def enqueue_lines(self, shop: ShopDomain, lines: Sequence[BulkLine]) -> None:
        """Add lines that wait for a file; a user's older line is replaced."""

    def next_lines(
        self, shop: ShopDomain, rides_in: str, *, limit: int, after: ClerkUserId | None = None
    ) -> list[BulkLine]:
        """The first waiting lines by user, or the first after a user."""

    def begin_file(self, file: BulkFile, numbers: MappingOf[ClerkUserId, int]) -> None:
        """Record an uploaded file with these users' lines. Call it before the file is run."""

    def note_operation(self, file: BulkFile, operation: str) -> None:
        """Record the id of the file's operation."""

    def file_lines(
        self, file: BulkFile, *, numbers: Collection[int] | None = None, limit: int | None = None
    ) -> list[BulkLine]:
        """The file's unsettled lines in order: those with these numbers, or the first."""

    def settle_lines(
        self, shop: ShopDomain, rows: Sequence[Mapping], events: Sequence[Event], *,
        done: Collection[ClerkUserId] = (), more: Sequence[BulkLine] = (),
        before: MappingOf[ClerkUserId, Mapping | None] | None = None,
    ) -> Settled:  # fmt: skip
        """Write mapping rows and events, delete lines that are done, and add `more` waiting lines, together.

        `before`: the rows as they were read. A row that was changed since is not written, and its line stays.
        """

    def end_file(self, file: BulkFile) -> None:
        """Delete the file; its unsettled lines wait again."""

    def unsent_lines(self, shop: ShopDomain, *, limit: int) -> list[BulkLine]:
        """The first lines, by user, that wait for a file and of which no write was sent."""
