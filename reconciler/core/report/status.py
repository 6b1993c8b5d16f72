"""Reports of the stores' status and of an apply's results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from operator import not_
from typing import Annotated

from pydantic import Field

from reconciler.core.model.act import Pause
from reconciler.core.model.action import Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.run import RunCounts
from reconciler.core.plan.series import Series

SIX_DIGITS = 1_000_000
NEVER_SCANNED = "no full scan yet: the number of wanted users is unknown"
FARTHEST_S = 365 * 86_400.0  # no estimate beyond this


@frozen(kw_only=True)
class ScanProgress:
    """A running scan: rows read, total rows, and the estimated end."""

    started_at: datetime
    looked_at: int
    total: int | None = None
    ends_at: datetime | None = None


def scan_progress(started_at: datetime, looked_at: int, total: int | None, *, now: datetime) -> ScanProgress:
    """How far it is."""
    ends_at = _end(started_at, looked_at, total, now)
    return ScanProgress(started_at=started_at, looked_at=looked_at, total=total, ends_at=ends_at)


@frozen(kw_only=True)
class MirrorProgress:
    """The progress of a shop's mirror. `operation` is the bulk query that fills it: `lines` of `expected` are stored.

    `complete_at` is the start of the last bulk query that was read completely, `listed_at` the last update from lists;
    `fresh`: a plan may use the mirror after an update.
    """

    operation: str | None
    began_at: datetime | None
    lines: int
    expected: int | None
    ends_at: datetime | None
    complete_at: datetime | None
    listed_at: datetime | None
    fresh: bool


def mirror_progress(
    operation: str | None,
    began_at: datetime | None,
    lines: int,
    expected: int | None,
    *,
    complete_at: datetime | None,
    listed_at: datetime | None,
    fresh: bool,
    now: datetime,
) -> MirrorProgress:
    """The progress of a mirror."""
    return MirrorProgress(
        operation=operation,
        began_at=began_at,
        lines=lines if operation is not None else 0,
        expected=expected if operation is not None else None,
        ends_at=_end(began_at, lines, expected, now) if operation is not None and began_at is not None else None,
        complete_at=complete_at,
        listed_at=listed_at,
        fresh=fresh,
    )


@frozen(kw_only=True)
class BulkProgress:
    """The progress of bulk writes: `done` of the `lines` in files are answered; `waiting` lines are in no file yet.

    `files` are those with unread answers; the shop has started `operations` of them. `abandoned`: the `apply` that began
    them has ended; run `apply` again to continue.
    """

    began_at: datetime | None
    files: int
    operations: int
    lines: int
    done: int
    left: int
    waiting: int
    ends_at: datetime | None
    abandoned: bool = False


def bulk_progress(
    began_at: datetime | None,
    lines: int,
    left: int,
    waiting: int,
    *,
    files: int,
    operations: int,
    now: datetime,
    abandoned: bool = False,
) -> BulkProgress:
    """The progress of bulk writes. The end is estimated from the first answers on: the shop runs a whole file first."""
    done = max(lines - left, 0)
    return BulkProgress(
        began_at=began_at,
        files=files,
        operations=operations,
        lines=lines,
        done=done,
        left=left,
        waiting=waiting,
        ends_at=_end(began_at, done, lines + waiting, now) if began_at is not None and not abandoned else None,
        abandoned=abandoned,
    )


def _end(began_at: datetime, done: int, total: int | None, now: datetime) -> datetime | None:
    """The end at the present rate; None if the clock was set back or the end is too far away."""
    passed = now - began_at
    if not total or not 0 < done <= total or passed < timedelta():
        return None
    left_s = passed.total_seconds() * (total - done) / done
    return now + timedelta(seconds=left_s) if left_s <= FARTHEST_S else None


@frozen
class Doubts:
    """Corrections of counts from mappings: users in sync by their mapping who wait for a reconcile; waiting users
    without a mapping; and users who have left since the last count of wanted users.
    """

    in_sync: int = 0
    unknown: int = 0
    left: int = 0


@frozen(kw_only=True)
class StatusRow:
    """The status of one store, from the state. `parity` is `in_sync` divided by `profiles`, the wanted users.

    A user who waits for a reconcile counts as pending, and so do all users while the shop refuses access. `parity_note`
    explains a parity of 0 that is unknown. `failing` is the last error of a shop that grants access but fails our
    requests, `failing_since` its start. `paused` says who paused the store and since when; `paused_by` and
    `paused_since` are those of a pause in the state, and None where stores.yaml pauses it. `accepted` users have drift that
    is accepted for now; they count as in sync. `updated_at_unmoved` are users
    with a row that changed without its `updated_at`: resyncs read all rows until the column is updated again.
    """

    store: StoreName
    shop: ShopDomain
    profiles: int
    mapped: int
    in_sync: int
    pending: int
    held: MappingOf[str, int] = field(default_factory=dict)
    parity: float
    parity_note: str | None = None
    last_sweep_at: datetime | None = None
    oldest_request_s: float | None = None
    suspended: str | None = None
    failing: str | None = None
    failing_since: datetime | None = None
    paused: str | None = None
    paused_by: str | None = None
    paused_since: datetime | None = None
    sweep: ScanProgress | None = None
    mirror: MirrorProgress | None = None
    bulk: BulkProgress | None = None
    accepted: int = 0
    updated_at_unmoved: tuple[ClerkUserId, ...] = ()

    @property
    def updated_at_note(self) -> str | None:
        """The warning about rows that change without `updated_at`; None without such rows."""
        return updated_at_note(self.updated_at_unmoved)


def updated_at_note(users: Sequence[ClerkUserId]) -> str | None:
    """The warning about these users' rows, which changed without `updated_at`; None without users."""
    if not users:
        return None
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return (
        f"updated_at is not updated: the row of {users[0]}{more} changed without it, so each resync reads all rows; "
        "set it in a trigger on update, in UTC"
    )


def known_row(row: Mapping, *, suspended: str | None, waits: bool) -> Mapping:
    """The mapping for display: pending instead of in sync while the shop refuses access or the user waits.

    `suspended`: why the shop refuses access, or None. `waits`: whether a request of this user is in the queue.
    """
    if row.status != "in_sync":
        return row
    if suspended is not None:
        return replace(row, status="pending", reason="StoreSuspended", message=suspended)
    return replace(row, status="pending", reason="Queued") if waits else row


@frozen(kw_only=True)
class Replica:
    """One replica of `run`: the digest of its config, and why the files on disk differ from it (None: they do not)."""

    owner: str
    config_digest: str
    config_problem: str | None = None
    since: datetime
    seen_at: datetime


@frozen(kw_only=True)
class Failure:
    """One action that was not applied: refused (the situation changed), failed, or not tried, and why."""

    clerk_user_id: ClerkUserId
    kind: str
    result: str
    message: str
    hint: str = ""


@frozen(kw_only=True)
class ApplyResult:
    """The result of executing one store's plan. `held` counts all holds; `holds` are those that arose meanwhile.

    `done_already` counts the actions that another process did between the plan and their turn.
    """

    store: StoreName
    applied: MappingOf[str, int] = field(default_factory=dict)
    done_already: Annotated[int, Field(exclude_if=not_)] = 0
    failed: Series[Failure] = ()
    held: int = 0
    holds: Series[Hold] = ()
    error: str | None = None
    points_spent: int = 0
    seconds: float = 0.0


def counts_of_results(results: Sequence[ApplyResult]) -> RunCounts:
    """The counts of a run with these results."""
    actions: Counter[str] = Counter()
    for result in results:
        actions.update(result.applied)
    return RunCounts(
        actions=dict(sorted(actions.items())),
        holds=sum(result.held for result in results),
        failures=sum(len(result.failed) for result in results),
    )


def status_row(
    store: StoreName,
    shop: ShopDomain,
    tally: MappingOf[tuple[str, str | None], int],
    *,
    profiles: int | None,
    mapped: int,
    last_sweep_at: datetime | None,
    suspended: str | None,
    doubts: Doubts = Doubts(),  # noqa: B008  frozen
    oldest_request_s: float | None = None,
    failing: str | None = None,
    failing_since: datetime | None = None,
    paused: str | None = None,
    pause: Pause | None = None,
    scan: ScanProgress | None = None,
    mirror: MirrorProgress | None = None,
    bulk: BulkProgress | None = None,
    accepted: int = 0,
    updated_at_unmoved: Sequence[ClerkUserId] = (),
) -> StatusRow:
    """The status of one store, from the counts of mappings by (status, reason).

    `profiles`: the wanted users at the last count, None without one. The number wanted now is the larger of that count
    less those who have left, and of the known wanted users.
    """
    held: dict[str, int] = {}
    for (status, reason), count in tally.items():
        if status == "held":
            held[reason or "unknown"] = held.get(reason or "unknown", 0) + count
    by_row = {s: sum(n for (status, _), n in tally.items() if status == s) for s in ("in_sync", "pending")}
    in_sync = max(by_row["in_sync"] - doubts.in_sync, 0) if suspended is None else 0
    known = by_row["in_sync"] + by_row["pending"] + sum(held.values()) + doubts.unknown
    wanted = max(known, (profiles or 0) - doubts.left)
    note = _parity_note(suspended, wanted) if profiles is not None else NEVER_SCANNED
    return StatusRow(
        store=store,
        shop=shop,
        profiles=wanted,
        mapped=mapped,
        in_sync=in_sync,
        pending=wanted - in_sync - sum(held.values()),
        held=dict(sorted(held.items())),
        parity=_parity(in_sync, wanted) if note is None else 0.0,
        parity_note=note,
        last_sweep_at=last_sweep_at,
        suspended=suspended,
        failing=failing,
        failing_since=failing_since,
        paused=paused,
        paused_by=pause.actor.name if pause is not None else None,
        paused_since=pause.since if pause is not None else None,
        oldest_request_s=oldest_request_s,
        sweep=scan if suspended is None else None,
        mirror=mirror,
        bulk=bulk,
        accepted=accepted,
        updated_at_unmoved=tuple(updated_at_unmoved),
    )


def _parity_note(suspended: str | None, wanted: int) -> str | None:
    """Why a store that was scanned has no parity; None where it has one."""
    if suspended is not None:
        return "the shop refuses access: how many users are in sync is unknown"
    return None if wanted else "this store wants no users"


def _parity(in_sync: int, wanted: int) -> float:
    """The parity, rounded down to six digits, so that a single user out of sync is visible."""
    return in_sync * SIX_DIGITS // wanted / SIX_DIGITS
