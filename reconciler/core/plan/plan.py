"""Plan: actions and holds of one or many stores, sorted, counted and identified by a digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import fields
from datetime import datetime
from operator import not_
from typing import Annotated, Literal

from pydantic import Field

from reconciler.core.model.action import KINDS, AcceptedDrift, Action, Hold
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.plan.series import Series, canonical_parts, dump_around


@frozen(kw_only=True)
class Summary:
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


@frozen(kw_only=True)
class Forecast:
    """The cost of the writes: points, and seconds at the shop's restore rate; and the points as bulk operations.

    Bulk operations cost no points while they run, but take minutes: `bulk_worth_it` if single writes take longer.
    """

    points: int = 0
    seconds: float = 0.0
    restore_rate: float = 100.0
    bulk_points: int = 0
    bulk_worth_it: bool = False


@frozen(kw_only=True)
class Unaffected:
    """A user that a person named. Nothing is planned for them although they are not in sync: `answer` says why."""

    clerk_user_id: ClerkUserId
    name: str
    status: str
    answer: str


@frozen(kw_only=True)
class StorePlan:
    """One store's part of a plan. With `error` set nothing was decided, and the rest is empty.

    Actions are sorted by kind and user, holds by user and reason; both may be larger than memory. `accepted` is
    drift that is accepted for now; its users count as in sync unless something else is to be done. `unaffected` is
    empty in a plan of all users. `wave_error`: why the plan lacks the holds for what its wave of a rollout will write.
    """

    store: StoreName
    shop: ShopDomain
    error: str | None = None
    error_hint: str = ""
    summary: Summary = Summary()
    actions: Series[Action] = ()
    holds: Series[Hold] = ()
    accepted: tuple[AcceptedDrift, ...] = ()
    unaffected: Annotated[tuple[Unaffected, ...], Field(exclude_if=not_)] = ()
    wave_error: Annotated[str, Field(exclude_if=not_)] = ""
    wave_hint: Annotated[str, Field(exclude_if=not_)] = ""
    forecast: Forecast = Forecast()
    config_digest: str = ""


@frozen(kw_only=True)
class Plan:
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
    totals = total(store.summary for store in ordered)
    return Plan(digest=digest_of_stores(ordered), created_at=created_at, summary=totals, stores=ordered)


def total(summaries: Iterable[Summary]) -> Summary:
    """The sums of these counts."""
    rows = [*summaries]
    return Summary(**{each.name: sum(getattr(row, each.name) for row in rows) for each in fields(Summary)})


def digest_of_stores(stores: Iterable[StorePlan]) -> str:
    """`sha256:…` over all decisions, without the time of planning, the forecast, and what is left alone."""
    found = hashlib.sha256()
    body = [json_parts(store) for store in stores]
    for part in body:
        del part["forecast"], part["error_hint"], part["accepted"]
        part.pop("unaffected", None)
        part.pop("wave_hint", None)
    for text in canonical_parts(body):
        found.update(text.encode())
    return "sha256:" + found.hexdigest()


def json_parts(store: StorePlan) -> dict[str, object]:
    """One store's part as JSON values, with its actions and holds as series."""
    return dump_around(store, {"actions": store.actions, "holds": store.holds})
