"""Which users have a request in the queue, or were found by a running scan."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine, Table, select, union

from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.state.database.queries import parts, read_rows
from reconciler.state.tables.requests import RequestRow
from reconciler.state.tables.scans import FindingRow

_request: Table = RequestRow.__table__
_finding: Table = FindingRow.__table__


def waiting_among(
    engine: Engine, store: StoreName, shop: ShopDomain, users: Collection[ClerkUserId]
) -> frozenset[ClerkUserId]:
    """Return which of these users have a request in the queue or were found by a running scan."""
    found: set[ClerkUserId] = set()
    for part in parts(users):
        asked = select(_request.c.clerk_user_id).where(_request.c.clerk_user_id.in_(part), _request.c.store == store)
        seen = select(_finding.c.clerk_user_id).where(
            _finding.c.shopify_shop == shop, _finding.c.clerk_user_id.in_(part)
        )
        found.update(ClerkUserId(user) for (user,) in read_rows(engine, union(asked, seen)))
    return frozenset(found)
