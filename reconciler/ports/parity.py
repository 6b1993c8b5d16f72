"""The state's samples of parity."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from reconciler.core.model.ids import ShopDomain
from reconciler.core.report.parity import ParitySample


class ParityReader(Protocol):
    """Reads parity over time."""

    def parity_lines(self, shops: Collection[ShopDomain], *, since: datetime) -> list[ParitySample]:
        """The samples of these shops, oldest first: 600 of each at most, since older ones are thinned out."""
