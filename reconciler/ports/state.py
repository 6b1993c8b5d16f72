"""What the state keeps of users and stores: mappings, events, budgets, leases, the book of looks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What is remembered of a store between runs.

    `failing_what`: a kind of work that the shop fails while it lets us in: `full`, `changes` or `requests`.
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
    """What a mapped user's profile row was at the last look: its fingerprint, where one is kept, and its digest."""

    user: ClerkUserId
    fp: int | None
    digest: str


class LivingReader(Protocol):
    """Who is mapped, by name alone."""

    def mapped_users(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[ClerkUserId]:
        """The next users whose mapping is no tombstone, in key order."""


class MappingReader(LivingReader, Protocol):
    """The mapping table. Keys carry the shop, never the store's name, so that a store may be renamed."""

    def get(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Mapping]: ...

    def mapped_users_before(self, shop: ShopDomain, user: ClerkUserId, *, limit: int) -> list[ClerkUserId]:
        """The users before this one whose mapping is no tombstone: the nearest, in key order."""

    def seen_rows(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[SeenRow]:
        """Of the next users whose mapping is no tombstone, in key order, what their row was at the last look."""

    def waiting(self, store: StoreName, shop: ShopDomain, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        """Which of these users have a request in the queue, or were found by a scan that goes on."""

    def owners(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, ClerkUserId]:
        """Whose these customers are by our mappings, released ones among them; nobody's are left out."""

    def by_emails(self, shop: ShopDomain, emails: Collection[str]) -> dict[str, tuple[ClerkUserId, ...]]:
        """Users with a customer whose mapping holds this address (email_key form)."""

    def waiting_for(self, shop: ShopDomain, keys: Collection[str]) -> tuple[ClerkUserId, ...]:
        """Users whose mapping waits for one of these e-mails (email_key form) or phones (phone_key form); sorted."""

    def waiting_at(self, shop: ShopDomain, customers: Collection[CustomerId]) -> tuple[ClerkUserId, ...]:
        """Users whose mapping waits for a value that one of these customers has; sorted."""

    def scan(self, shop: ShopDomain, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Mapping]]:
        """All mappings of the shop in key order (code points), in chunks."""

    def absent_users(self, shop: ShopDomain, *, limit: int) -> list[ClerkUserId]:
        """Users whose row was missing at the last look (`absent_since`), in key order."""

    def count(self, shop: ShopDomain, *, at_most: int | None = None) -> int:
        """Mappings with a customer that are not released or erased: what `percent` of a guard is taken of.

        Not counted beyond `at_most`, so that a question about few costs no look at all of them.
        """

    def tally(self, shop: ShopDomain) -> dict[tuple[str, str | None], int]:
        """How many rows have each (status, reason)."""

    def facts(self, shop: ShopDomain) -> StoreFacts | None: ...

    def events(
        self,
        *,
        user: ClerkUserId | None = None,
        shop: ShopDomain | None = None,
        since: datetime | None = None,
        plan_digest: str | None = None,
        limit: int = 1000,
    ) -> list[Event]:
        """The newest `limit` of them, oldest first; those of one moment in the order they were written."""


class MappingWriter(Protocol):
    """Each call is one transaction, durable when it returns.

    A customer is one user's at most. What is written last holds: where a row is written with a customer that another
    user's row holds (a back-link was followed), that row loses the customer in the same transaction, with the e-mail
    and what was agreed on there; `pending` unless it is a tombstone. Those users are the answer: they need a look.
    """

    def put(self, mapping: Mapping, *events: Event) -> tuple[ClerkUserId, ...]:
        """Insert or replace the row of (shop, user), and record what happened, together. Gives who lost a customer."""

    def put_many(self, mappings: Sequence[Mapping]) -> tuple[ClerkUserId, ...]:
        """The same for many rows at once, in which customers may have changed hands in a circle.

        StateError where two of the rows name the same customer, or the same user twice in one shop.
        """

    def put_unchanged(self, decided: Sequence[tuple[Mapping | None, Mapping]]) -> tuple[ClerkUserId, ...]:
        """put_many of (as it was read, as it should be) for rows that nobody wrote since: others are left as they are."""

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None: ...

    def put_facts(self, facts: StoreFacts) -> None: ...


class ClaimedWriter(MappingWriter, Protocol):
    """A MappingWriter under one claim: LeaseLost, and nothing written, where the claim no longer holds."""

    losers: set[ClerkUserId]
    """Who lost a customer by these writes so far."""


class State(MappingReader, MappingWriter, Protocol):
    """Both halves."""


class Budgets(Protocol):
    """What the guards have let pass in a store in an hour, shared by all processes."""

    def spend(self, shop: ShopDomain, kind: str, hour: datetime, count: int, ceiling: int) -> int:
        """How many of `count` may pass without the hour's sum rising above `ceiling`; those are booked at once."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, in words, and for how many seconds at least unless it is given back."""

    where: str
    left_s: float


class Leases(Protocol):
    """Who does what only one process may do, by a lease that runs out.

    Each taking has a fencing number higher than all before it, so that work of a holder who was frozen can be told. A
    holder whose process has provably ended, on the machine of whoever asks, holds nothing.
    """

    def new_holder(self) -> str:
        """A name for one holder in this process: the `owner` of the calls below."""

    def holder(self, name: str, *, now: datetime) -> Holder | None:
        """Who holds it now; None where it is free."""

    def acquire(self, name: str, owner: str, *, ttl_s: float, now: datetime) -> int | None:
        """The fencing number where the lease was free or has run out; None where another holds it.

        For who holds it already: the number she has, and the lease anew.
        """

    def renew(self, name: str, owner: str, fence: int, *, ttl_s: float, now: datetime) -> bool:
        """Hold on to it; False where it is not hers by this number any more: she must stop."""

    def release_lease(self, name: str, owner: str, fence: int, *, now: datetime) -> None:
        """Give it back at once; nothing where it is not hers any more."""


@dataclass(frozen=True, slots=True)
class ScanMark:
    """Where a look at a whole store stands. `cursor`: the last user looked at (None: none yet).

    It goes on while `finished_at` is None. `watermark` is when the last finished look of this kind began: the next one
    reads what changed since. `total` is how many rows there are to look at, as far as is known. `counted` are users whose
    row had changed without its `updated_at`. The cursor of a finished one is where the next begins.
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
    """Where looks at whole stores are written down chunk by chunk, so that a killed one goes on where it was.

    One row a (shop, kind of look); findings are users for whom something is to be done, by the kind of it.
    """

    def mark(self, shop: ShopDomain, kind: str) -> ScanMark | None:
        """The last or running look of this kind."""

    def begin(self, shop: ShopDomain, kind: str, *, now: datetime, total: int | None = None) -> ScanMark:
        """Go on with an unfinished look, or begin a new one without findings, at `total` rows, from where the last ended."""

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
        """One more chunk: where it ended, how many rows it had, and what was found; together."""

    def totals(self, shop: ShopDomain, kind: str) -> dict[str, int]:
        """How many findings there are of each kind of action."""

    def findings(self, shop: ShopDomain, kind: str, action: str, *, chunk: int = 500) -> Iterator[list[ClerkUserId]]:
        """The users for whom this is to be done, in key order."""

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
        """The look is done; its findings go."""
