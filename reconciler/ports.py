"""What the controller needs of the outside, in the core's words.

Readers change nothing; writers are handed out only to apply.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from reconciler.core.customer import Customer
from reconciler.core.event import Event
from reconciler.core.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.mapping import Mapping
from reconciler.core.profile import Profile
from reconciler.core.request import Claim, Outcome, Priority, Request, Waiting
from reconciler.errors import ReconcilerError

Source = Literal["bulk", "list", "webhook", "read"]


METAFIELDS_MAX = 25  # in one call, whoever they belong to


class Clock(Protocol):
    """The time, aware and UTC."""

    def now(self) -> datetime: ...


class ProfileReader(Protocol):
    """The profiles. All errors are SourceError; a row that can't be understood comes as a Profile with problems."""

    def check(self) -> tuple[str, ...]:
        """Raise SourceError if the table can't be seen in full: missing table or column, RLS without a policy.

        The answer is what is odd without being wrong, a line each, to be told: rows that name no user.
        """

    def count(self) -> int:
        """How many rows there are that name a user, the deleted ones among them."""

    def scan(self, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Profile]]:
        """All rows in key order (code-point order of the key), in chunks; memory does not grow with the table.

        One snapshot from first to last. A user whose key stands on several rows comes once, with a problem
        in every field. What fails on the way is a SourceError, never a shortened scan.
        """

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        """The rows of these users; who is not there is left out."""

    def changed_since(self, at: datetime, *, overlap_s: float, chunk: int = 1000) -> Iterator[list[Profile]]:
        """Rows whose `updated_at` is not before `at` less the overlap, in key order; all rows where it is not mapped.

        A row whose `updated_at` is null or can't be read always comes. Rows are committed later than they are stamped,
        so the overlap must be longer than the longest write. Rows that went away are told by `vanished`.
        """

    def vanished(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        """Those of these users who have no row (any more)."""

    def sharing_email(self, emails: Collection[str] | None = None) -> list[Profile]:
        """Rows not deleted whose e-mail (normalise.email_key) is among `emails`.

        None: all rows that share theirs with another row.
        """


class RowChunk(Protocol):
    """Raw rows of the profiles in key order, rows of one key in one chunk. Whole-shop loops compare fingerprints only."""

    def fingerprints(self) -> MappingOf[ClerkUserId, int | None]:
        """By key, in key order (core/fingerprint.py), of all but `updated_at`; None where a key is on several rows."""

    def odd(self) -> list[Profile]:
        """Rows whose key is no text at all: they are in no fingerprints, and can't be asked for by name."""

    def profiles(self, users: Collection[ClerkUserId] | None = None) -> Iterator[tuple[Profile, int | None]]:
        """The same rows (of these users, if any are named) as Profile objects, one a key, each with its fingerprint."""


@runtime_checkable
class RowReader(Protocol):
    """The profiles as raw rows: what a Profile costs is paid only for rows that have moved. Errors as ProfileReader's.

    A ProfileReader may be one too; one that hides rows is none, and is then read as Profiles.
    """

    def scan_rows(self, *, chunk: int = 4000, after: ClerkUserId | None = None) -> Iterator[RowChunk]:
        """All rows in key order, from one snapshot; memory does not grow with the table."""

    def rows_of(self, users: Collection[ClerkUserId]) -> RowChunk:
        """The rows of these users; who is not there is left out."""


@dataclass(frozen=True, slots=True)
class MergePreview:
    """Who would be left (None: can't be said), and Shopify's own words for what forbids the merge (empty: nothing)."""

    winner: CustomerId | None
    blockers: tuple[str, ...] = ()


class CustomerReader(Protocol):
    """The customers of one shop, by point reads only: they never lag. Absent ones are left out of the answer."""

    def by_ids(self, ids: Collection[CustomerId]) -> dict[CustomerId, Customer]: ...

    def by_backlinks(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Customer]: ...

    def by_emails(self, emails: Collection[str]) -> dict[str, Customer]:
        """Keyed by the e-mail as it was asked for."""

    def by_phones(self, phones: Collection[str]) -> dict[str, Customer]: ...

    def merge_preview(self, one: CustomerId, other: CustomerId) -> MergePreview:
        """What merging these two would do, and what stands in its way; changes nothing."""

    def restore_rate(self) -> float:
        """Points a second that the shop gives back, as last seen in a reply (100 before the first)."""


class CustomerWriter(Protocol):
    """Writes to one shop, in our field names. Refused: Shopify said no; AnswerLost: look before sending again."""

    def create(self, user: ClerkUserId, fields: MappingOf[str, Any]) -> CustomerId:
        """CustomerSet by back-link: creates the customer and the back-link in one idempotent step."""

    def update(self, customer: CustomerId, fields: MappingOf[str, Any]) -> None:
        """Set only these of email, first_name, last_name, phone, locale, note; None clears."""

    def add_tags(self, customer: CustomerId, tags: Sequence[str]) -> None: ...

    def remove_tags(self, customer: CustomerId, tags: Sequence[str]) -> None: ...

    def set_metafields(self, customer: CustomerId, values: MappingOf[str, tuple[str, str]]) -> None:
        """`NAMESPACE.KEY` to (value, type), all in one call."""

    def set_metafields_of(self, values: MappingOf[CustomerId, MappingOf[str, tuple[str, str]]]) -> None:
        """The same for several customers in one call, METAFIELDS_MAX values at most: all of it, or Refused and nothing."""

    def delete_metafields(self, customer: CustomerId, names: Sequence[str]) -> None: ...

    def link(self, customer: CustomerId, user: ClerkUserId) -> None:
        """Write the back-link where there is none (compare-and-set); else Refused STALE_OBJECT or TAKEN."""

    def unlink(self, customer: CustomerId) -> None:
        """Take the back-link off."""

    def merge(self, one: CustomerId, other: CustomerId, *, keep_email_of: CustomerId) -> CustomerId:
        """Merge for good, wait for Shopify's job to end, and give the one that is left, as its answer names it.

        Refused MERGE_FAILED where the job fails; AnswerLost where its end is not known.
        """

    def delete(self, customer: CustomerId) -> None: ...

    def request_erasure(self, customer: CustomerId) -> None: ...


@dataclass(frozen=True, slots=True)
class Definition:
    """A metafield definition of customers as the shop has it. `unique`: two customers can't carry one value."""

    id: str
    namespace: str
    key: str
    type: str
    unique: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook subscription of this app: the topic as in Shopify's enum, and where it goes."""

    id: str
    topic: str
    uri: str


@dataclass(frozen=True, slots=True)
class ShopFacts:
    """What a shop says of itself and of our app. `api_version` is the one that really answered."""

    name: str
    domain: ShopDomain
    scopes: frozenset[str]
    api_version: str
    supported_versions: tuple[str, ...]
    restore_rate: float
    server_time: datetime | None


class ShopReader(Protocol):
    """What `doctor` and `bootstrap` look at; changes nothing."""

    def facts(self) -> ShopFacts: ...

    def definition(self, namespace: str, key: str) -> Definition | None: ...

    def subscriptions(self) -> tuple[Subscription, ...]: ...


class ShopMaker(Protocol):
    """What `bootstrap` makes. Doing it twice does no harm: what is there already is success."""

    def create_definition(self, namespace: str, key: str) -> None:
        """The back-link's definition: owner CUSTOMER, type `id`, pinned unless Shopify's limit of pins is reached."""

    def subscribe(self, topic: str, uri: str) -> None: ...

    def unsubscribe(self, subscription: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What is remembered of a store between runs."""

    store: StoreName
    shop: ShopDomain
    profiles: int | None = None
    last_sweep_at: datetime | None = None
    suspended_at: datetime | None = None
    suspended_reason: str | None = None


class MappingReader(Protocol):
    """The mapping table. Keys carry the shop, never the store's name, so that a store may be renamed."""

    def get(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Mapping]: ...

    def owners(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, ClerkUserId]:
        """Whose these customers are by our mappings, released ones among them; nobody's are left out."""

    def by_emails(self, shop: ShopDomain, emails: Collection[str]) -> dict[str, tuple[ClerkUserId, ...]]:
        """Users with a customer whose mapping holds this address (email_key form)."""

    def waiting_for(self, shop: ShopDomain, emails: Collection[str]) -> dict[str, tuple[ClerkUserId, ...]]:
        """Users whose mapping waits for one of these addresses (email_key form) to become free; sorted."""

    def scan(self, shop: ShopDomain, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Mapping]]:
        """All mappings of the shop in key order (code points), in chunks."""

    def count(self, shop: ShopDomain) -> int:
        """Mappings with a customer that are not released or erased: what `percent` of a guard is taken of."""

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

    def put_unmoved(self, looked: Sequence[tuple[Mapping | None, Mapping]]) -> tuple[ClerkUserId, ...]:
        """put_many of (as it was read, as it should be) for rows that nobody wrote since: others are left as they are."""

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None: ...

    def put_facts(self, facts: StoreFacts) -> None: ...


class State(MappingReader, MappingWriter, Protocol):
    """Both halves."""


class Seen(NamedTuple):
    """One customer as a shop showed her: what the mirror keeps. `values` is compact JSON in our names.

    `fp` is core/fingerprint.py's; None where something was not shown to us.
    """

    customer_id: CustomerId
    email_key: str | None
    backlink: str | None
    fp: int | None
    values: str
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class MirrorMark:
    """How a shop's mirror stands. `operation` is the bulk query that fills it now (None: none), `lines` are stored of it.

    `complete_at` is when the last bulk query that was read to its end began: every customer of that time is in the
    mirror, and everybody in it was there. `listed_at` is when the last look at what changed since then began.
    """

    operation: str | None = None
    began_at: datetime | None = None
    lines: int = 0
    expected: int | None = None
    complete_at: datetime | None = None
    listed_at: datetime | None = None


Pair = tuple[ClerkUserId, int | None]
"""A mapping's user, and the fingerprint of her row if the pair is equal as far as the mirror goes."""


class PairReader(Protocol):
    """Mappings and mirror side by side, a range of keys at a time. Equal: in_sync under this policy, its customer unmoved.

    A range is everything above `after` (None: from the first) up to `upto` (None: to the last).
    """

    def pairs(
        self, shop: ShopDomain, config_fp: int, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[Pair]:
        """The first `limit` of the range that are no tombstones, in key order."""

    def living(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[ClerkUserId]:
        """The next users whose mapping is no tombstone, in key order."""


class Mirror(PairReader, Protocol):
    """Our copy of what a shop showed last. It lags: never the last word before a write, and never a proof of absence.

    `as_of` is when the shop was asked. What is older than what is there changes nothing; a customer that is gone comes
    back only by something seen later.
    """

    def mirror_mark(self, shop: ShopDomain) -> MirrorMark:
        """How it stands; an empty mark where there is none."""

    def begin_mirror(self, shop: ShopDomain, operation: str, *, now: datetime, expected: int | None) -> MirrorMark:
        """A bulk query was started: its lines come now, from the first."""

    def put_seen(
        self,
        shop: ShopDomain,
        seen: Sequence[Seen],
        *,
        as_of: datetime,
        now: datetime,
        source: Source,
        lines: int | None = None,
    ) -> int:
        """Keep these; how many were new or had moved. `lines`: so many of the bulk query's are stored now, in one go."""

    def end_mirror(self, shop: ShopDomain, *, complete: bool, now: datetime) -> int:
        """The bulk query is read. Where it was complete, whom it did not show is gone: how many."""

    def touch(self, shop: ShopDomain, customers: Collection[CustomerId], *, now: datetime, gone: bool) -> None:
        """A webhook named these: what is kept of them holds no more until they are seen again; or they are gone."""

    def listed(self, shop: ShopDomain, at: datetime) -> None:
        """What changed up to this time is in."""

    def moved_since(self, shop: ShopDomain, at: datetime) -> Iterator[list[ClerkUserId]]:
        """Users whose customer's row has moved since then and is not what they were found equal with."""

    def mirrored(self, shop: ShopDomain) -> int:
        """How many customers there are in the mirror, the gone ones left out."""


class Budgets(Protocol):
    """What the guards have let pass in a store in an hour, shared by all processes."""

    def spend(self, shop: ShopDomain, kind: str, hour: datetime, count: int, ceiling: int) -> int:
        """How many of `count` may pass without the hour's sum rising above `ceiling`; those are booked at once."""


class Leases(Protocol):
    """Who does what only one process may do, by a lease that runs out.

    Each taking has a fencing number higher than all before it, so that work of a holder who was frozen can be told.
    """

    def acquire(self, name: str, owner: str, *, ttl_s: float, now: datetime) -> int | None:
        """The fencing number where the lease was free or has run out; None where another holds it.

        For who holds it already: the number she has, and the lease anew.
        """

    def renew(self, name: str, owner: str, fence: int, *, ttl_s: float, now: datetime) -> bool:
        """Hold on to it; False where it is not hers by this number any more: she must stop."""

    def release_lease(self, name: str, owner: str, fence: int, *, now: datetime) -> None:
        """Give it back at once; nothing where it is not hers any more."""


class RequestQueue(Protocol):
    """The requests, one row a key, with a workqueue's promises. Safe to share by threads, and by processes on Postgres.

    A key is in it once, never worked on twice at once, and looked at once more where it was added while worked on.
    A holder whose lease has run out may be taken over at once; by its claim's `fencing` all its late calls are void.
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
        """Ask for a look at each, now or at `due_at`; gives how many requests that changed.

        One look for many adds; a nudge cuts a backoff short, a resync doesn't. A delayed add is answered by a look that
        begins at its time or later, whatever looks come before; of several delayed adds by the earliest's.
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
        """A resync: a look at each of any number of users, due at once, overtaken by nudges, all within the interval.

        Written in chunks, so that a million keys never stall a nudge; broken off in the middle, it may be repeated.
        """

    def claim(
        self, owner: str, now: datetime, *, limit: int, lease_s: float, stores: MappingOf[StoreName, int]
    ) -> list[Claim]:
        """Take up to `limit` requests that are due, the oldest by rank first, for `lease_s`.

        Only of `stores`, and so many of each that this owner has at most that number of it in hand: a store that is
        suspended is left out, and a slow one never takes all workers.
        """

    def done(self, claims: Collection[Claim], now: datetime) -> tuple[Outcome, ...]:
        """Looked at: what became of each: `done` (gone from the queue), `again` (asked for meanwhile), `lost`."""

    def retry(self, claim: Claim, now: datetime, *, delay_s: float, reason: str) -> bool:
        """The look failed: another after the delay, or as soon as asked for; one attempt more. False: no longer ours."""

    def later(self, claim: Claim, due_at: datetime, *, reason: str) -> bool:
        """The look did not fail, but must be repeated then: counts no attempt. False: no longer ours."""

    def release(self, claims: Collection[Claim]) -> None:
        """Hand back what was not looked at (on SIGTERM): others may take it at once."""

    def renew(self, claims: Collection[Claim], now: datetime, *, lease_s: float) -> tuple[Claim, ...]:
        """Hold on to these for `lease_s` from now; gives those that are no longer ours: their work must stop."""

    def still_mine(self, claim: Claim) -> bool:
        """Whether nobody has taken it over: to be asked before a write that no transaction can fence."""

    def depth(self, store: StoreName | None = None) -> int:
        """How many requests there are, delayed ones and those in hand among them."""

    def oldest_age_s(self, now: datetime, stores: Collection[StoreName]) -> float:
        """How long the request that has been due longest in these stores has been so, in hand or not; 0 without one."""

    def tally(self, now: datetime) -> dict[StoreName, Waiting]:
        """How the requests of each store stand; reads the whole table."""

    def forget(self, store: StoreName) -> int:
        """Drop all requests of a store that is no more; gives how many."""


@dataclass(frozen=True, slots=True)
class SweepMark:
    """Where a look at a whole store stands. `cursor`: the last user looked at (None: none yet).

    It goes on while `finished_at` is None. `watermark` is when the last finished look of this kind began: the next one
    reads what changed since. `total` is how many rows there are to look at, as far as is known. `rows` is how many
    profiles there were at the end of the last finished look at changes, the new ones of `counted` among them; of a full
    look `counted` are users whose row had changed without its `updated_at`.
    """

    started_at: datetime
    cursor: ClerkUserId | None
    finished_at: datetime | None
    watermark: datetime | None
    looked_at: int = 0
    wanted: int = 0
    total: int | None = None
    rows: int | None = None
    counted: tuple[ClerkUserId, ...] = ()


class SweepBook(Protocol):
    """Where looks at whole stores are written down chunk by chunk, so that a killed one goes on where it was.

    One row a (shop, kind of look); findings are users for whom something is to be done, by the kind of it.
    """

    def mark(self, shop: ShopDomain, kind: str) -> SweepMark | None:
        """The last or running look of this kind."""

    def begin(self, shop: ShopDomain, kind: str, *, now: datetime, total: int | None = None) -> SweepMark:
        """Go on with an unfinished look, or begin a new one without findings, at `total` rows."""

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
        rows: int | None = None,
        counted: Sequence[ClerkUserId] = (),
    ) -> None:
        """The look is done; its findings go."""


class CustomerLists(Protocol):
    """Customers as lists and bulk queries show them: the search index lags, so that this is a hint and never a proof."""

    def seen_in(self, lines: Iterable[bytes]) -> list[Seen]:
        """A bulk query's lines as what the mirror keeps; PermanentError for a line that is no customer."""

    def touched_since(self, at: datetime) -> Iterator[list[CustomerId]]:
        """Who was touched at this time or later, as far as the index knows; says nothing of those who are gone.

        PermanentError where they are more than a list may show: then a bulk query is due.
        """

    def count(self) -> int | None:
        """How many customers the shop has; None where it can't be said exactly."""


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


WriteKind = Literal["create", "update", "add_tags", "remove_tags", "set_metafields", "delete_metafields"]


@dataclass(frozen=True, slots=True)
class Write:
    """One call of a CustomerWriter as a value: on whom (a user for `create`, else a customer), and its last argument."""

    kind: WriteKind
    target: str
    values: Any

    @property
    def rides_in(self) -> str:
        """Writes that share a file: creates and updates are the same mutation, the rest go with their own kind."""
        return "customers" if self.kind in {"create", "update"} else self.kind


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that lies ready for a bulk mutation: where, the digest of what it holds, and how many lines went in."""

    path: str
    digest: str
    lines: int


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """What became of one line of a file, counted from 0: `error`, or done; `customer` where a customer was written."""

    line: int
    customer: CustomerId | None = None
    error: ReconcilerError | None = None


class BulkWriter(Protocol):
    """Writes to one shop by bulk mutations: they draw no points while they run, in no order, and end after minutes."""

    def upload(self, rides_in: str, lines: Iterable[Sequence[Write]]) -> Upload:
        """Hand over a file, a line an item, as many as one file may hold. TemporaryError: nothing came of it.

        Several writes make one line only where they set metafields, 25 at most in all.
        """

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


class BulkBook(Protocol):
    """What goes by bulk, written down before it is done, so that whoever finds a killed run goes on from there.

    Each call is one transaction.
    """

    def bulk_files(self, shop: ShopDomain) -> list[BulkFile]:
        """Those that have not been read to their end, oldest first."""

    def bulk_waiting(self, shop: ShopDomain) -> dict[str, int]:
        """How many lines wait for a file, by what they ride in."""

    def enqueue_lines(self, shop: ShopDomain, lines: Sequence[BulkLine]) -> None:
        """Lines that wait for a file; a user's older one is replaced."""

    def next_lines(self, shop: ShopDomain, rides_in: str, *, limit: int) -> list[BulkLine]:
        """The first of those that wait, by user."""

    def begin_file(self, file: BulkFile, numbers: MappingOf[ClerkUserId, int]) -> None:
        """The file lies ready and holds these users' lines: to be written down before it is run."""

    def file_runs(self, file: BulkFile, operation: str) -> None:
        """The shop has told its operation's id."""

    def file_lines(
        self, file: BulkFile, *, numbers: Collection[int] | None = None, limit: int | None = None
    ) -> list[BulkLine]:
        """Its lines that are not settled yet, in their order: these of them, or the first."""

    def settle_lines(
        self, shop: ShopDomain, rows: Sequence[Mapping], events: Sequence[Event], *,
        done: Collection[ClerkUserId] = (), more: Sequence[BulkLine] = (),
    ) -> None:  # fmt: skip
        """Together: rows of the mapping table, what happened, whose lines are done, and whose next write waits now."""

    def end_file(self, file: BulkFile) -> None:
        """Forget the file; what is left of its lines waits again."""

    def drop_unsent(self, shop: ShopDomain) -> int:
        """Forget lines whose first write has not been sent: a new plan finds those users again. Gives how many."""
