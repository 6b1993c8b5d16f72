"""What carrying a plan out will cost: points and seconds at the shop's own rate, and whether bulk operations pay.

A mutation that selects scalars only costs 10 points (Shopify Admin API 2026-10, measured 2026). A bulk mutation draws
no points while it runs: only staging, starting and polling do; but it takes minutes until its results are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf

from reconciler.core import normalise
from reconciler.core.plan import Action, Change, Forecast, Kind

MUTATION_POINTS = 10
BULK_RUN_POINTS = 60  # staged upload, start, and some forty polls of one point each
BULK_LATENCY_S = 120.0  # until a bulk operation of any size has come back, on the careful side
BULK_KINDS = frozenset({"create", "update"})


def points_of(kind: Kind, changes: tuple[Change, ...], how: str = "") -> int:
    """What carrying out one action costs at the shop: ten points a mutation."""
    if kind == "release" and how in {"delete", "erase"}:
        return MUTATION_POINTS
    fields = {c.field for c in changes}
    metafields = [c for c in changes if c.field.startswith("metafields.")]
    calls = bool([c for c in metafields if c.after is not None]) + bool([c for c in metafields if c.after is None])
    if kind == "create":
        return MUTATION_POINTS * (1 + calls)
    tags = next((c for c in changes if c.field == "tags"), None)
    if tags is not None:
        before, after = normalise.tag_keys(tags.before), normalise.tag_keys(tags.after)
        calls += bool(after - before) + bool(before - after)
    scalars = {f for f in fields if f not in {"tags", "backlink"} and not f.startswith("metafields.")}
    taken_over = any(c.field == "backlink" and c.before is not None and c.after is not None for c in changes)
    calls += bool(scalars) + ("backlink" in fields) + taken_over
    if kind == "relink":
        calls += 4  # the old customer: back-link off, our tags off, the trace; the new one: an older trace off
    if kind == "merge":
        calls += 1
    return MUTATION_POINTS * calls


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
