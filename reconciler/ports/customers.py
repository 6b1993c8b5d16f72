"""Reads and writes of the customers of one shop."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import field
from datetime import datetime
from typing import Protocol

from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.values import Value
from reconciler.core.model.write import Write
from reconciler.ports.mirror import Seen, Touched

METAFIELDS_MAX = 25  # in one call, over all customers


Shown = MappingOf[str, Value]
"""The fields of the customer in a shop's answer to a write, by our names (tags: all of them); others are missing."""


@frozen
class Answer:
    """The answer to a write. `customer`: the customer that a create made or found, or that remains after a merge.

    `shown`: the fields in the answer for each written customer; the shop may have its own spelling of a value.
    """

    customer: CustomerId | None = None
    shown: MappingOf[CustomerId, Shown] = field(default_factory=dict)


class CustomerReader(Protocol):
    """The customers of one shop, by point reads, which do not lag. Missing customers are left out of the results."""

    def by_ids(self, ids: Collection[CustomerId]) -> dict[CustomerId, Customer]: ...

    def by_backlinks(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Customer]:
        """The customer that the shop returns for each back-link: with that of another user, if it takes both for one."""

    def by_metafield(self, metafield: str, users: Collection[ClerkUserId]) -> dict[ClerkUserId, CustomerId]:
        """The customers by another metafield of type id (`NAMESPACE.KEY`); empty if it has no definition."""

    def by_emails(self, emails: Collection[str]) -> dict[str, Customer]:
        """The customers by email, with the requested spellings as keys."""

    def by_phones(self, phones: Collection[str]) -> dict[str, Customer]: ...

    def merge_blockers(self, one: CustomerId, other: CustomerId) -> tuple[str, ...]:
        """Shopify's objections to a merge of these two, which is only asked about; empty: none."""

    def restore_rate(self) -> float:
        """Points per second that the shop restores, from its last reply (100 before the first)."""


class CustomerWriter(Protocol):
    """Writes to one shop."""

    def send(self, write: Write) -> Answer:
        """Send one write. Refused: Shopify refused all of it; AnswerLost: observe before sending again.

        SetMetafields may hold METAFIELDS_MAX values. Link: Refused STALE_OBJECT or TAKEN if there is a back-link. Merge
        waits for Shopify's job to end: Refused MERGE_FAILED if it fails, AnswerLost if its end is unknown.
        """
        ...


class CustomerLists(Protocol):
    """Customers from lists and bulk queries: a hint which ones to read, and never a proof of absence."""

    def seen_in(self, lines: Iterable[bytes]) -> list[Seen]:
        """Convert a bulk query's lines for the mirror. PermanentError for a line that is not a customer."""

    def updates_since(self, at: datetime) -> Iterator[list[Touched]]:
        """Customers that changed at this time or later, and when, according to the search index; no deleted ones.

        The search index lags. PermanentError if a list can't hold them all: then a bulk query is needed.
        """

    def newest(self) -> Iterator[list[Touched]]:
        """All customers, the newest first, with their times of creation; this list does not lag. The first page is small.

        Stop the iteration as soon as possible: PermanentError beyond a bound of pages.
        """

    def count(self) -> int | None:
        """The count of customers of the shop; None where Shopify does not return it exactly."""
