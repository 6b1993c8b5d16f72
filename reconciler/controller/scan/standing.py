"""What the state says of a store's scans, mirror and bulk operations. Imports nothing that does them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.ports import BulkRepository, Leases, MirrorMark, ScanMark

FULL, CHANGES = "full", "changes"
BULK_FROM = 20_000  # users; fewer are read live in less time than a bulk query takes to come back
# The search index lags, by half an hour at the worst: recently touched ones are read again.
OVERLAP = timedelta(hours=1)
COMPLETE_MAX = timedelta(hours=36)  # a bulk query was read to its end within this: daily, and one may fail


def suspects(changes: ScanMark | None, full: ScanMark | None) -> Sequence[ClerkUserId]:
    """Users with a row that changed without its `updated_at`, as far as it is known now.

    Those of a full resync until an incremental one took them over.
    """
    if changes is None:
        return full.counted if full is not None else ()
    if full is None or full.finished_at is None:
        return changes.counted
    is_news = changes.watermark is None or full.finished_at > changes.watermark
    return tuple(dict.fromkeys([*changes.counted, *(full.counted if is_news else ())]))


def is_fresh(mark: MirrorMark, now: datetime) -> bool:
    """Whether a bulk query was complete recently. A time in the future is from a wrong clock, and does not count."""
    return mark.complete_at is not None and -OVERLAP < now - mark.complete_at <= COMPLETE_MAX


def is_abandoned(shop: ShopDomain, book: BulkRepository, leases: Leases, now: datetime) -> bool:
    """Whether an `apply` ended before it had read all answers of its bulk operations, and no process works on them."""
    is_idle = not book.bulk_files(shop) and not book.bulk_waiting(shop)
    return not is_idle and leases.holder(bulk_lease(shop), now=now) is None


def bulk_lease(shop: ShopDomain) -> str:
    return f"bulk {shop}"
