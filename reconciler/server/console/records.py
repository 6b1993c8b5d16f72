"""The pages on what was done: runs, one run, and changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fastapi import Request
from fastapi.responses import Response

from reconciler.core.model.ids import StoreName
from reconciler.server.access import Verdict
from reconciler.server.console.rendering import Renderer
from reconciler.server.service import Service

RUNS_MAX: Final = 50
EVENTS_MAX: Final = 100
NUMBER_MAX: Final = 2**31 - 1  # of a run


class RecordPages:
    """Runs and changes. `stores` is read at each request."""

    def __init__(self, service: Service, renderer: Renderer, stores: Collection[StoreName]) -> None:
        self._service, self._renderer, self._stores = service, renderer, stores

    def runs(self, request: Request, verdict: Verdict) -> Response:
        store, before = self._store(request), number_of(request.query_params.get("before", ""))
        runs = self._service.runs(store=store, before=before, limit=RUNS_MAX)
        return self._renderer.page(
            "runs.html",
            request,
            verdict=verdict,
            runs=runs,
            before=runs[-1].id if len(runs) == RUNS_MAX else None,
            stores=tuple(self._stores),
            store=store,
        )

    def run(self, request: Request, verdict: Verdict) -> Response:
        number = number_of(request.path_params["number"])
        run = self._service.find_run(number) if number is not None else None
        return self._renderer.page(
            "run.html",
            request,
            status=200 if run else 404,
            verdict=verdict,
            run=run,
            events=self._service.run_events(run.id, limit=EVENTS_MAX) if run else (),
            events_max=EVENTS_MAX,
        )

    def events(self, request: Request, verdict: Verdict) -> Response:
        store = self._store(request)
        return self._renderer.page(
            "events.html",
            request,
            verdict=verdict,
            events=self._service.recent_events(store=store, limit=EVENTS_MAX),
            stores=tuple(self._stores),
            store=store,
        )

    def _store(self, request: Request) -> StoreName | None:
        asked = request.query_params.get("store", "")
        return StoreName(asked) if asked in self._stores else None


def number_of(text: str) -> int | None:
    """The number of a run in a path or a parameter; None if it is none."""
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) <= NUMBER_MAX else None
