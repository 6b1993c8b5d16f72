"""The cost of executing a plan: points, seconds at the shop's restore rate, and whether bulk operations are faster.

A bulk mutation costs points only for staging, starting and polling. Its results take minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf

from reconciler.core.model.action import Action, Kind
from reconciler.core.plan.plan import Forecast

BULK_RUN_POINTS = 60  # staged upload, start, and about forty polls of one point each
BULK_LATENCY_S = 120.0  # a conservative duration of a bulk operation of any size
SLOW_S = 600.0  # above this, `run`, which writes one by one, advises `apply --bulk auto`
BULK_KINDS = frozenset({"create", "update"})


def forecast(actions: Iterable[Action], restore_rate: float) -> Forecast:
    """The forecast of these actions."""
    return forecast_of(costs_of(actions), restore_rate)


def costs_of(actions: Iterable[Action]) -> Counter[Kind]:
    """Points of each kind that occurs, including kinds that cost nothing."""
    found: Counter[Kind] = Counter()
    for action in actions:
        found[action.kind] += action.cost_points
    return found


def forecast_of(costs: MappingOf[Kind, int], restore_rate: float) -> Forecast:
    """The forecast from the points of each kind."""
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
