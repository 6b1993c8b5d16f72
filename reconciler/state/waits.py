"""Finds who waits for emails and phones that become free, by what the mappings say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import CompoundSelect, Table, bindparam, literal, select, union_all

from reconciler.core.model.batches import batches
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.state.tables.mappings import MappingRow

WAITING_MAX: Final = 20  # users who wait for one value; of more, only those who may get it are named
VALUES_MAX: Final = 20  # in one statement
EMAILS: Final = frozenset({"waits_for_email", "waits_at_email"})

_mapping: Table = MappingRow.__table__


def waiting_for(
    rows_of: Callable[[CompoundSelect[Any], dict[str, Any]], Sequence[Any]],
    shop: ShopDomain,
    keys: Collection[str],
    customers: Collection[CustomerId],
) -> tuple[ClerkUserId, ...]:
    """See `ports.MappingReader.waiting_for`. `rows_of` returns the rows of a statement; one is enough for a write."""
    asked = [("waits_for_email" if "@" in key else "waits_for_phone", key) for key in sorted({*keys})]
    asked += [(column, at) for at in sorted({*customers}) for column in ("waits_at_email", "waits_at_phone")]
    found: set[ClerkUserId] = set()
    for some in batches(asked, VALUES_MAX):
        claims: defaultdict[int, list[tuple[ClerkUserId, CustomerId | None]]] = defaultdict(list)
        values = {f"value_{number}": value for number, (_, value) in enumerate(some)}
        for number, user, customer in rows_of(_first_waiting(tuple(c for c, _ in some)), {"shop": shop, **values}):
            claims[number].append((user, customer))
        for claim in claims.values():
            mapped = [user for user, customer in claim if customer is not None]
            if len(claim) <= WAITING_MAX:
                found.update(user for user, _ in claim)
            elif len(mapped) == 1:
                found.update(mapped)
    return tuple(sorted(found))


@lru_cache(maxsize=128)
def _first_waiting(columns: tuple[str, ...]) -> CompoundSelect[Any]:
    """The first users who wait for a value in each of these columns, with its number, those with a customer first.

    Of an email, one more than counts. Each part reads its own index.
    """
    customer, user = _mapping.c.shopify_customer_id, _mapping.c.clerk_user_id
    parts = [
        select(literal(number).label("number"), user, customer)
        .where(_mapping.c.shopify_shop == bindparam("shop"), _mapping.c[column] == bindparam(f"value_{number}"))
        .order_by(customer.is_(None), user)
        .limit(WAITING_MAX + (column in EMAILS))
        .subquery()
        for number, column in enumerate(columns)
    ]
    return union_all(*(part.select() for part in parts))
