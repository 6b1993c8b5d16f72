"""`DoubtsTable`: counts of users of uncertain sync state: with a request in the queue, or having left."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Table, and_, case, cast, func, not_, null, or_, select, union, union_all

from reconciler.core.model.batches import batches
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.request import Priority
from reconciler.core.report.status import Doubts
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import TOMBSTONES, MappingRow, UtcDateTime
from reconciler.state.tables.requests import RequestRow
from reconciler.state.tables.scans import FindingRow

NAMES_MAX = 500
COUNTED_MAX = 10_000  # more names than these are not counted; the last full resync has counted them

_mapping: Table = MappingRow.__table__
_request: Table = RequestRow.__table__
_finding: Table = FindingRow.__table__


class DoubtsTable(Database):
    """Queries for `status`, the console and the metrics."""

    def doubts(self, store: StoreName, shop: ShopDomain, *, counted_at: datetime | None) -> Doubts:
        """Count users in the queue or found by a running scan, and users who left since `counted_at`.

        A released user counts as unknown only if a request may say more than the release: one that came after it, or one
        added more than once, so that its time is not known.
        """
        lanes = _request.c.priority.in_(list(Priority))  # so that the index by priority and store serves
        once = case((_request.c.generation - _request.c.seen <= 1, _request.c.due_at))
        asked = select(_request.c.clerk_user_id, once.label("asked_at"))
        asked = asked.where(lanes, _request.c.store == store).limit(COUNTED_MAX)
        finding = select(_finding.c.clerk_user_id, cast(null(), UtcDateTime()).label("asked_at"))
        found = finding.where(_finding.c.shopify_shop == shop).limit(COUNTED_MAX)
        names = union_all(*(select(each.subquery()) for each in (asked, found))).subquery()
        dated = func.count(names.c.asked_at) == func.count()  # otherwise one of them has no time
        waits = select(names.c.clerk_user_id, case((dated, func.max(names.c.asked_at))).label("asked_at"))
        waits_by = waits.group_by(names.c.clerk_user_id).subquery()
        theirs = and_(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id == waits_by.c.clerk_user_id)
        status = _mapping.c.status
        dated_both = and_(_mapping.c.left_at.is_not(None), waits_by.c.asked_at.is_not(None))
        covered = and_(dated_both, waits_by.c.asked_at <= _mapping.c.left_at)
        back = and_(status == "released", not_(covered))
        unknown = or_(status.is_(None), back)  # an erased one stays erased, for every caller
        query = select(
            func.sum(case((status == "in_sync", 1), else_=0)), func.sum(case((unknown, 1), else_=0))
        ).select_from(waits_by.outerjoin(_mapping, theirs))
        in_sync, unknown = self._rows(query)[0]
        return Doubts(in_sync=in_sync or 0, unknown=unknown or 0, left=self._left(shop, counted_at))

    def waiting(self, store: StoreName, shop: ShopDomain, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        """Return which of these users have a request in the queue or were found by a running scan."""
        found: set[ClerkUserId] = set()
        for part in batches(users, NAMES_MAX):
            asked = select(_request.c.clerk_user_id).where(
                _request.c.clerk_user_id.in_(part), _request.c.store == store
            )
            seen = select(_finding.c.clerk_user_id).where(
                _finding.c.shopify_shop == shop, _finding.c.clerk_user_id.in_(part)
            )
            found.update(ClerkUserId(user) for (user,) in self._rows(union(asked, seen)))
        return frozenset(found)

    def due_at(self, store: StoreName, user: ClerkUserId) -> datetime | None:
        """Return when the queued request of this user is due; None without one."""
        query = select(_request.c.due_at).where(_request.c.clerk_user_id == user, _request.c.store == store)
        return next((row[0] for row in self._rows(query)), None)

    def _left(self, shop: ShopDomain, counted_at: datetime | None) -> int:
        if counted_at is None:
            return 0
        query = select(func.count()).where(
            _mapping.c.shopify_shop == shop,
            _mapping.c.status.in_(TOMBSTONES),
            _mapping.c.left_at > counted_at,
            _mapping.c.first_seen_at <= counted_at,
        )
        return int(self._rows(query)[0][0])
