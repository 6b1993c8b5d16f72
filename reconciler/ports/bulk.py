"""Bulk operations of one shop: queries, mutations, and the book of those under way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Protocol

from reconciler.core.model.event import Event
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


@dataclass(frozen=True, slots=True)
class BulkState:
    """How a bulk query stands. `running`: created, running or being cancelled; everything else is its end.

    `readable`: there are lines to be fetched. Of a query that is not `completed` they are only some of the customers: what
    is missing in them says nothing. `objects` have been found so far; `error_code` is Shopify's own word for a failure.
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
        """Begin a query over all customers and give the operation's id. TemporaryError where too many are running."""

    def state(self, operation: str) -> BulkState | None:
        """How it stands; None where the shop knows no such operation (any more)."""

    def lines(self, operation: str, *, skip: int = 0, batch: int = 1000) -> Iterator[list[bytes]]:
        """The result's lines as they came, in batches, without their ends; the first `skip` lines are left out.

        Streamed: nothing is held whole. A line is one customer with the fields of the point reads under the same names
        (`m0` the back-link, `m1`… the store's metafields in their order). An address that has run out is asked for anew by
        the operation's id, once; a broken stream or a result that is shorter than it should be is a TemporaryError, never a
        shortened one; a result that is no more (after seven days) a PermanentError. Without rows: nothing.
        """

    def cancel(self, operation: str) -> None:
        """Ask the shop to end it; one that has ended already is success."""


FILE_KINDS: Final[MappingOf[type[Write], str]] = {
    Create: "customers",
    Update: "customers",
    AddTags: "add_tags",
    RemoveTags: "remove_tags",
    SetMetafields: "set_metafields",
    DeleteMetafields: "delete_metafields",
}
"""Which writes share a file (`rides_in`), since one mutation runs on all its lines; no other write goes by bulk."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that lies ready for a bulk mutation: where, the digest of what it holds, and how many lines went in."""

    path: str
    digest: str
    lines: int


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """What became of one line of a file, counted from 0: `error`, or done; `customer` where a customer was written.

    `shown`: what the answer shows of each customer of the line.
    """

    line: int
    customer: CustomerId | None = None
    error: ReconcilerError | None = None
    shown: MappingOf[CustomerId, Shown] = field(default_factory=dict)


class BulkWriter(Protocol):
    """Writes to one shop by bulk mutations: they draw no points while they run, in no order, and end after minutes."""

    def upload(self, rides_in: str, lines: Iterable[Write]) -> Upload:
        """Upload a file, a write a line, as many as one file may hold. TemporaryError: nothing came of it."""

    def run(self, rides_in: str, path: str, mark: str) -> str:
        """Run it and give the operation's id. `mark`, a word, is written on it, so that it can be found again.

        AnswerLost: look for the mark. TemporaryError: not now, too many are running. Refused: never, by this file.
        """

    def find(self, mark: str) -> str | None:
        """The operation that carries this mark; None where none was ever run."""

    def operation_state(self, operation: str) -> BulkState | None:
        """How it stands; None where the shop knows no such operation (any more)."""

    def answers(self, operation: str, rides_in: str, *, batch: int = 500) -> Iterator[list[BulkAnswer]]:
        """What became of its lines, in no order, in batches; a line may be missing, or come twice.

        Errors as those of BulkReader.lines; of an operation that is not `completed` there are some answers or none.
        """


@dataclass(frozen=True, slots=True)
class BulkLine:
    """The next write of one user's action that goes by bulk; each user has one at most in a shop.

    `decision` (JSON, without its spec) is what it rests on, `position` says which of its calls is next, `customer` whom it
    is on once that is known. It stands on line `number` of `file`; None: it waits for one. `tries`: files it has been in.
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


@dataclass(frozen=True, slots=True)
class BulkFile:
    """A file that lies ready or runs. `key` marks its operation; `operation` is None until the shop has told its id."""

    key: str
    shop: ShopDomain
    rides_in: str
    path: str
    digest: str
    lines: int
    begun_at: datetime
    operation: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Who lost a customer by a row, as with MappingWriter, and whose row was left as somebody else has written it."""

    losers: tuple[ClerkUserId, ...] = ()
    overtaken: frozenset[ClerkUserId] = frozenset()


class BulkRepository(Protocol):
    """What goes by bulk, written down before it is done, so that whoever finds a killed run goes on from there.

    Each call is one transaction.
    """

    def bulk_files(self, shop: ShopDomain) -> list[BulkFile]:
        """Those that have not been read to their end, oldest first."""

    def bulk_waiting(self, shop: ShopDomain) -> dict[str, int]:
        """How many lines wait for a file, by what they ride in."""

    def bulk_left(self, shop: ShopDomain) -> int:
        """How many lines of all files have not been settled yet."""

    def enqueue_lines(self, shop: ShopDomain, lines: Sequence[BulkLine]) -> None:
        """Lines that wait for a file; a user's older one is replaced."""

    def next_lines(
        self, shop: ShopDomain, rides_in: str, *, limit: int, after: ClerkUserId | None = None
    ) -> list[BulkLine]:
        """The first of those that wait, by user; or the first behind a user."""

    def begin_file(self, file: BulkFile, numbers: MappingOf[ClerkUserId, int]) -> None:
        """The file lies ready and holds these users' lines: to be written down before it is run."""

    def note_operation(self, file: BulkFile, operation: str) -> None:
        """The shop has told its operation's id."""

    def file_lines(
        self, file: BulkFile, *, numbers: Collection[int] | None = None, limit: int | None = None
    ) -> list[BulkLine]:
        """Its lines that are not settled yet, in their order: these of them, or the first."""

    def settle_lines(
        self, shop: ShopDomain, rows: Sequence[Mapping], events: Sequence[Event], *,
        done: Collection[ClerkUserId] = (), more: Sequence[BulkLine] = (),
        before: MappingOf[ClerkUserId, Mapping | None] | None = None,
    ) -> Settled:  # fmt: skip
        """Together: rows of the mapping table, what happened, whose lines are done, and whose next write waits now.

        `before`: the rows as they were read. One that somebody has written since is left as it is, with her line.
        """

    def end_file(self, file: BulkFile) -> None:
        """Forget the file; what is left of its lines waits again."""

    def unsent_lines(self, shop: ShopDomain, *, limit: int) -> list[BulkLine]:
        """The first lines, by user, that wait for a file and whose first write is still to be sent."""
