"""`DoubtsTable`: counts of users of uncertain sync state: with a request in the queue, or having left."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Table, bindparam, case, func, select

from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.report.status import Doubts
from reconciler.state.database.engine import is_sqlite
from reconciler.state.database.queries import Database, parts
from reconciler.state.requests.statements import statements
from reconciler.state.tables.mappings import TOMBSTONES, MappingRow, StoreRow
from reconciler.state.tables.requests import RequestRow
from reconciler.state.tables.scans import FindingRow

NAMES_MAX = 10_000  # of each store; more names are not counted: the last full resync has counted them

_mapping: Table = MappingRow.__table__
_store: Table = StoreRow.__table__
_request: Table = RequestRow.__table__
_finding: Table = FindingRow.__table__


class DoubtsTable(Database):
    """Queries for `status`, the console and the metrics."""

    def doubts(self, shops: Mapping[ShopDomain, StoreName]) -> dict[ShopDomain, Doubts]:
        """Count users in the queue or found by a running scan, and users who left since the last count of wanted users.

        A released user counts as unknown only if a request may say more than the release: one that came after it, or one
        added more than once, so that its time is not known. An erased user stays erased, for every caller.
        """
        pairs = json.dumps([(store, shop) for shop, store in sorted(shops.items())])
        rows = self._rows(statements(sqlite=is_sqlite(self._engine)).doubts, {"stores": pairs, "names_max": NAMES_MAX})
        waits = {shop: (in_sync, unknown) for shop, in_sync, unknown in rows}
        left = self._left(shops)
        return {shop: Doubts(*waits.get(shop, (0, 0)), left.get(shop, 0)) for shop in shops}

    def due_at(self, store: StoreName, user: ClerkUserId) -> datetime | None:
        """Return when the queued request of this user is due; None without one."""
        query = select(_request.c.due_at).where(_request.c.clerk_user_id == user, _request.c.store == store)
        return next((row[0] for row in self._rows(query)), None)

    def _left(self, shops: Collection[ShopDomain]) -> dict[str, int]:
        query = (
            select(_mapping.c.shopify_shop, func.count(case((_mapping.c.status.in_(TOMBSTONES), 1))))
            .join(_store, _store.c.shopify_shop == _mapping.c.shopify_shop)
            .where(
                _store.c.shopify_shop.in_(bindparam("shops", expanding=True)),
                _mapping.c.left_at > _store.c.last_sweep_at,
                _mapping.c.first_seen_at <= _store.c.last_sweep_at,
            )
            .group_by(_mapping.c.shopify_shop)
        )
        return {shop: count for part in parts(shops) for shop, count in self._rows(query, {"shops": part})}
