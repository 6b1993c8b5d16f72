"""The rows of erased users: no write restores one."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, not_, or_

from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.state.tables.mappings import MappingRow

_mapping: Table = MappingRow.__table__

PresentRows = dict[ClerkUserId, tuple[CustomerId | None, str]]
"""The customer and the status of each user's row."""
Tombs = MappingOf[tuple[ShopDomain, ClerkUserId], CustomerId | None]
"""The rows of erased users, with the customer that is still to be erased."""


def tombs(present: MappingOf[ShopDomain, PresentRows]) -> Tombs:
    return {
        (shop, user): customer
        for shop, rows in present.items()
        for user, (customer, status) in rows.items()
        if status == "erased"
    }


def without_erased(mappings: Sequence[Mapping], tombs: Tombs) -> list[Mapping]:
    """Return the mappings that would not restore an erased user: such a write was decided before the erasure."""
    return [
        m
        for m in mappings
        if (key := (m.shop, m.clerk_user_id)) not in tombs
        or (m.status == "erased" and m.customer_id in {None, tombs[key]})
    ]


def restores_erased(new: Any) -> ColumnElement[bool]:
    """The same condition in SQL, for a user erased between our read and our write."""
    customer = _mapping.c.shopify_customer_id
    nothing = or_(new.shopify_customer_id.is_(None), new.shopify_customer_id == customer)
    return and_(_mapping.c.status == "erased", not_(and_(new.status == "erased", nothing)))
