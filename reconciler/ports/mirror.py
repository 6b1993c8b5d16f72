"""Our copy of what a shop showed last."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.ports.state import LivingReader

Source = Literal["bulk", "list", "webhook", "read"]


class Seen(NamedTuple):
    """One customer as a shop showed her: what the mirror keeps. `values` is compact JSON in our names.

    `fp` is core/fields/fingerprint.py's; None where something was not shown to us.
    """

    customer_id: CustomerId
    email_key: str | None
    backlink: str | None
    fp: int | None
    values: str
    updated_at: datetime | None
    phone_key: str | None = None


@dataclass(frozen=True, slots=True)
class MirrorMark:
    """How a shop's mirror stands. `operation` is the bulk query that fills it now (None: none), `lines` are stored of it.

    `complete_at` is when the last bulk query that was read to its end began: every customer of that time is in the
    mirror, and everybody in it was there. `listed_at` is when the last look at what changed since then began. `shape`
    names the metafields that were asked for then, `begun_shape` those that are now.
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
"""A customer, and when she was touched, or came."""


@dataclass(frozen=True, slots=True)
class Known:
    """A customer as she was seen last: her values as JSON (`values_json`), and the fingerprint of all that was shown."""

    values: str
    fp: int
    updated_at: datetime | None


Pair = tuple[ClerkUserId, int | None]
"""A mapping's user, and the fingerprint of her row if the pair is equal as far as the mirror goes."""


class PairReader(LivingReader, Protocol):
    """Mappings and mirror side by side, a range of keys at a time. Equal: in_sync under this policy, its customer unmoved.

    `config` is the policy's digest. A range is everything above `after` (None: from the first) up to `upto` (None: to
    the last).
    """

    def pairs(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[Pair]:
        """The first `limit` of the range that are no tombstones, in key order."""

    def sums(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None
    ) -> tuple[int, int, int]:
        """Of the whole range: how many are no tombstones, how many of them equal, and the sum of those fingerprints."""


class KnownReader(Protocol):
    """What the mirror shows of a few customers, those left out who are gone, or of whom it is not known how they are now."""

    def is_whole(self, shop: ShopDomain) -> bool:
        """Whether it is known of everybody how they are: else nobody is nowhere in it for sure. A pass over the index."""

    def known(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, Known]: ...

    def known_backlinks(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> set[ClerkUserId]:
        """Which of these some customer's back-link names."""

    def known_emails(self, shop: ShopDomain, keys: Collection[str]) -> set[str]:
        """Which of these (normalise.email_key) some customer has."""

    def known_phones(self, shop: ShopDomain, keys: Collection[str]) -> set[str]:
        """Which of these (normalise.phone_key) some customer has."""


class Mirror(PairReader, KnownReader, Protocol):
    """Our copy of what a shop showed last. It lags: never the last word before a write that its key does not make harmless.

    `as_of` is when the shop was asked. What is older than what is there changes nothing; a customer that is gone comes
    back only by something seen later.
    """

    def mirror_mark(self, shop: ShopDomain) -> MirrorMark:
        """How it stands; an empty mark where there is none."""

    def begin_mirror(
        self, shop: ShopDomain, operation: str, *, now: datetime, expected: int | None, shape: str = ""
    ) -> MirrorMark:
        """A bulk query was started, for metafields of this shape: its lines come now, from the first."""

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

    def customers_to_read(self, shop: ShopDomain, touched: Collection[Touched]) -> list[CustomerId]:
        """Who of these has not surely been seen as she was when she was touched: unknown, gone, doubted, or seen before.

        A shop's times are whole seconds, and its clock is another one: seen within seconds of it is not surely.
        """

    def mark_listed(self, shop: ShopDomain, at: datetime) -> None:
        """What changed up to this time is in."""

    def moved_since(self, shop: ShopDomain, at: datetime) -> Iterator[list[ClerkUserId]]:
        """Users whose customer's row has moved since then and is not what they were found equal with."""

    def mirror_size(self, shop: ShopDomain) -> int:
        """How many customers there are in the mirror, the gone ones left out."""
