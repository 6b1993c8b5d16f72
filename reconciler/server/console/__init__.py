"""The console: HTML pages rendered on the server, without external resources. A script keeps the overview current.

They show the parity of each store, what needs a person, one user in all stores, pending plans, runs and changes. They read
the state; a plan and the page of a person also read profiles and shops. With an operator's token a person may also act.
"""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from reconciler.core.model.ids import StoreName
from reconciler.ports import Clock
from reconciler.server.access import Access
from reconciler.server.console.acts import ActPages
from reconciler.server.console.overview import StorePages
from reconciler.server.console.people import PeoplePages
from reconciler.server.console.plans import PlanPages
from reconciler.server.console.records import RecordPages
from reconciler.server.console.rendering import Renderer, script, style
from reconciler.server.console.sign_in import SignIn
from reconciler.server.service import Service


def routes(service: Service, access: Access, clock: Clock, *, stores: Collection[StoreName]) -> APIRouter:
    """Return the console's routes, none of them in the OpenAPI page. `stores` is read at each request."""
    renderer = Renderer(clock)
    sign_in = SignIn(service, access, clock, renderer)
    store_pages = StorePages(service, clock, renderer, stores)
    people = PeoplePages(service, renderer, stores, lambda request: access.caller(request, clock.now()))
    acts = ActPages(service, clock, renderer, stores, lambda request: access.caller(request, clock.now()))
    plans = PlanPages(service, renderer, stores)
    records = RecordPages(service, renderer, stores)
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    for path, view in (
        ("/", store_pages.overview),
        ("/stores/{store}", store_pages.store),
        ("/stores/{store}/plan", plans.plan),
        ("/plans", plans.plans),
        ("/people", people.people),
        ("/people/{user}", people.person),
        ("/runs", records.runs),
        ("/runs/{number}", records.run),
        ("/runs/{number}/undo", plans.revert),
        ("/events", records.events),
        ("/rollout", store_pages.rollout),
        ("/acts/ask", acts.ask),
    ):
        router.add_api_route(path, sign_in.guard(view), methods=["GET"])
    router.add_api_route("/people/{user}/look", sign_in.guard(people.nudge), methods=["POST"])
    router.add_api_route("/acts", acts.act, methods=["POST"])
    router.add_api_route("/login", sign_in.login, methods=["POST"])
    router.add_api_route("/logout", sign_in.logout, methods=["POST"])
    router.add_api_route("/static/console.css", style, methods=["GET"])
    router.add_api_route("/static/console.js", script, methods=["GET"])
    return router
