"""Long work of a store in words: how much is done, the total, and the estimated end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from reconciler.core.report.status import BulkProgress, StatusRow


def under_way_of(row: StatusRow) -> Iterator[str]:
    """A line on each long work of this store that is in progress."""
    scan, mirror, bulk = row.sweep, row.mirror, row.bulk
    if scan is not None:
        total = f" of {scan.total:,}" if scan.total is not None else ""
        yield f"full scan since {_time(scan.started_at)}: {scan.looked_at:,}{total} rows{_until(scan.ends_at)}"
    if mirror is not None and mirror.operation is not None:
        total = f" of {mirror.expected:,}" if mirror.expected is not None else ""
        since = f" since {_time(mirror.began_at)}" if mirror.began_at is not None else ""
        yield f"a bulk query fills the mirror{since}: {mirror.lines:,}{total} customers stored{_until(mirror.ends_at)}"
    if bulk is not None:
        yield _bulk(bulk)


def _bulk(bulk: BulkProgress) -> str:
    since = f" since {_time(bulk.began_at)}" if bulk.began_at is not None else ""
    if bulk.files:
        since += f", {_count(bulk.files, 'file')}, {_count(bulk.operations, 'operation')} running"
    waiting = f", {bulk.waiting:,} more not in a file yet" if bulk.waiting else ""
    return f"bulk writes in progress{since}: {bulk.done:,} of {bulk.lines:,} lines done{waiting}{_until(bulk.ends_at)}"


def _count(count: int, one: str) -> str:
    return f"{count:,} {one if count == 1 else one + 's'}"


def _until(ends_at: datetime | None) -> str:
    return f", until about {_time(ends_at)}" if ends_at is not None else ""


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
