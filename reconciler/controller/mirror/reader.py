"""ports.CustomerReader by the mirror: a customer in it is shown as last observed, one that is not in it is not searched.

For scans, which write nothing to a shop. It is enough for two decisions: that there is nothing to do, and that a customer is
to be created. If there is one after all, the key of the create makes it harmless. Everything else is observed live.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any

import msgspec

from reconciler.core.fields import normalise
from reconciler.core.fields.fingerprint import observed_fp
from reconciler.core.model.consent import Consent, field_of
from reconciler.core.model.customer import Customer, MetafieldValue
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.core.model.scalars import SCALARS
from reconciler.core.model.store import Store
from reconciler.ports import CustomerReader, Known, KnownReader

PREFIX = "metafields."
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class MirrorReader:
    """The customers of one shop by its mirror, and by the shop itself where the mirror can't tell. For one scan."""

    def __init__(self, store: Store, known: KnownReader, live: CustomerReader) -> None:
        self._store, self._known, self._live = store, known, live

    def by_ids(self, ids: Collection[CustomerId]) -> dict[CustomerId, Customer]:
        found = {
            customer_id: customer
            for customer_id, known in self._known.known(self._store.shop, ids).items()
            if (customer := customer_as_observed(customer_id, known, self._store)) is not None
        }
        left = [customer_id for customer_id in ids if customer_id not in found]
        return found | (self._live.by_ids(left) if left else {})

    def by_backlinks(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Customer]:
        there = self._known.known_backlinks(self._store.shop, users) if self._is_whole else users
        return self._live.by_backlinks([user for user in users if user in there]) if there else {}

    def by_metafield(self, metafield: str, users: Collection[ClerkUserId]) -> dict[ClerkUserId, CustomerId]:
        return self._live.by_metafield(metafield, users)

    def by_emails(self, emails: Collection[str]) -> dict[str, Customer]:
        left = self._perhaps_there(emails, normalise.email_key, self._known.known_emails)
        return self._live.by_emails(left) if left else {}

    def by_phones(self, phones: Collection[str]) -> dict[str, Customer]:
        left = self._perhaps_there(phones, normalise.phone_key, self._known.known_phones)
        return self._live.by_phones(left) if left else {}

    def merge_blockers(self, one: CustomerId, other: CustomerId) -> tuple[str, ...]:
        return self._live.merge_blockers(one, other)

    def restore_rate(self) -> float:
        return self._live.restore_rate()

    def _perhaps_there(
        self,
        values: Collection[str],
        key_of: Callable[[str], str | None],
        known: Callable[[ShopDomain, Collection[str]], set[str]],
    ) -> list[str]:
        """Which of these addresses or phones some customer has or may have."""
        keys = {value: key for value in values if (key := key_of(value)) is not None}
        there = known(self._store.shop, set(keys.values())) if self._is_whole else set(keys.values())
        return [value for value, key in keys.items() if key in there]

    @cached_property
    def _is_whole(self) -> bool:
        return self._known.is_whole(self._store.shop)


def customer_as_observed(customer_id: CustomerId, known: Known, store: Store) -> Customer | None:
    """The customer that was observed; None where the values do not give the fingerprint of all that was shown then.

    Whether it can be deleted is not known.
    """
    values = _decode(known.values)
    metafields = {
        name.removeprefix(PREFIX): MetafieldValue(value=value, type=rule.type if rule is not None else "")
        for name, value in values.items()
        if name.startswith(PREFIX)
        for rule in [store.metafields.get(name.removeprefix(PREFIX))]
    }
    customer = Customer(
        id=customer_id,
        tags=tuple(values.get("tags", ())),
        backlink=values.get("backlink"),
        metafields=metafields,
        updated_at=known.updated_at,
        consents={
            channel: Consent.parse(values[field_of(channel)])
            for channel in store.consent.channels
            if field_of(channel) in values
        },
        **{name: values.get(name) for name in SCALARS},
    )
    return customer if observed_fp(customer) == known.fp else None
