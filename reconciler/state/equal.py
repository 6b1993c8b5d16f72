"""`equal_fp`: which mappings equal the mirror. The column is kept beside them, so that no scan joins the two tables.

It holds the row's fingerprint if the mapping is in sync and the mirror shows the customer as it was found equal. NULL
means: reconcile the user. Each writer of mappings or of the mirror updates it in the same transaction. It first locks
the mirror's rows in the order of customers, then the mappings in the order of users, so that no writer misses
another's change and none deadlocks. A row that another transaction has not committed leaves NULL, which only costs
one reconcile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as MappingOf
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, case, false, null, select, true, update

from reconciler.core.model.ids import CustomerId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.state.database.queries import ASK, parts
from reconciler.state.tables.mappings import MappingRow
from reconciler.state.tables.mirror import MirrorRow

ObservedFps = MappingOf[tuple[ShopDomain, CustomerId], int | None]

_mapping: Table = MappingRow.__table__
_mirror: Table = MirrorRow.__table__
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
_LOCKED = (
    select(_mirror.c.shopify_customer_id, _mirror.c.observed_fp)
    .where(
        _mirror.c.shopify_shop == bindparam("shop"),
        _mirror.c.shopify_customer_id.in_(bindparam("customers", expanding=True)),
        _mirror.c.gone == false(),
    )
    .order_by(_mirror.c.shopify_customer_id)
    .with_for_update(read=True)
)
_is_equal = and_(_mapping.c.status == "in_sync", _mapping.c.observed_fp == _shown_now)


def lock_observed_fps(connection: Connection, mappings: Sequence[Mapping]) -> ObservedFps:
    """Return the mirror's fingerprints for mappings that may be equal; they stay locked until the transaction ends."""
    found: dict[tuple[ShopDomain, CustomerId], int | None] = {}
    for shop in sorted({m.shop for m in mappings}):
        customers = [
            m.customer_id for m in mappings if m.shop == shop and m.customer_id is not None and may_be_equal(m)
        ]
        for part in parts(customers):
            shown = connection.execute(_LOCKED, {"shop": shop, "customers": part})
            found |= {(shop, CustomerId(customer)): fp for customer, fp in shown}
    return found


def equal_fp(mapping: Mapping, observed_fps: ObservedFps) -> int | None:
    """Return the value of `equal_fp` for a mapping that is being written."""
    if mapping.customer_id is None or not may_be_equal(mapping):
        return None
    return mapping.profile_fp if observed_fps.get((mapping.shop, mapping.customer_id)) == mapping.observed_fp else None


def update_equal(connection: Connection, shop: ShopDomain, customers: Collection[str]) -> None:
    """Recompute `equal_fp` of these customers' mappings. The caller has locked their mirror rows."""
    users: set[str] = set()
    for part in parts(customers):
        theirs = select(_user).where(_here(shop), _mapping.c.shopify_customer_id.in_(part))
        users.update(connection.execute(theirs).scalars())
    for names in parts(users):
        _update_equal(connection, shop, names)


def update_equal_of_gone(connection: Connection, shop: ShopDomain, at: datetime) -> None:
    """Recompute `equal_fp` of all mappings of customers that were found gone at this time."""
    gone = select(_mirror.c.shopify_customer_id).where(
        _mirror.c.shopify_shop == shop, _mirror.c.gone == true(), _mirror.c.moved_at == at
    )
    query = select(_user).where(_here(shop), _mapping.c.equal_fp.is_not(None), _mapping.c.shopify_customer_id.in_(gone))
    names: Sequence[str] = ()
    while names := connection.execute(query.order_by(_user).limit(ASK)).scalars().all():
        _update_equal(connection, shop, names)


def _update_equal(connection: Connection, shop: ShopDomain, users: Sequence[str]) -> None:
    theirs = and_(_here(shop), _user.in_(users))
    connection.execute(select(_user).where(theirs).order_by(_user).with_for_update())
    values = {"equal_fp": case((_is_equal, _mapping.c.profile_fp), else_=null())}
    connection.execute(update(_mapping).where(theirs).values(values))


def _here(shop: ShopDomain) -> ColumnElement[bool]:
    return _mapping.c.shopify_shop == shop


def may_be_equal(mapping: Mapping) -> bool:
    """Return whether `equal_fp` depends on the mirror."""
    return mapping.status == "in_sync" and mapping.observed_fp is not None
