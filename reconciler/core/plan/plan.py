"""Plan: actions and holds of one or many stores, sorted, counted and identified by a digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reconciler.core.model.action import KINDS, Action, Hold
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.plan.series import Series, canonical_parts, dumped_around


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Summary(_Value):
    """Counts of one store or of a whole plan."""

    create: int = 0
    adopt: int = 0
    update: int = 0
    relink: int = 0
    merge: int = 0
    release: int = 0
    hold: int = 0
    in_sync: int = 0

    @property
    def actions(self) -> int:
        return sum(getattr(self, kind) for kind in KINDS)


class Forecast(_Value):
    """The cost of the writes: points, and seconds at the shop's restore rate; and the points as bulk operations.

    Bulk operations cost no points while they run, but take minutes: `bulk_worth_it` if single writes take longer.
    """

    points: int = 0
    seconds: float = 0.0
    restore_rate: float = 100.0
    bulk_points: int = 0
    bulk_worth_it: bool = False


class StorePlan(_Value):
    """One store's part of a plan. With `error` set nothing was decided, and the rest is empty.

    Actions are sorted by kind and user, holds by user and reason; both may be larger than memory.
    """

    store: StoreName
    shop: ShopDomain
    error: str | None = None
    error_hint: str = ""
    summary: Summary = Summary()
    actions: Series[Action] = ()
    holds: Series[Hold] = ()
    forecast: Forecast = Forecast()
    config_digest: str = ""


class Plan(_Value):
    """The plan that `plan` shows and `apply` executes. The same profiles, shops and state give the same digest."""

    version: Literal[1] = 1
    digest: str
    created_at: datetime
    summary: Summary
    stores: tuple[StorePlan, ...]


def summary_of(actions: Iterable[Action], holds: Collection[Hold], in_sync: int) -> Summary:
    """The summary of one store."""
    counts: Counter[str] = Counter(action.kind for action in actions)
    return Summary(**counts, hold=len(holds), in_sync=in_sync)


def build_plan(stores: Iterable[StorePlan], *, created_at: datetime) -> Plan:
    """The plan of these stores, sorted by name, with totals and digest."""
    ordered = tuple(sorted(stores, key=lambda s: s.store))
    totals = {name: sum(getattr(s.summary, name) for s in ordered) for name in Summary.model_fields}
    return Plan(digest=digest_of_stores(ordered), created_at=created_at, summary=Summary(**totals), stores=ordered)


def digest_of_stores(stores: Iterable[StorePlan]) -> str:
    """`sha256:…` over all decisions, without the time of planning and the forecast."""
    found = hashlib.sha256()
    body = [json_parts(store) for store in stores]
    for part in body:
        del part["forecast"], part["error_hint"]
    for text in canonical_parts(body):
        found.update(text.encode())
    return "sha256:" + found.hexdigest()


def json_parts(store: StorePlan) -> dict[str, Any]:
    """One store's part as JSON values, with its actions and holds as series."""
    return dumped_around(store, {"actions": store.actions, "holds": store.holds})
