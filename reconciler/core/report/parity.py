"""Parity over time: one sample of a store's status."""

from __future__ import annotations

from datetime import datetime

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain
from reconciler.core.report.status import StatusRow


@frozen
class ParitySample:
    """How many users a store wanted at this time, and how many of them were in sync, pending and held.

    `parity` is None where it was unknown: before the first full scan, or while the shop refused access.
    """

    shop: ShopDomain
    at: datetime
    profiles: int
    in_sync: int
    pending: int
    held: int
    parity: float | None


def sample_of(row: StatusRow, shop: ShopDomain, at: datetime) -> ParitySample:
    """The sample of a status. `shop`: the shop's key in the state."""
    return ParitySample(
        shop=shop,
        at=at,
        profiles=row.profiles,
        in_sync=row.in_sync,
        pending=row.pending,
        held=sum(row.held.values()),
        parity=row.parity if row.parity_note is None else None,
    )
