"""What carrying a plan out will cost: points and seconds at the shop's own rate, and whether bulk operations pay.

A bulk mutation draws no points while it runs; only staging, starting and polling do. Its results take minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf

from reconciler.core.model.action import Action, Kind
from reconciler.core.plan.plan import Forecast

BULK_RUN_POINTS = 60  # staged upload, start, and some forty polls of one point each
BULK_LATENCY_S = 120.0  # until a bulk operation of any size has come back, on the careful side
SLOW_S = 600.0  # `run` writes one by one: where that takes longer, it says that `apply --bulk auto` is faster
BULK_KINDS = frozenset({"create", "update"})


def forecast(actions: Iterable[Action], restore_rate: float) -> Forecast:
    """Points and seconds of these actions, one by one and in bulk."""
    return forecast_of(costs_of(actions), restore_rate)


def costs_of(actions: Iterable[Action]) -> Counter[Kind]:
    """Points per kind; a kind that is there is named, even where it costs nothing."""
    found: Counter[Kind] = Counter()
    for action in actions:
        found[action.kind] += action.cost_points
    return found


def forecast_of(costs: MappingOf[Kind, int], restore_rate: float) -> Forecast:
    """The same from the points of each kind."""
    points = sum(costs.values())
    bulky = sum(costs[kind] for kind in costs.keys() & BULK_KINDS)
    rate = max(restore_rate, 1.0)
    kinds = len(costs.keys() & BULK_KINDS)
    return Forecast(
        points=points,
        seconds=round(points / rate, 1),
        bulk_points=points - bulky + BULK_RUN_POINTS * kinds,
        restore_rate=rate,
        bulk_worth_it=kinds > 0 and bulky / rate > BULK_LATENCY_S * kinds,
    )
