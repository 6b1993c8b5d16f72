"""What is told of stores and of an apply: counts for people and programs."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.action import Hold
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.plan.pile import Pile

SIX_DIGITS = 1_000_000
NEVER_SCANNED = "never looked at as a whole: how many are wanted is not known"
FARTHEST_S = 365 * 86_400.0  # work that stood still for months says nothing of its end, and a date has its limits


class ScanProgress(BaseModel):
    """A look at a whole store that is under way: how many rows of how many, and when it will end if it goes on so."""

    model_config = ConfigDict(frozen=True)

    started_at: datetime
    looked_at: int
    total: int | None = None
    ends_at: datetime | None = None


def scan_progress(started_at: datetime, looked_at: int, total: int | None, *, now: datetime) -> ScanProgress:
    """How far it is."""
    ends_at = _end(started_at, looked_at, total, now)
    return ScanProgress(started_at=started_at, looked_at=looked_at, total=total, ends_at=ends_at)


class MirrorProgress(BaseModel):
    """A shop's mirror. `operation` is the bulk query that is filling it, `lines` of `expected` are stored of it already.

    `complete_at` is when the last bulk query that was read to its end began, `listed_at` when it was caught up last;
    `fresh`: a plan may rest on it, once it is caught up.
    """

    model_config = ConfigDict(frozen=True)

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
    """How it stands."""
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


class BulkProgress(BaseModel):
    """Writes that go by bulk: `done` of so many `lines` in files are answered, and `waiting` are in no file yet.

    `files` have not been read to their end; `operations` of them have been taken by the shop, the others lie ready.
    `abandoned`: the `apply` that began them has ended, and only another one goes on with them.
    """

    model_config = ConfigDict(frozen=True)

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
    """How far they are. When they end is known once some are answered: the shop runs a whole file before it answers."""
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
    """When it is over if it goes on as it went; None by a clock that was put back, or where it is too far off."""
    passed = now - began_at
    if not total or not 0 < done <= total or passed < timedelta():
        return None
    left_s = passed.total_seconds() * (total - done) / done
    return now + timedelta(seconds=left_s) if left_s <= FARTHEST_S else None


@dataclass(frozen=True, slots=True)
class Doubts:
    """What the mappings don't tell of a store: how many are in sync by their row, but wait for a look; how many wait
    of whom no mapping knows; and how many have left since the wanted ones were counted.
    """

    in_sync: int = 0
    unknown: int = 0
    left: int = 0


class StatusRow(BaseModel):
    """One store as the state knows it. `parity` is `in_sync` over `profiles`, those that the store wants.

    It is 1.0 only where each of them is known to be right: a user who waits for a reconcile is pending, whatever the
    mapping says, and so is everybody while the shop refuses us. `parity_note` says why it is 0 where it is not known.
    `failing` is the last error of a shop that lets us in and fails our work, `failing_since` when that began.
    `updated_at_unmoved` names users whose profile row changed without its `updated_at`: resyncs read all rows until rows
    change together with that column again.
    """

    model_config = ConfigDict(frozen=True)

    store: StoreName
    shop: ShopDomain
    profiles: int
    mapped: int
    in_sync: int
    pending: int
    held: MappingOf[str, int] = Field(default_factory=dict)
    parity: float
    parity_note: str | None = None
    last_sweep_at: datetime | None = None
    oldest_request_s: float | None = None
    suspended: str | None = None
    failing: str | None = None
    failing_since: datetime | None = None
    sweep: ScanProgress | None = None
    mirror: MirrorProgress | None = None
    bulk: BulkProgress | None = None
    updated_at_unmoved: tuple[ClerkUserId, ...] = ()

    @property
    def updated_at_note(self) -> str | None:
        """What to say and do where `updated_at` does not move with the row."""
        return updated_at_note(self.updated_at_unmoved)


def updated_at_note(users: Sequence[ClerkUserId]) -> str | None:
    """The same of these users."""
    if not users:
        return None
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return (
        f"updated_at does not move: the row of {users[0]}{more} changed without it, so each resync reads all rows; "
        "set it in a trigger on update, in UTC"
    )


def known_row(row: Mapping, *, suspended: str | None, waits: bool) -> Mapping:
    """The mapping as it may be shown: in sync only where that is established.

    `suspended`: why the shop refuses us, or None. `waits`: whether a request of this user is in the queue.
    """
    if row.status != "in_sync":
        return row
    if suspended is not None:
        return row.model_copy(update={"status": "pending", "reason": "StoreSuspended", "message": suspended})
    return row.model_copy(update={"status": "pending", "reason": "Queued"}) if waits else row


class Replica(BaseModel):
    """One replica of `run`: the digest of the files that it runs with, and why those on disk are others (None: not)."""

    model_config = ConfigDict(frozen=True)

    owner: str
    config_digest: str
    config_problem: str | None = None
    since: datetime
    seen_at: datetime


class Failure(BaseModel):
    """One action that was not applied: refused (the world moved), failed, or not tried, and why."""

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    kind: str
    result: str
    message: str
    hint: str = ""


class ApplyResult(BaseModel):
    """What became of one store's plan. `held` counts all holds; `holds` are those that came up while it was carried out."""

    model_config = ConfigDict(frozen=True)

    store: StoreName
    applied: MappingOf[str, int] = Field(default_factory=dict)
    failed: Pile[Failure] = ()
    held: int = 0
    holds: Pile[Hold] = ()
    error: str | None = None
    points_spent: int = 0
    seconds: float = 0.0


def status_row(
    store: StoreName,
    shop: ShopDomain,
    tally: MappingOf[tuple[str, str | None], int],
    *,
    profiles: int | None,
    mapped: int,
    last_sweep_at: datetime | None,
    suspended: str | None,
    doubts: Doubts = Doubts(),
    oldest_request_s: float | None = None,
    failing: str | None = None,
    failing_since: datetime | None = None,
    sweep: ScanProgress | None = None,
    mirror: MirrorProgress | None = None,
    bulk: BulkProgress | None = None,
    updated_at_unmoved: Sequence[ClerkUserId] = (),
) -> StatusRow:
    """The row of one store, from how many mappings have each (status, reason).

    `profiles`: how many the store wanted when they were counted last, None where they never were. Since then some have
    left, and others are known to be wanted: the larger of both is what it wants now.
    """
    held: dict[str, int] = {}
    for (status, reason), count in tally.items():
        if status == "held":
            held[reason or "unknown"] = held.get(reason or "unknown", 0) + count
    by_row = {s: sum(n for (status, _), n in tally.items() if status == s) for s in ("in_sync", "pending")}
    in_sync = max(by_row["in_sync"] - doubts.in_sync, 0) if suspended is None else 0
    known = by_row["in_sync"] + by_row["pending"] + sum(held.values()) + doubts.unknown
    wanted = max(known, (profiles or 0) - doubts.left)
    note = None
    if profiles is None:
        note = NEVER_SCANNED
    elif suspended is not None:
        note = "the shop refuses us: whether anything is in sync is not known"
    elif not wanted:
        note = "this store wants no profile: there is nothing to be in sync"
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
        oldest_request_s=oldest_request_s,
        sweep=sweep,
        mirror=mirror,
        bulk=bulk,
        updated_at_unmoved=tuple(updated_at_unmoved),
    )


def _parity(in_sync: int, wanted: int) -> float:
    """Cut, never rounded up: one of ten millions is enough for it not to be 1.0."""
    return in_sync * SIX_DIGITS // wanted / SIX_DIGITS
