"""What a running controller tells machines: its metrics as a table for the docs, and its log events as the code has them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.report.status import StatusRow
from reconciler.manager.metrics import GaugeValues, Metrics
from reconciler.server.health import WebhookMetrics
from tests.standards.tree import modules

STORE = StoreName("acme-us")
LEVELS = {"exception": {"error"}, "level": {"info", "warning"}}


def registry_of_a_replica() -> CollectorRegistry:
    """All metrics of a replica, each with at least one sample."""
    metrics = Metrics(workers=1)
    metrics.follow([STORE])
    row = StatusRow(
        store=STORE, shop=ShopDomain("acme.myshopify.com"), profiles=1, mapped=1, in_sync=0, pending=0, parity=0.0,
        held={"EmailTaken": 1},
    )  # fmt: skip
    metrics.read_at_scrape(
        lambda: GaugeValues(
            [row], depth=0, oldest_s=0.0, longest_running_s=0.0, points_left={STORE: 1.0}, has_waves=True
        )
    )
    WebhookMetrics(metrics.registry).note("clerk", "queued", 0.0)
    return metrics.registry


def names_in(collector: Collector) -> Iterator[str]:
    """The names by which queries may ask for them."""
    for family in collector.collect():
        yield from ([f"{family.name}_total"] if family.type == "counter" else [family.name])
        if family.type == "histogram":
            yield from (f"{family.name}_{part}" for part in ("bucket", "count", "sum"))


def metrics_table() -> str:
    """Each metric with its type, labels and meaning, by name."""
    rows = []
    for family in registry_of_a_replica().collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *sorted(rows)])


@dataclass(slots=True)
class LogEvent:
    """One event as the code logs it: the levels and the names of its fields, over all places."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def logged_events() -> dict[str, LogEvent]:
    """All events that the product logs, by name. The name must be a literal."""
    found: dict[str, LogEvent] = {}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (level := _level(node.func)) is not None:
                assert isinstance(node.args[0], ast.Constant), f"{name}:{node.lineno}"
                event = found.setdefault(str(node.args[0].value), LogEvent())
                event.levels |= LEVELS.get(level, {level})
                event.fields |= {keyword.arg for keyword in node.keywords if keyword.arg not in {None, "exc_info"}}
    return found


def _level(call: ast.expr) -> str | None:
    """`_log.info(…)`, or `level(…)` where the level was chosen before."""
    if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id == "_log":
        return call.attr
    return call.id if isinstance(call, ast.Name) and call.id == "level" else None
