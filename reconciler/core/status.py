"""What is told of stores and of an apply: counts for people and programs."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.ids import ClerkUserId, ShopDomain, StoreName


class SweepProgress(BaseModel):
    """A look at a whole store that is under way: how many rows of how many, and when it will end if it goes on so."""

    model_config = ConfigDict(frozen=True)

    started_at: datetime
    looked_at: int
    total: int | None = None
    ends_at: datetime | None = None


def sweep_progress(started_at: datetime, looked_at: int, total: int | None, *, now: datetime) -> SweepProgress:
    """How far it is."""
    ends_at = None
    if total and 0 < looked_at <= total:
        ends_at = now + (now - started_at) * ((total - looked_at) / looked_at)
    return SweepProgress(started_at=started_at, looked_at=looked_at, total=total, ends_at=ends_at)


class StatusRow(BaseModel):
    """One store as the state knows it. `parity` is in_sync over the profiles that the store wants, 1.0 if none."""

    model_config = ConfigDict(frozen=True)

    store: StoreName
    shop: ShopDomain
    profiles: int
    mapped: int
    in_sync: int
    pending: int
    held: MappingOf[str, int] = Field(default_factory=dict)
    parity: float
    last_sweep_at: datetime | None = None
    oldest_request_s: float | None = None
    suspended: str | None = None
    sweep: SweepProgress | None = None


class Failure(BaseModel):
    """One action that was not applied: refused (the world moved), failed, or not tried, and why."""

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    kind: str
    result: str
    message: str
    hint: str = ""


class ApplyResult(BaseModel):
    """What became of one store's plan."""

    model_config = ConfigDict(frozen=True)

    store: StoreName
    applied: MappingOf[str, int] = Field(default_factory=dict)
    failed: tuple[Failure, ...] = ()
    held: int = 0
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
    oldest_request_s: float | None = None,
    sweep: SweepProgress | None = None,
) -> StatusRow:
    """The row of one store, from how many mappings have each (status, reason)."""
    held: dict[str, int] = {}
    for (status, reason), count in tally.items():
        if status == "held":
            held[reason or "unknown"] = held.get(reason or "unknown", 0) + count
    in_sync = sum(n for (status, _), n in tally.items() if status == "in_sync")
    pending = sum(n for (status, _), n in tally.items() if status == "pending")
    wanted = profiles if profiles is not None else in_sync + pending + sum(held.values())
    return StatusRow(
        store=store,
        shop=shop,
        profiles=wanted,
        mapped=mapped,
        in_sync=in_sync,
        pending=max(pending, wanted - in_sync - sum(held.values())),
        held=dict(sorted(held.items())),
        parity=round(min(in_sync / wanted, 1.0), 6) if wanted else 1.0,
        last_sweep_at=last_sweep_at,
        suspended=suspended,
        oldest_request_s=oldest_request_s,
        sweep=sweep,
    )
