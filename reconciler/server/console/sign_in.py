"""Who may see the console: the sign-in by a token, the session's cookie, and the page that says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import parse_qs, quote, urlencode

from fastapi import Body, Request
from fastapi.responses import RedirectResponse, Response

from reconciler.errors import ReconcilerError
from reconciler.ports import Clock
from reconciler.server.access import COOKIE, COOKIE_S, Access, Verdict
from reconciler.server.console.rendering import Renderer
from reconciler.server.service import Sessions
from reconciler.server.tokens import AccessToken

FORM: Final = "application/x-www-form-urlencoded"
View = Callable[[Request, Verdict], Response]


class SignIn:
    """Guards the views, and serves the forms to sign in and out."""

    def __init__(self, service: Sessions, access: Access, clock: Clock, renderer: Renderer) -> None:
        self._service, self._access, self._clock, self._renderer = service, access, clock, renderer

    def guard(self, view: View) -> Callable[[Request], Response]:
        """Wrap a view: without access it returns a page that says what is missing."""

        def handler(request: Request) -> Response:
            given = request.query_params.get("token")
            if given is not None and self._access.has_token:
                return self._token_for_cookie(request, given)
            try:
                verdict = self._access.verdict(request, self._clock.now())
                if verdict == "closed":
                    return self._renderer.page("gate.html", request, status=403, mode="closed")
                if verdict == "needs token":
                    return self._renderer.page("gate.html", request, status=401, mode="token")
                return view(request, verdict)
            except ReconcilerError as error:
                return self._renderer.page("failed.html", request, status=503, error=error)

        return handler

    def _token_for_cookie(self, request: Request, given: str) -> Response:
        """Redirect without the token in the address, so that the browser's history does not keep it."""
        token = self._access.console_token(given)
        if token is None:
            return self._renderer.page("gate.html", request, status=401, mode="wrong")
        rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
        return self._with_cookie(request, token, quote(request.url.path) + ("?" + urlencode(rest) if rest else ""))

    def login(self, request: Request, form: Annotated[bytes, Body(media_type=FORM, max_length=4096)] = b"") -> Response:
        """Read the form without FastAPI's `Form`, which needs python-multipart, a dependency of the simulator only."""
        if not self._access.has_token:
            return self._renderer.page("gate.html", request, status=403, mode="closed")
        token = self._access.console_token(parse_qs(form.decode(errors="replace")).get("token", [""])[0].strip())
        if token is None:
            return self._renderer.page("gate.html", request, status=401, mode="wrong")
        return self._with_cookie(request, token, "/")

    def logout(self, request: Request) -> Response:
        """End the session in all replicas immediately: deleting the cookie is not enough, since it may have been copied."""
        session = self._access.session_of(request, self._clock.now())
        if session is not None:
            try:
                self._service.end_session(session.name, until=session.until)
            except ReconcilerError as error:
                return self._renderer.page("failed.html", request, status=503, error=error)
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
