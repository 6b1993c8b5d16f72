"""Writers that stop when the claim they work under is no longer theirs: a frozen replica's late writes do no harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from typing import Any

from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.ports import Created, CustomerWriter, Shown

Check = Callable[[], None]


class FencedWriter:
    """A CustomerWriter that asks before each call. `check` raises LeaseLost where another has taken over.

    Shopify knows nothing of our leases: a call that left before the takeover may still arrive. It is harmless, since
    every write is one that may be done twice, and whoever took over looks before she acts.
    """

    def __init__(self, writer: CustomerWriter, check: Check) -> None:
        self._writer = writer
        self._check = check

    def create(self, user: ClerkUserId, fields: MappingOf[str, Any]) -> Created:
        self._check()
        return self._writer.create(user, fields)

    def update(self, customer: CustomerId, fields: MappingOf[str, Any]) -> Shown:
        self._check()
        return self._writer.update(customer, fields)

    def add_tags(self, customer: CustomerId, tags: Sequence[str]) -> Shown:
        self._check()
        return self._writer.add_tags(customer, tags)

    def remove_tags(self, customer: CustomerId, tags: Sequence[str]) -> None:
        self._check()
        self._writer.remove_tags(customer, tags)

    def set_metafields(self, customer: CustomerId, values: MappingOf[str, tuple[str, str]]) -> Shown:
        self._check()
        return self._writer.set_metafields(customer, values)

    def set_metafields_of(
        self, values: MappingOf[CustomerId, MappingOf[str, tuple[str, str]]]
    ) -> MappingOf[CustomerId, Shown]:
        self._check()
        return self._writer.set_metafields_of(values)

    def delete_metafields(self, customer: CustomerId, names: Sequence[str]) -> None:
        self._check()
        self._writer.delete_metafields(customer, names)

    def link(self, customer: CustomerId, user: ClerkUserId) -> None:
        self._check()
        self._writer.link(customer, user)

    def unlink(self, customer: CustomerId) -> None:
        self._check()
        self._writer.unlink(customer)

    def merge(self, one: CustomerId, other: CustomerId, *, keep_email_of: CustomerId) -> CustomerId:
        self._check()
        return self._writer.merge(one, other, keep_email_of=keep_email_of)

    def delete(self, customer: CustomerId) -> None:
        self._check()
        self._writer.delete(customer)

    def request_erasure(self, customer: CustomerId) -> None:
        self._check()
        self._writer.request_erasure(customer)
