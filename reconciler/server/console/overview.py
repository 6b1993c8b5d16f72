"""The pages on stores: all of them with what needs a person, and one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Final, get_args

from fastapi import Request
from fastapi.responses import Response

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.model.run import NOTABLE_KINDS
from reconciler.core.report.status import StatusRow
from reconciler.ports import Clock
from reconciler.server.access import Verdict
from reconciler.server.acting import Kind
from reconciler.server.console import words
from reconciler.server.console.charts import parity_chart
from reconciler.server.console.live import OverviewReader
from reconciler.server.console.rendering import Renderer
from reconciler.server.limits import CONTENT_POLICY
from reconciler.server.service import Service

DAYS: Final = 30
RUNS_SHOWN: Final = 5
EVENTS_SHOWN: Final = 12
ACTS_SHOWN: Final = 10
LIVE_POLICY: Final = f"{CONTENT_POLICY}; script-src 'self'; connect-src 'self'"
CHARTED_MAX: Final = 100  # stores of which samples are read for the line of all


@frozen
class Need:
    """Users who are held for one reason: what it means, what to do, and how many in which store."""

    reason: str
    count: int
    meaning: str
    next_step: str
    stores: tuple[tuple[StoreName, int], ...]


@frozen
class Trouble:
    """Stores that are suspended or failing for the same reason."""

    state: str
    message: str
    stores: tuple[StoreName, ...]


class StorePages:
    """The overview, the page of a store, and the rollout. `stores` is read at each request."""

    def __init__(self, service: Service, clock: Clock, renderer: Renderer, stores: Collection[StoreName]) -> None:
        self._service, self._clock, self._renderer, self._stores = service, clock, renderer, stores
        self._overview = OverviewReader(
            service, clock, days=DAYS, charted_max=CHARTED_MAX, runs=RUNS_SHOWN, events=EVENTS_SHOWN
        )

    def overview(self, request: Request, verdict: Verdict) -> Response:
        """The page; 304 to a script that has it as it is now."""
        only = request.query_params.get("store", "").strip()[:100]
        known = request.headers.get("if-none-match")
        seen = self._overview.read() if known is None else self._overview.recent()
        now = self._clock.now()
        tag = seen.tag(now, only, verdict)
        headers = {"etag": tag, "content-security-policy": LIVE_POLICY}
        if known == tag:
            return Response(status_code=304, headers=headers)
        page = self._renderer.page(
            "overview.html",
            request,
            verdict=verdict,
            tag=tag,
            only=only,
            rows=[row for row in seen.rows if only.casefold() in row.store.casefold()],
            total_stores=len(seen.rows),
            totals=_totals(seen.rows),
            needs=needs_by_reason(seen.rows),
            troubles=troubles_of(seen.rows),
            chart=parity_chart(seen.samples, until=now),
            reasons=seen.reasons,
            config_problem=seen.config_problem,
            rollout=seen.rollout,
            runs=seen.runs,
            events=seen.events,
        )
        page.headers.update(headers)
        return page

    def store(self, request: Request, verdict: Verdict) -> Response:
        name = StoreName(request.path_params["store"])
        row = next(iter(self._service.status_rows(name)), None)
        if row is None:
            return self._renderer.no_store(request, verdict, name)
        now = self._clock.now()
        samples = self._service.parity_lines([name], since=now - timedelta(days=DAYS))
        return self._renderer.page(
            "store.html",
            request,
            verdict=verdict,
            done=done_act(request),
            row=row,
            needs=needs_by_reason([row]),
            chart=parity_chart(samples, until=now),
            runs=self._service.runs(store=name, kinds=NOTABLE_KINDS, limit=RUNS_SHOWN),
            acts=self._service.acts(store=name, limit=ACTS_SHOWN),
            events=self._service.recent_events(store=name, limit=EVENTS_SHOWN),
        )

    def rollout(self, request: Request, verdict: Verdict) -> Response:
        report = self._service.rollout(with_changes=True)
        return self._renderer.page("rollout.html", request, verdict=verdict, done=done_act(request), report=report)


def done_act(request: Request) -> str:
    """The act that was done before this page, for its note; empty without one."""
    given = request.query_params.get("done", "")
    return given if given in get_args(Kind) else ""


def needs_by_reason(rows: Iterable[StatusRow]) -> list[Need]:
    """What needs a person, the most frequent reason first."""
    found: defaultdict[str, dict[StoreName, int]] = defaultdict(dict)
    for row in rows:
        for reason, count in row.held.items():
            if count:
                found[reason][row.store] = count
    needs = [
        Need(
            reason,
            sum(stores.values()),
            *words.explain(reason),
            tuple(sorted(stores.items(), key=lambda each: (-each[1], each[0]))),
        )
        for reason, stores in found.items()
    ]
    return sorted(needs, key=lambda need: (-need.count, need.reason))


def troubles_of(rows: Iterable[StatusRow]) -> list[Trouble]:
    """The stores that are suspended or failing, by what is wrong."""
    found: defaultdict[tuple[str, str], list[StoreName]] = defaultdict(list)
    for row in rows:
        if message := row.suspended or row.failing:
            common = message.replace(row.shop, "the shop").removeprefix("the shop: ")
            found["suspended" if row.suspended else "failing", common].append(row.store)
    return [Trouble(state, message, tuple(stores)) for (state, message), stores in found.items()]


def _totals(rows: Sequence[StatusRow]) -> dict[str, float | None]:
    """Figures of all stores. Where the parity is unknown, no user counts as in sync."""
    weight = sum(
        row.profiles or (row.last_sweep_at is None) for row in rows
    )  # a store without a full resync counts too
    return {
        "parity": sum(row.in_sync for row in rows if row.parity) / weight if weight else None,
        "unknown": sum(row.suspended is not None or row.last_sweep_at is None for row in rows),
        "profiles": sum(row.profiles for row in rows),
        "in_sync": sum(row.in_sync for row in rows),
        "pending": sum(row.pending for row in rows),
        "held": sum(sum(row.held.values()) for row in rows),
    }
