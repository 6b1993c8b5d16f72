"""Who may see the console, and who may nudge.

Without a token the console is for the machine itself only: server and client on loopback, a Host header that names it
(a web page could otherwise reach it by a name that it rebinds to 127.0.0.1), and no proxy in between. With a token, a
browser trades it once for a cookie that does not hold it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta
from typing import Final, Literal

from starlette.requests import Request

from reconciler.core.dburl import is_loopback

COOKIE: Final = "parity_console"
COOKIE_S: Final = 12 * 3600
TOKEN_HEADER: Final = "x-reconciler-token"  # noqa: S105  a header's name
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::\d{1,5})?")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")

Verdict = Literal["reader", "operator", "needs token", "closed"]


class Access:
    """Decides for one server: `host` is what it listens on, `token` may be empty."""

    def __init__(self, host: str, token: str) -> None:
        self._loopback = host != "" and is_loopback(host)
        self._token = token.encode()

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def verdict(self, request: Request, now: datetime) -> Verdict:
        """What this request may do at the console. "closed": no token is set, and it is not the machine itself."""
        if not self._token:
            return "reader" if self._loopback and _from_this_machine(request) else "closed"
        return "operator" if self.bears_token(request) or self._cookie_holds(request, now) else "needs token"

    def bears_token(self, request: Request) -> bool:
        """Whether the token stands in Authorization: Bearer, or in X-Reconciler-Token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.headers.get(TOKEN_HEADER, "")
        return self.fits(given.strip())

    def fits(self, given: str) -> bool:
        """Whether this is the token; compared in constant time."""
        return bool(self._token) and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token)

    def cookie(self, now: datetime) -> str:
        """A cookie's value that holds for COOKIE_S: its end, and our signature of it."""
        until = str(int((now + timedelta(seconds=COOKIE_S)).timestamp()))
        return f"{until}.{self._signed(until)}"

    def _cookie_holds(self, request: Request, now: datetime) -> bool:
        until, _, signature = request.cookies.get(COOKIE, "").partition(".")
        if not (until.isascii() and until.isdigit()) or len(until) > 12:  # noqa: PLR2004  longer is no time
            return False
        genuine = hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), self._signed(until).encode())
        return genuine and now.timestamp() < int(until)

    def _signed(self, until: str) -> str:
        return hmac.new(self._token, b"console until " + until.encode(), hashlib.sha256).hexdigest()


def _from_this_machine(request: Request) -> bool:
    server, client = request.scope.get("server"), request.scope.get("client")
    if any(name in request.headers for name in _FORWARDED):
        return False
    sides = (server[0] if server else None, client[0] if client else None)
    return all(side is not None and is_loopback(side) for side in sides) and is_loopback(_host_name(request))


def _host_name(request: Request) -> str:
    """The Host header without its port; a name that can't be one where there is none."""
    parts = _HOST.fullmatch(request.headers.get("host", "").strip().lower())
    return next((name for name in parts.groups() if name), "none") if parts is not None else "none"
