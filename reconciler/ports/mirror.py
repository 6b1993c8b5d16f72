"""The mirror: our copy of a shop's customers as last observed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.ports.state import LivingReader

Source = Literal["bulk", "list", "webhook", "read"]


class Seen(NamedTuple):
    """One observed customer, as stored in the mirror. `values` is compact JSON with our field names.

    `fp` is the fingerprint of core/fields/fingerprint.py; None where Shopify did not return a field.
    """

    customer_id: CustomerId
    email_key: str | None
    backlink: str | None
    fp: int | None
    values: str
    updated_at: datetime | None
    phone_key: str | None = None


@frozen
class MirrorMark:
    """The state of a shop's mirror. `operation` is the bulk query that fills it (None: none), `lines` are stored of it.

    `complete_at` is the start of the last bulk query that was read completely: the mirror holds exactly the customers of
    that time. `listed_at` is the start of the last listing of later changes. `shape` names the metafields of that bulk
    query, `begun_shape` those of the running one.
    """

    operation: str | None = None
    began_at: datetime | None = None
    lines: int = 0
    expected: int | None = None
    complete_at: datetime | None = None
    listed_at: datetime | None = None
    shape: str | None = None
    begun_shape: str | None = None


Touched = tuple[CustomerId, datetime]
"""A customer, and the time of its last change or of its creation."""


@frozen
class Known:
    """A customer as last observed: its values as JSON (`values_json`), and their fingerprint."""

    values: str
    fp: int
    updated_at: datetime | None


Pair = tuple[ClerkUserId, int | None]
"""A mapping's user, and the fingerprint of the profile row if the pair is equal according to the mirror."""


class RangeReader(LivingReader, Protocol):
    """Mappings by ranges of keys, each with the fingerprint of the row that it was found equal with, or None.

    `config` is the policy's digest. A range is everything above `after` (None: from the first) up to `upto` (None: to
    the last).
    """

    def pairs(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[Pair]:
        """The first `limit` pairs of the range in key order, without tombstones."""


@runtime_checkable
class PairReader(RangeReader, Protocol):
    """Mappings joined with the mirror. Equal: in sync under this policy, with an unchanged customer."""

    def sums(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None
    ) -> tuple[int, int, int]:
        """Of the whole range: the count without tombstones, the count of equal ones, and the sum of their fingerprints."""


class KnownReader(Protocol):
    """Reads of single customers in the mirror, without deleted ones and those that have changed since."""

    def is_whole(self, shop: ShopDomain) -> bool:
        """Whether the mirror knows the present values of all customers. Only then does absence prove anything. O(n)."""

    def known(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, Known]: ...

    def known_backlinks(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> set[ClerkUserId]:
        """Those of these users that a customer's back-link names."""

    def known_emails(self, shop: ShopDomain, keys: Collection[str]) -> set[str]:
        """Those of these emails (normalise.email_key) that a customer has."""

    def known_phones(self, shop: ShopDomain, keys: Collection[str]) -> set[str]:
        """Those of these phones (normalise.phone_key) that a customer has."""


class Mirror(PairReader, KnownReader, Protocol):
    """The mirror of a shop. It lags: before a write that is not idempotent by its key, observe the shop itself.

    `as_of` is the time of the request to the shop. Older values do not replace newer ones; a deleted customer returns
    only with a later observation.
    """

    def mirror_mark(self, shop: ShopDomain) -> MirrorMark:
        """The state of the mirror; an empty mark without a mirror."""

    def begin_mirror(
        self, shop: ShopDomain, operation: str, *, now: datetime, expected: int | None, shape: str = ""
    ) -> MirrorMark:
        """Record the start of a bulk query for metafields of this shape; its lines follow from the first."""

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
        """Store these customers; return how many are new or changed. `lines`: the stored lines of the bulk query so far."""

    def end_mirror(self, shop: ShopDomain, *, complete: bool, now: datetime) -> int:
        """Record the end of the bulk query. If complete, mark missing customers as deleted; return their count."""

    def touch(self, shop: ShopDomain, customers: Collection[CustomerId], *, now: datetime, gone: bool) -> None:
        """Mark customers of a webhook as deleted (`gone`), or as changed until the next observation."""

    def customers_to_read(self, shop: ShopDomain, touched: Collection[Touched]) -> list[CustomerId]:
        """The customers that may have changed since the last observation: unknown, deleted, marked, or older.

        A shop's times are whole seconds of another clock, so an observation within seconds of a change does not count.
        """

    def mark_listed(self, shop: ShopDomain, at: datetime) -> None:
        """Record that all changes up to this time are in the mirror."""

    def moves_since(self, shop: ShopDomain, at: datetime) -> Iterator[list[ClerkUserId]]:
        """Users with a customer that has changed since, and is not the one that was found equal."""

    def mirror_size(self, shop: ShopDomain) -> int:
        """The count of customers in the mirror, without deleted ones."""
