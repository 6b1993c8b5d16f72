"""The pages on people: a search, and one person in all stores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, get_args
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from reconciler.core.model.act import Actor
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.mapping import Status
from reconciler.core.report.answer import Candidate, Former
from reconciler.core.report.explain import ExplainedStore
from reconciler.core.report.pending import Pending
from reconciler.errors import ReconcilerError, SourceError
from reconciler.server.access import Caller, Verdict
from reconciler.server.acting import is_foreign
from reconciler.server.callers import sought_text
from reconciler.server.console.overview import done_act
from reconciler.server.console.rendering import Renderer
from reconciler.server.service import Service

PEOPLE_MAX: Final = 100
EVENTS_MAX: Final = 100
ACTS_MAX: Final = 20
STATUSES: Final[tuple[Status, ...]] = get_args(Status)


class PeoplePages:
    """The search, the page of a person, and its button. `stores` is read at each request."""

    def __init__(
        self,
        service: Service,
        renderer: Renderer,
        stores: Collection[StoreName],
        caller: Callable[[Request], Caller | None],
    ) -> None:
        """`caller`: who sends a request."""
        self._service, self._renderer, self._stores, self._caller = service, renderer, stores, caller

    def people(self, request: Request, verdict: Verdict) -> Response:
        asked = {name: sought_text(request.query_params.get(name, "")) for name in ("q", "store", "status", "reason")}
        status = next((known for known in STATUSES if known == asked["status"]), None)
        store = StoreName(asked["store"]) if asked["store"] in self._stores else None
        found = self._service.find_people(
            asked["q"],
            store=store,
            status=status,
            reason=asked["reason"] or None,
            limit=PEOPLE_MAX + 1,
        )
        unmapped: Sequence[Candidate] = ()
        former: Sequence[Former] = ()
        unread: str | None = None
        if asked["q"] and not (store or status or asked["reason"]):
            try:
                unmapped = self._service.find_unmapped(asked["q"], limit=PEOPLE_MAX)
                former = () if found or unmapped else self._service.find_former(asked["q"])
            except SourceError as error:  # what the state knows is shown all the same
                unread = error.message
        return self._renderer.page(
            "people.html",
            request,
            verdict=verdict,
            asked=asked,
            people=found[:PEOPLE_MAX],
            more=len(found) > PEOPLE_MAX,
            unmapped=unmapped,
            former=former,
            unread=unread,
            stores=tuple(self._stores),
            statuses=STATUSES,
        )

    def person(self, request: Request, verdict: Verdict) -> Response:
        """What the state knows immediately, and what the profile and the shops have as soon as that was read."""
        user = ClerkUserId(request.path_params["user"])
        rows = {row.store: row for row in self._service.person(user)} if user.isprintable() else {}
        explained: dict[StoreName, ExplainedStore] = {}
        name: str | None = None
        pending: Pending | None = None
        problem: ReconcilerError | None = None
        try:
            found = self._service.explain(user) if user.isprintable() else None
            if isinstance(found, Pending):
                pending = found
            elif found is not None:
                name = found.name
                explained = {store.store: store for store in found.stores}
        except ReconcilerError as error:
            problem = error
        there = bool(rows or explained or pending)
        return self._renderer.page(
            "person.html",
            request,
            status=200 if there else 404,
            verdict=verdict,
            user=user,
            name=name,
            rows=rows,
            explained=explained,
            pending=pending,
            problem=problem,
            names=sorted({*rows, *explained}),
            unwanted=[n for n, e in sorted(explained.items()) if n not in rows and e.agrees and e.status == "unwanted"],
            done=done_act(request),
            queued="queued" in request.query_params,
            acts=self._service.acts(user=user, limit=ACTS_MAX) if there else (),
            events=self._service.recent_events(user=user, limit=EVENTS_MAX) if there else (),
        )

    def nudge(self, request: Request, verdict: Verdict) -> Response:
        """Nudge this user. Requires an operator's token, and a form of our own page."""
        if verdict != "operator" or is_foreign(request):
            return self._renderer.denied(request, verdict)
        user = ClerkUserId(request.path_params["user"])
        if not user.isprintable() or not self._service.person(user):
            return RedirectResponse(f"/people/{quote(user, safe='')}", 303)
        caller = self._caller(request)
        assert caller is not None
        self._service.reconcile(user, Actor(caller.name, "console"))
        return RedirectResponse(f"/people/{quote(user, safe='')}?queued", 303)
