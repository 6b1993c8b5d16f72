"""The customers of one shop: what is read of them, and what is written to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.write import Write
from reconciler.ports.mirror import Seen, Touched

METAFIELDS_MAX = 25  # in one call, whoever they belong to


@dataclass(frozen=True, slots=True)
class MergePreview:
    """Who would be left (None: can't be said), and Shopify's own words for what forbids the merge (empty: nothing)."""

    winner: CustomerId | None
    blockers: tuple[str, ...] = ()


Shown = MappingOf[str, Any]
"""What a shop's answer to a write shows of the customer, by our field names (of tags, all of them); the rest is missing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the answer to a write says. `customer`: the one that a create made or found, or that a merge left.

    `shown`: what it shows of each customer that was written; the shop may have its own spelling of a value.
    """

    customer: CustomerId | None = None
    shown: MappingOf[CustomerId, Shown] = field(default_factory=dict)


class CustomerReader(Protocol):
    """The customers of one shop, by point reads only: they never lag. Absent ones are left out of the answer."""

    def by_ids(self, ids: Collection[CustomerId]) -> dict[CustomerId, Customer]: ...

    def by_backlinks(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Customer]: ...

    def linked_by(self, metafield: str, users: Collection[ClerkUserId]) -> dict[ClerkUserId, CustomerId]:
        """Whose customer each is by another metafield of type id (`NAMESPACE.KEY`); empty where it has no definition."""

    def by_emails(self, emails: Collection[str]) -> dict[str, Customer]:
        """Keyed by the e-mail as it was asked for."""

    def by_phones(self, phones: Collection[str]) -> dict[str, Customer]: ...

    def merge_preview(self, one: CustomerId, other: CustomerId) -> MergePreview:
        """What merging these two would do, and what stands in its way; changes nothing."""

    def restore_rate(self) -> float:
        """Points a second that the shop gives back, as last seen in a reply (100 before the first)."""


class CustomerWriter(Protocol):
    """Writes to one shop."""

    def send(self, write: Write) -> Answer:
        """Send one write. Refused: Shopify said no, to all of it; AnswerLost: observe before sending again.

        SetMetafields may hold METAFIELDS_MAX values. Link: Refused STALE_OBJECT or TAKEN where there is a back-link. Merge
        waits for Shopify's job to end: Refused MERGE_FAILED where it fails, AnswerLost where its end is not known.
        """
        ...


class CustomerLists(Protocol):
    """Customers as lists and bulk queries show them: a hint whom to read, and never a proof that somebody is not there."""

    def seen_in(self, lines: Iterable[bytes]) -> list[Seen]:
        """A bulk query's lines as what the mirror keeps; PermanentError for a line that is no customer."""

    def touched_since(self, at: datetime) -> Iterator[list[Touched]]:
        """Who was touched at this time or later, and when last, as far as the index knows; nobody of those who are gone.

        The search index lags. PermanentError where they are more than a list may show: then a bulk query is due.
        """

    def newest(self) -> Iterator[list[Touched]]:
        """All customers, whoever came last first, and when each came; this list does not lag. The first page is small.

        To be left as soon as enough is known: PermanentError where they are more than are worth reading.
        """

    def count(self) -> int | None:
        """How many customers the shop has; None where it can't be said exactly."""
