"""The line of parity over time, as a path of SVG."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain
from reconciler.core.report.parity import ParitySample

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0
SPAN_MIN: Final = 0.02  # of the axis: a change of a tenth of a per cent is no cliff
POINTS_MIN: Final = 2


@frozen
class ParityChart:
    """`path` is a line in a box of WIDTH by HEIGHT, with `bottom` as its lower edge. `low` was at `low_at`."""

    path: str
    bottom: float
    low: float
    low_at: datetime
    last: float
    since: datetime


def parity_chart(samples: Iterable[ParitySample], *, until: datetime) -> ParityChart | None:
    """The parity of all sampled stores together; None with fewer than two known values."""
    values = _together(samples)
    known = [(at, value) for at, value in values if value is not None]
    if len(known) < POINTS_MIN:
        return None
    low_at, low = min(known, key=lambda each: (each[1], each[0]))
    since = values[0][0]
    bottom = max(0.0, min(low, 1 - SPAN_MIN))
    return ParityChart(
        path=_path(values, since=since, until=until, bottom=bottom),
        bottom=bottom,
        low=low,
        low_at=low_at,
        last=known[-1][1],
        since=since,
    )


def _together(samples: Iterable[ParitySample]) -> list[tuple[datetime, float | None]]:
    """The share of users in sync at each time of a sample, with the last known counts of the other stores."""
    latest: dict[ShopDomain, ParitySample] = {}
    found: dict[datetime, float | None] = {}
    for sample in sorted(samples, key=lambda each: each.at):
        latest[sample.shop] = sample
        known = [each for each in latest.values() if each.parity is not None]
        wanted = sum(each.profiles for each in known)
        found[sample.at] = sum(each.in_sync for each in known) / wanted if wanted else None
    return list(found.items())


def _path(values: list[tuple[datetime, float | None]], *, since: datetime, until: datetime, bottom: float) -> str:
    """Lines from value to value, with gaps where the parity was unknown."""
    whole_s = max((until - since).total_seconds(), 1.0)
    parts: list[str] = []
    pen = "M"
    for at, value in values:
        if value is None:
            pen = "M"
            continue
        x = WIDTH * (at - since).total_seconds() / whole_s
        y = HEIGHT * (1 - (value - bottom) / (1 - bottom)) if bottom < 1 else 0.0
        parts.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return " ".join(parts)
