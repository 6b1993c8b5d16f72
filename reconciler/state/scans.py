"""`ScanTable`: the progress and findings of scans."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, bindparam, delete, func, select, update

from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.ports import ScanMark
from reconciler.state.database.engine import writing
from reconciler.state.database.queries import Database, parts
from reconciler.state.tables.scans import FindingRow, ScanRow

CHUNK: Final = 500  # users of one statement
_scan: Table = ScanRow.__table__
_finding: Table = FindingRow.__table__
_THE_SCAN = (_scan.c.shopify_shop == bindparam("of_shop"), _scan.c.kind == bindparam("of_kind"))
_THE_FINDINGS = (_finding.c.shopify_shop == bindparam("of_shop"), _finding.c.kind == bindparam("of_kind"))
_MARKS = select(_scan).where(_scan.c.shopify_shop.in_(bindparam("shops", expanding=True)))
_MARK = select(_scan).where(*_THE_SCAN)
_CLEAR = delete(_finding).where(*_THE_FINDINGS)
_FINISH = update(_scan).where(*_THE_SCAN)


class ScanTable(Database):
    """`ports.ScanRepository` on SQLite or Postgres."""

    def mark(self, shop: ShopDomain, kind: str) -> ScanMark | None:
        rows = self._rows(_MARK, {"of_shop": shop, "of_kind": kind})
        return _mark_of(rows[0]) if rows else None

    def marks(self, shops: Collection[ShopDomain]) -> dict[tuple[ShopDomain, str], ScanMark]:
        rows = [row for part in parts(shops) for row in self._rows(_MARKS, {"shops": part})]
        return {(ShopDomain(row.shopify_shop), row.kind): _mark_of(row) for row in rows}

    def begin(self, shop: ShopDomain, kind: str, *, now: datetime, total: int | None = None) -> ScanMark:
        found = self.mark(shop, kind)
        if found is not None and found.finished_at is None:
            return found
        cursor, watermark, counted = (found.cursor, found.watermark, found.counted) if found else (None, None, ())
        fresh = ScanMark(now, cursor, None, watermark, total=total, counted=counted)
        row = {
            "shopify_shop": shop, "kind": kind, "started_at": now, "cursor": cursor, "finished_at": None,
            "watermark": watermark, "looked_at": 0, "wanted": 0, "total": total, "counted": list(counted),
        }  # fmt: skip
        with writing(self._engine) as connection:
            connection.execute(_CLEAR, {"of_shop": shop, "of_kind": kind})
            self._upsert(connection, _scan, [row])
        return fresh

    def note(
        self,
        shop: ShopDomain,
        kind: str,
        *,
        cursor: ClerkUserId,
        looked_at: int,
        wanted: int,
        findings: MappingOf[ClerkUserId, str],
    ) -> None:
        rows = [
            {"shopify_shop": shop, "kind": kind, "clerk_user_id": user, "action": action}
            for user, action in sorted(findings.items())
        ]
        with writing(self._engine) as connection:
            if rows:
                self._upsert(connection, _finding, rows)
            connection.execute(
                update(_scan)
                .where(_scan.c.shopify_shop == shop, _scan.c.kind == kind)
                .values(cursor=cursor, looked_at=_scan.c.looked_at + looked_at, wanted=_scan.c.wanted + wanted)
            )

    def totals(self, shop: ShopDomain, kind: str) -> dict[str, int]:
        query = (
            select(_finding.c.action, func.count())
            .where(_finding.c.shopify_shop == shop, _finding.c.kind == kind)
            .group_by(_finding.c.action)
        )
        return {row.action: row[1] for row in self._rows(query)}

    def findings(self, shop: ShopDomain, kind: str, action: str) -> Iterator[list[ClerkUserId]]:
        after: str | None = None
        while True:
            query = select(_finding.c.clerk_user_id).where(
                _finding.c.shopify_shop == shop, _finding.c.kind == kind, _finding.c.action == action
            )
            if after is not None:
                query = query.where(_finding.c.clerk_user_id > after)
            users = [ClerkUserId(row[0]) for row in self._rows(query.order_by(_finding.c.clerk_user_id).limit(CHUNK))]
            if users:
                yield users
            if len(users) < CHUNK:
                return
            after = users[-1]

    def finish(
        self,
        shop: ShopDomain,
        kind: str,
        *,
        now: datetime,
        watermark: datetime,
        cursor: ClerkUserId | None = None,
        counted: Sequence[ClerkUserId] = (),
    ) -> None:
        with writing(self._engine) as connection:
            connection.execute(_CLEAR, {"of_shop": shop, "of_kind": kind})
            values = {"finished_at": now, "cursor": cursor, "watermark": watermark, "counted": list(counted)}
            connection.execute(_FINISH, {"of_shop": shop, "of_kind": kind, **values})


def _mark_of(row: Any) -> ScanMark:
    return ScanMark(
        started_at=row.started_at,
        cursor=ClerkUserId(row.cursor) if row.cursor is not None else None,
        finished_at=row.finished_at,
        watermark=row.watermark,
        looked_at=row.looked_at,
        wanted=row.wanted,
        total=row.total,
        counted=tuple(ClerkUserId(user) for user in row.counted or ()),
    )
