"""Which mappings are equal as far as the mirror goes: `equal_fp`, kept beside them so that no sweep joins the two tables.

It is the row's fingerprint where the mapping is in sync and the mirror shows the customer as she was found equal; NULL: look
at her. Whoever writes a mapping or the mirror keeps it true in the same transaction, and locks first the mirror's rows in
the order of customers, then the mappings in the order of users: so that neither writer misses the other's, nor waits for
ever. What they can't know of each other yet (a row that is not committed) leaves NULL, which costs a look and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as MappingOf
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, case, false, null, select, true, update

from reconciler.core.model.ids import CustomerId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.state.database.queries import ASK, parts
from reconciler.state.tables.mappings import MappingRow
from reconciler.state.tables.mirror import MirrorRow

Shown = MappingOf[tuple[ShopDomain, CustomerId], int | None]

_mapping: Table = MappingRow.__table__  # type: ignore[attr-defined]  # SQLModel's own
_mirror: Table = MirrorRow.__table__  # type: ignore[attr-defined]  # SQLModel's own
_user = _mapping.c.clerk_user_id
_shown_now = (
    select(_mirror.c.observed_fp)
    .where(
        _mirror.c.shopify_shop == _mapping.c.shopify_shop,
        _mirror.c.shopify_customer_id == _mapping.c.shopify_customer_id,
        _mirror.c.gone == false(),
    )
    .scalar_subquery()
)
_is_equal = and_(_mapping.c.status == "in_sync", _mapping.c.observed_fp == _shown_now)


def shown(connection: Connection, mappings: Sequence[Mapping]) -> Shown:
    """What the mirror shows of the customers of those that may be equal; nobody changes it until the transaction ends."""
    found: dict[tuple[ShopDomain, CustomerId], int | None] = {}
    for shop in sorted({m.shop for m in mappings}):
        customers = [m.customer_id for m in mappings if m.shop == shop and m.customer_id is not None and _may_be(m)]
        for part in parts(customers):
            query = select(_mirror.c.shopify_customer_id, _mirror.c.observed_fp).where(
                _mirror.c.shopify_shop == shop, _mirror.c.shopify_customer_id.in_(part), _mirror.c.gone == false()
            )
            locked = query.order_by(_mirror.c.shopify_customer_id).with_for_update(read=True)
            found |= {(shop, CustomerId(customer)): fp for customer, fp in connection.execute(locked)}
    return found


def equal_fp(mapping: Mapping, shown_now: Shown) -> int | None:
    """What a mapping's row says of itself when it is written."""
    if mapping.customer_id is None or not _may_be(mapping):
        return None
    return mapping.profile_fp if shown_now.get((mapping.shop, mapping.customer_id)) == mapping.observed_fp else None


def weigh(connection: Connection, shop: ShopDomain, customers: Collection[str]) -> None:
    """Say anew of these customers' mappings whether they are equal; their rows of the mirror are ours already."""
    users: set[str] = set()
    for part in parts(customers):
        theirs = select(_user).where(_here(shop), _mapping.c.shopify_customer_id.in_(part))
        users.update(connection.execute(theirs).scalars())
    for names in parts(users):
        _weigh(connection, shop, names)


def weigh_gone(connection: Connection, shop: ShopDomain, at: datetime) -> None:
    """The same of all whose customer was found gone at this moment, however many they are."""
    gone = select(_mirror.c.shopify_customer_id).where(
        _mirror.c.shopify_shop == shop, _mirror.c.gone == true(), _mirror.c.moved_at == at
    )
    query = select(_user).where(_here(shop), _mapping.c.equal_fp.is_not(None), _mapping.c.shopify_customer_id.in_(gone))
    names: Sequence[str] = ()
    while names := connection.execute(query.order_by(_user).limit(ASK)).scalars().all():
        _weigh(connection, shop, names)


def _weigh(connection: Connection, shop: ShopDomain, users: Sequence[str]) -> None:
    theirs = and_(_here(shop), _user.in_(users))
    connection.execute(select(_user).where(theirs).order_by(_user).with_for_update())
    values = {"equal_fp": case((_is_equal, _mapping.c.profile_fp), else_=null())}
    connection.execute(update(_mapping).where(theirs).values(values))


def _here(shop: ShopDomain) -> ColumnElement[bool]:
    return _mapping.c.shopify_shop == shop


def _may_be(mapping: Mapping) -> bool:
    return mapping.status == "in_sync" and mapping.observed_fp is not None
