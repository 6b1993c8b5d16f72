"""The state's samples of parity."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from reconciler.core.model.ids import ShopDomain
from reconciler.core.report.parity import ParitySample


class ParityReader(Protocol):
    """Reads parity over time."""

    def parity_lines(self, shops: Collection[ShopDomain], *, since: datetime) -> list[ParitySample]:
        """The samples of these shops, oldest first: 600 of each at most, since older ones are thinned out."""


class ParityRepository(ParityReader, Protocol):
    """Keeps samples of parity: at most one of a shop in five minutes, however many replicas sample."""

    def is_sampled(self, shops: Collection[ShopDomain], *, at: datetime) -> bool:
        """Whether one of these shops has a sample within the five minutes of this time."""

    def note_parity(self, samples: Sequence[ParitySample]) -> None:
        """Record samples. One within five minutes that have a sample is dropped."""
