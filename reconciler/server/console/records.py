"""The pages on what was done: runs, one run, and changes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response

from reconciler.core.model.action import KINDS
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.run import RUN_KINDS
from reconciler.core.report.changes import ChangesAsked, EventPlace
from reconciler.server.access import Verdict
from reconciler.server.callers import sought_text
from reconciler.server.console.rendering import Renderer
from reconciler.server.service import Service

RUNS_MAX: Final = 50
EVENTS_MAX: Final = 100
ACTS_MAX: Final = 20
PEOPLE_MAX: Final = 100
ASKED: Final = ("q", "store", "kind", "field", "actor", "since", "until")
EVENT_KINDS: Final = (*KINDS, "undo")
NUMBER_MAX: Final = 2**31 - 1  # of a run


class RecordPages:
    """Runs and changes. `stores` is read at each request."""

    def __init__(self, service: Service, renderer: Renderer, stores: Collection[StoreName]) -> None:
        self._service, self._renderer, self._stores = service, renderer, stores

    def runs(self, request: Request, verdict: Verdict) -> Response:
        store, before = self._store(request), number_of(request.query_params.get("before", ""))
        kind = next((kind for kind in RUN_KINDS if kind == request.query_params.get("kind")), None)
        runs = self._service.runs(store=store, kinds=() if kind is None else (kind,), before=before, limit=RUNS_MAX)
        return self._renderer.page(
            "runs.html",
            request,
            verdict=verdict,
            runs=runs,
            before=runs[-1].id if len(runs) == RUNS_MAX else None,
            stores=tuple(self._stores),
            store=store,
            kinds=RUN_KINDS,
            kind=kind,
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
        """The search: by person, field, kind, store, actor and days, page by page."""
        given = {name: sought_text(request.query_params.get(name, "")) for name in ASKED}
        place = EventPlace.parse(request.query_params.get("before", ""))
        asked = ChangesAsked(
            users=self._users(given["q"]),
            store=self._store(request),
            kind=given["kind"] or None,
            field=given["field"].replace(" ", "_") or None,
            actor=given["actor"] or None,
            since=_day(given["since"]),
            until=_day(given["until"], days=1),
            before=place,
        )
        found = self._service.changes(asked, limit=EVENTS_MAX)
        first = place is None and asked.field is None
        return self._renderer.page(
            "events.html",
            request,
            verdict=verdict,
            given=given,
            events=found.events,
            older=urlencode({**{k: v for k, v in given.items() if v}, "before": found.before})
            if found.before
            else None,
            searched_to=found.searched_to,
            acts=self._service.find_acts(asked, limit=ACTS_MAX) if first else (),
            kinds=EVENT_KINDS,
            is_newest=place is None,
            stores=tuple(self._stores),
        )

    def _users(self, text: str) -> tuple[ClerkUserId, ...] | None:
        """The users that a search for a person means, a bounded number; None without a search.

        Also those who had this email or this customer before: their changes are what is sought.
        """
        if not text:
            return None
        found = self._service.find_people(text, store=None, status=None, reason=None, limit=PEOPLE_MAX)
        former = self._service.find_former(text)
        users = [ClerkUserId(text), *(row.clerk_user_id for row in found), *(was.clerk_user_id for was in former)]
        return tuple(dict.fromkeys(users))

    def _store(self, request: Request) -> StoreName | None:
        asked = request.query_params.get("store", "")
        return StoreName(asked) if asked in self._stores else None


def _day(text: str, *, days: int = 0) -> datetime | None:
    """The beginning of a day (UTC), or of the one so many days later; None for another text."""
    try:
        return datetime.combine(date.fromisoformat(text) + timedelta(days=days), time(), UTC)
    except (ValueError, OverflowError):
        return None


def number_of(text: str) -> int | None:
    """The number of a run in a path or a parameter; None if it is none."""
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) <= NUMBER_MAX else None
