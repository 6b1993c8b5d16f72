"""The state's records of users and stores: mappings, events, budgets, leases and scans."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import NamedTuple, Protocol

from reconciler.core.model.event import Event
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping


@frozen
class StoreFacts:
    """The stored facts of a store.

    `failing_what`: the kind of work that the shop fails while it grants access: `full`, `changes` or `requests`.
    """

    store: StoreName
    shop: ShopDomain
    profiles: int | None = None
    last_sweep_at: datetime | None = None
    suspended_at: datetime | None = None
    suspended_reason: str | None = None
    failing_what: str | None = None
    failing_reason: str | None = None
    failing_since: datetime | None = None


class SeenRow(NamedTuple):
    """A mapped user's profile row when it was last read: its fingerprint, if stored, and its digest."""

    user: ClerkUserId
    fp: int | None
    digest: str


FoundEqual = tuple[ClerkUserId, int | None, CustomerId | None, int | None]
"""A user in sync under this policy: the fingerprint of the row, the customer, and its fingerprint, when both were last found
equal. The first fingerprint is None where they were not, or under another policy."""


class LivingReader(Protocol):
    """Reads the ids of mapped users."""

    def mapped_users(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[ClerkUserId]:
        """The next users with a mapping that is not a tombstone, in key order."""


class MappingReader(LivingReader, Protocol):
    """Reads the mapping table. Keys contain the shop, not the store's name, so that a store may be renamed."""

    def get(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Mapping]: ...

    def mapped_users_before(self, shop: ShopDomain, user: ClerkUserId, *, limit: int) -> list[ClerkUserId]:
        """The nearest users before this one with a mapping that is not a tombstone, in key order."""

    def found_equal(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[FoundEqual]:
        """The first `limit` users of the range (see PairReader) in key order, without tombstones: what was found equal."""

    def seen_rows(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[SeenRow]:
        """The last read rows of the next users with a mapping that is not a tombstone, in key order."""

    def waiting(self, store: StoreName, shop: ShopDomain, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        """Those of these users with a request in the queue, or found by a running scan."""

    def owners(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, ClerkUserId]:
        """The users of these customers by our mappings, including released users; unmapped customers are left out."""

    def first_mapped(self, shop: ShopDomain, users: Sequence[ClerkUserId], *, limit: int) -> frozenset[ClerkUserId]:
        """The first `limit` of these users who have a customer by our mappings and have not left.

        Their rows are not read whole: thousands may claim one email.
        """

    def by_emails(self, shop: ShopDomain, emails: Collection[str]) -> dict[str, tuple[ClerkUserId, ...]]:
        """The users by the email in their mapping (email_key form), also those who left or lost their customer."""

    def waiting_for(
        self, shop: ShopDomain, keys: Collection[str] = (), customers: Collection[CustomerId] = ()
    ) -> tuple[ClerkUserId, ...]:
        """The users who wait for one of these emails (email_key form) or phones (phone_key form), or for a value of one of
        these customers; sorted.

        Of more than 20 who wait for one value, those who may get it when it becomes free. Of a phone these are the first
        20. No one gets an email while several claim it: then it is the only one with a customer, or none. Who ceases to
        claim it asks again.
        """

    def scan(self, shop: ShopDomain, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Mapping]]:
        """All mappings of the shop in key order (code points), in chunks."""

    def absent_users(self, shop: ShopDomain, *, limit: int) -> list[ClerkUserId]:
        """The users with a missing row (`absent_since`), in key order."""

    def count(self, shop: ShopDomain, *, at_most: int | None = None) -> int:
        """The count of mappings with a customer, without tombstones: the base of a guard's `percent`.

        Not counted beyond `at_most`, to save a read of all of them.
        """

    def facts(self, shop: ShopDomain) -> StoreFacts | None: ...

    def events(
        self,
        *,
        user: ClerkUserId | None = None,
        shop: ShopDomain | None = None,
        since: datetime | None = None,
        plan_digest: str | None = None,
        run_id: int | None = None,
        consents: bool = False,
        limit: int = 1000,
    ) -> list[Event]:
        """The newest `limit` events, oldest first; events of one time in the order of writing.

        `consents`: only those that wrote a consent.
        """


class MappingWriter(Protocol):
    """Writes the mapping table. Each call is one transaction, durable when it returns.

    A customer belongs to one user at most, and the last write wins. Another user's row may have the customer of a new row,
    because a back-link was followed. That row loses the customer in the same transaction, with email and last-applied
    fields. It becomes `pending` unless it is a tombstone. Those users are returned: they need a reconcile.
    """

    def put(self, mapping: Mapping, *events: Event) -> tuple[ClerkUserId, ...]:
        """Insert or replace the row of (shop, user) and its events, together; return who lost a customer."""

    def put_many(self, mappings: Sequence[Mapping], *events: Event) -> tuple[ClerkUserId, ...]:
        """Insert or replace many rows and their events together. Customers may have moved in a circle between them.

        StateError if two of the rows have the same customer, or the same user in one shop.
        """

    def put_unchanged(
        self, decided: Sequence[tuple[Mapping | None, Mapping]], *events: Event
    ) -> tuple[ClerkUserId, ...]:
        """Call `put_many` with pairs of (row as read, new row), without rows that were changed since, and their events."""

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None: ...

    def put_facts(self, facts: StoreFacts) -> None: ...


class State(MappingReader, MappingWriter, Protocol):
    """Reads and writes the mapping table."""


class Budgets(Protocol):
    """The actions that guards have allowed in each store and hour, shared by all processes."""

    def spend(self, shop: ShopDomain, kind: str, hour: datetime, count: int, ceiling: int) -> bool:
        """Add `count` to the hour's sum if that stays within `ceiling`, otherwise nothing; return whether it was added."""

    def give_back(self, shop: ShopDomain, kind: str, hour: datetime, count: int) -> None:
        """Subtract what was spent in this hour on actions that did not happen."""


@frozen
class Holder:
    """A description of a lease's holder, and the minimum seconds left unless it is released."""

    where: str
    left_s: float


class Leases(Protocol):
    """Leases for work that only one process may do at a time.

    Each acquisition has a higher fencing token than all before it, which exposes late work of a frozen holder. A lease
    ends with the process of its holder, if that process provably ended on this machine.
    """

    def new_holder(self) -> str:
        """A new name for a holder in this process: the `owner` of the calls below."""

    def holder(self, name: str, *, now: datetime) -> Holder | None:
        """The present holder; None where the lease is free."""

    def acquire(self, name: str, owner: str, *, ttl_s: float, now: datetime) -> int | None:
        """The fencing token, if the lease was free or expired; None where another owner holds it.

        The present owner gets the same token, and the lease is extended.
        """

    def renew(self, name: str, owner: str, fence: int, *, ttl_s: float, now: datetime) -> bool:
        """Extend the lease. False: the owner no longer holds it with this token, and must stop."""

    def release_lease(self, name: str, owner: str, fence: int, *, now: datetime) -> None:
        """Release the lease; no effect if the owner no longer holds it."""


@frozen
class ScanMark:
    """The progress of a scan. `cursor`: the last user scanned (None: none yet).

    It runs while `finished_at` is None. `watermark` is the start of the last finished scan of this kind: the next one
    reads what changed since. `total` is the count of rows to scan, if known. `counted` are users with a row that had
    changed without its `updated_at`. The next scan begins at the cursor of a finished one.
    """

    started_at: datetime
    cursor: ClerkUserId | None
    finished_at: datetime | None
    watermark: datetime | None
    looked_at: int = 0
    wanted: int = 0
    total: int | None = None
    counted: tuple[ClerkUserId, ...] = ()


class ScanRepository(Protocol):
    """Records of scans, chunk by chunk, so that a killed scan can be continued.

    One row for each (shop, kind of scan). Findings are users with an action, by its kind.
    """

    def mark(self, shop: ShopDomain, kind: str) -> ScanMark | None:
        """The last or running scan of this kind."""

    def marks(self, shops: Collection[ShopDomain]) -> dict[tuple[ShopDomain, str], ScanMark]:
        """The last or running scans of these shops, by shop and kind."""

    def begin(self, shop: ShopDomain, kind: str, *, now: datetime, total: int | None = None) -> ScanMark:
        """Continue an unfinished scan, or begin a new one of `total` rows, without findings, where the last one ended."""

    def note(
        self,
        shop: ShopDomain,
        kind: str,
        *,
        cursor: ClerkUserId,
        looked_at: int,
        wanted: int,
        findings: MappingOf[ClerkUserId, str],
    ) -> None:
        """Record a chunk: its last user, its count of rows, and its findings; together."""

    def totals(self, shop: ShopDomain, kind: str) -> dict[str, int]:
        """The count of findings of each kind of action."""

    def findings(self, shop: ShopDomain, kind: str, action: str) -> Iterator[list[ClerkUserId]]:
        """The users with this kind of action, in key order."""

    def finish(
        self,
        shop: ShopDomain,
        kind: str,
        *,
        now: datetime,
        watermark: datetime,
        cursor: ClerkUserId | None = None,
        counted: Sequence[ClerkUserId] = (),
    ) -> None:
        """Finish the scan and delete its findings."""
