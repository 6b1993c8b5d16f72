"""Access to the console and to nudges.

Without a token the console serves only the machine itself: server and client on loopback, no proxy in between, and a Host
header of this machine (otherwise a web page could reach it by a name that it rebinds to 127.0.0.1). With a token, a
browser exchanges it once for a cookie that does not contain it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from starlette.requests import Request

from reconciler.outbound.databases.url import is_loopback

COOKIE: Final = "parity_console"
COOKIE_S: Final = 12 * 3600
TOKEN_HEADER: Final = "x-reconciler-token"  # noqa: S105  a header's name
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::\d{1,5})?")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the console: its name, and when its cookie expires."""

    name: str
    until: datetime


Verdict = Literal["reader", "operator", "needs token", "closed"]


class Access:
    """Decides what requests may do. `host`: the server's address. `token` may be empty. `is_ended`: of a session's name."""

    def __init__(self, host: str, token: str, *, is_ended: Callable[[str], bool]) -> None:
        self._is_ended = is_ended
        self._loopback = host != "" and is_loopback(host)
        self._token = token.encode()

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def verdict(self, request: Request, now: datetime) -> Verdict:
        """Return what this request may do at the console. "closed": no token is set, and it comes from elsewhere.

        StateError if the request has a session, and the state can't be read to know whether it was ended.
        """
        if not self._token:
            return "reader" if self._loopback and _from_this_machine(request) else "closed"
        if self.is_authorised(request):
            return "operator"
        session = self.session_of(request, now)
        return "operator" if session is not None and not self._is_ended(session.name) else "needs token"

    def is_authorised(self, request: Request) -> bool:
        """Return whether the request has the token in Authorization: Bearer, or in X-Reconciler-Token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.headers.get(TOKEN_HEADER, "")
        return self.is_token(given.strip())

    def is_token(self, given: str) -> bool:
        """Return whether this is the token; compared in constant time."""
        return bool(self._token) and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token)

    def cookie(self, now: datetime) -> str:
        """Return a new session's cookie, valid for COOKIE_S: its name, its end, and our signature of both."""
        until = int((now + timedelta(seconds=COOKIE_S)).timestamp())
        session = secrets.token_urlsafe(16)
        return f"{session}.{until}.{self._signature(session, until)}"

    def session_of(self, request: Request, now: datetime) -> Session | None:
        """Return the session of this request's cookie; None if it is missing, expired, or not signed by us.

        The caller checks whether a logout ended it.
        """
        parts = request.cookies.get(COOKIE, "").split(".")
        if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit()) or len(parts[1]) > 12:  # noqa: PLR2004
            return None
        session, until, signature = parts[0], int(parts[1]), parts[2]
        genuine = hmac.compare_digest(
            signature.encode("utf-8", "surrogatepass"), self._signature(session, until).encode()
        )
        if not genuine or now.timestamp() >= until:
            return None
        return Session(session, datetime.fromtimestamp(until, UTC))

    def _signature(self, session: str, until: int) -> str:
        text = f"console {session} until {until}".encode("utf-8", "surrogatepass")
        return hmac.new(self._token, text, hashlib.sha256).hexdigest()


def _from_this_machine(request: Request) -> bool:
    server, client = request.scope.get("server"), request.scope.get("client")
    if any(name in request.headers for name in _FORWARDED):
        return False
    sides = (server[0] if server else None, client[0] if client else None)
    return all(side is not None and is_loopback(side) for side in sides) and is_loopback(_host_name(request))


def _host_name(request: Request) -> str:
    """Return the Host header without its port; without one, a name that no host has."""
    parts = _HOST.fullmatch(request.headers.get("host", "").strip().lower())
    return next((name for name in parts.groups() if name), "none") if parts is not None else "none"
