"""The console: HTML pages rendered on the server, without scripts and without external resources.

They show the parity of each store, held users with reasons, one user in all stores, and recent events. The console only
reads the state; with an operator's token a person may also nudge a user.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Final, get_args
from urllib.parse import parse_qs, quote, urlencode

from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.mapping import Status
from reconciler.errors import ReconcilerError
from reconciler.ports import Clock
from reconciler.server.access import COOKIE, COOKIE_S, Access, Verdict
from reconciler.server.console import words
from reconciler.server.service import Service
from reconciler.server.tokens import AccessToken

HERE: Final = Path(__file__).parent
PEOPLE_MAX: Final = 100
EVENTS_MAX: Final = 100
QUERY_MAX: Final = 320
FORM: Final = "application/x-www-form-urlencoded"
STATUSES: Final[tuple[Status, ...]] = get_args(Status)

View = Callable[[Request, Verdict], Response]


def routes(service: Service, access: Access, clock: Clock, *, stores: Collection[StoreName]) -> APIRouter:
    """Return the console's routes, none of them in the OpenAPI page. `stores` is read at each request."""
    pages = _Pages(service, access, clock, stores)
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    router.add_api_route("/", pages.guard(pages.parity), methods=["GET"])
    router.add_api_route("/people", pages.guard(pages.people), methods=["GET"])
    router.add_api_route("/people/{user}", pages.guard(pages.person), methods=["GET"])
    router.add_api_route("/people/{user}/look", pages.guard(pages.nudge), methods=["POST"])
    router.add_api_route("/events", pages.guard(pages.events), methods=["GET"])
    router.add_api_route("/login", pages.login, methods=["POST"])
    router.add_api_route("/logout", pages.logout, methods=["POST"])
    router.add_api_route("/static/console.css", _css, methods=["GET"])
    return router


def _css() -> Response:
    style = (HERE / "static" / "console.css").read_text(encoding="utf-8")
    return Response(style, media_type="text/css", headers={"cache-control": "public, max-age=300"})


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ago": words.ago,
        "stamp": words.stamp,
        "percent": words.percent,
        "shown": words.shown,
        "span": words.span,
        "admin_url": words.admin_url,
        "segment": lambda text: quote(text, safe=""),
        "field": words.field_name,
    }
    return made


class _Pages:
    def __init__(self, service: Service, access: Access, clock: Clock, stores: Collection[StoreName]) -> None:
        self._service = service
        self._access = access
        self._clock = clock
        self._stores = stores
        self._templates = _environment()

    # --- access ------------------------------------------------------------------------------------------------------

    def guard(self, view: View) -> Callable[[Request], Response]:
        """Wrap a view: without access it returns a page that says what is missing."""

        def handler(request: Request) -> Response:
            given = request.query_params.get("token")
            if given is not None and self._access.has_token:
                return self._token_for_cookie(request, given)
            try:
                verdict = self._access.verdict(request, self._clock.now())
                if verdict == "closed":
                    return self._page("gate.html", request, status=403, mode="closed")
                if verdict == "needs token":
                    return self._page("gate.html", request, status=401, mode="token")
                return view(request, verdict)
            except ReconcilerError as error:
                return self._page("failed.html", request, status=503, error=error)

        return handler

    def _token_for_cookie(self, request: Request, given: str) -> Response:
        """Redirect without the token in the address, so that the browser's history does not keep it."""
        token = self._access.console_token(given)
        if token is None:
            return self._page("gate.html", request, status=401, mode="wrong")
        rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
        return self._with_cookie(request, token, quote(request.url.path) + ("?" + urlencode(rest) if rest else ""))

    def login(self, request: Request, form: Annotated[bytes, Body(media_type=FORM, max_length=4096)] = b"") -> Response:
        """Read the form without FastAPI's `Form`, which needs python-multipart, a dependency of the simulator only."""
        if not self._access.has_token:
            return self._page("gate.html", request, status=403, mode="closed")
        token = self._access.console_token(parse_qs(form.decode(errors="replace")).get("token", [""])[0].strip())
        if token is None:
            return self._page("gate.html", request, status=401, mode="wrong")
        return self._with_cookie(request, token, "/")

    def logout(self, request: Request) -> Response:
        """End the session in all replicas immediately: deleting the cookie is not enough, since it may have been copied."""
        session = self._access.session_of(request, self._clock.now())
        if session is not None:
            try:
                self._service.end_session(session.name, until=session.until)
            except ReconcilerError as error:
                return self._page("failed.html", request, status=503, error=error)
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response

    def _with_cookie(self, request: Request, token: AccessToken, to: str) -> Response:
        response = RedirectResponse("/" + to.lstrip("/"), 303)  # never to another host
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"
        response.set_cookie(
            COOKIE,
            self._access.cookie(token, self._clock.now()),
            max_age=COOKIE_S,
            httponly=True,
            samesite="lax",
            secure=secure,
        )
        return response

    # --- pages -------------------------------------------------------------------------------------------------------

    def parity(self, request: Request, verdict: Verdict) -> Response:
        rows = sorted(self._service.status_rows(), key=lambda row: (row.suspended is None, row.parity, row.store))
        weight = sum(
            row.profiles or (row.last_sweep_at is None) for row in rows
        )  # a store without a full resync counts too
        totals = {
            "parity": sum(row.in_sync for row in rows if row.parity) / weight if weight else None,
            "profiles": sum(row.profiles for row in rows),
            "in_sync": sum(row.in_sync for row in rows),
            "pending": sum(row.pending for row in rows),
            "held": sum(sum(row.held.values()) for row in rows),
        }
        return self._page(
            "parity.html",
            request,
            verdict=verdict,
            rows=rows,
            totals=totals,
            reasons=self._service.readiness(),
            config_problem=self._service.config_problem(),
            events=self._service.recent_events(limit=12),
        )

    def people(self, request: Request, verdict: Verdict) -> Response:
        asked = {
            name: request.query_params.get(name, "").strip()[:QUERY_MAX] for name in ("q", "store", "status", "reason")
        }
        status = next((known for known in STATUSES if known == asked["status"]), None)
        store = StoreName(asked["store"]) if asked["store"] in self._stores else None
        found = self._service.find_people(
            asked["q"].replace("\x00", ""),
            store=store,
            status=status,
            reason=asked["reason"] or None,
            limit=PEOPLE_MAX + 1,
        )
        return self._page(
            "people.html",
            request,
            verdict=verdict,
            asked=asked,
            people=found[:PEOPLE_MAX],
            more=len(found) > PEOPLE_MAX,
            stores=tuple(self._stores),
            statuses=STATUSES,
        )

    def person(self, request: Request, verdict: Verdict) -> Response:
        user = ClerkUserId(request.path_params["user"])
        rows = self._service.person(user) if user.isprintable() else ()
        return self._page(
            "person.html",
            request,
            status=200 if rows else 404,
            verdict=verdict,
            user=user,
            rows=rows,
            looked="looked" in request.query_params,
            events=self._service.recent_events(user=user, limit=EVENTS_MAX) if rows else (),
        )

    def nudge(self, request: Request, verdict: Verdict) -> Response:
        """Nudge this user. Requires the token, and a form of our own page."""
        origin = request.headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()
        if verdict != "operator" or foreign:
            mode = "foreign" if foreign else "role" if verdict == "viewer" else "closed"
            return self._page("gate.html", request, status=403, mode=mode)
        user = ClerkUserId(request.path_params["user"])
        if not user.isprintable() or not self._service.person(user):
            return RedirectResponse(f"/people/{quote(user, safe='')}", 303)
        self._service.nudge_user(user, reason="nudge")
        return RedirectResponse(f"/people/{quote(user, safe='')}?looked", 303)

    def events(self, request: Request, verdict: Verdict) -> Response:
        asked = request.query_params.get("store", "")
        store = StoreName(asked) if asked in self._stores else None
        return self._page(
            "events.html",
            request,
            verdict=verdict,
            events=self._service.recent_events(store=store, limit=EVENTS_MAX),
            stores=tuple(self._stores),
            store=store,
        )

    def _page(self, template: str, request: Request, *, status: int = 200, **values: Any) -> Response:
        values = {"verdict": "needs token", **values}
        html = self._templates.get_template(template).render(
            now=self._clock.now(), path=request.url.path, explain=words.explain, **values
        )
        return HTMLResponse(html, status)
