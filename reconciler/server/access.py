"""Access to the console and to nudges.

Without a token the console serves only the machine itself: server and client on loopback, no proxy in between, and a Host
header of this machine. Otherwise a web page could reach it by a name that it rebinds to 127.0.0.1. With a token, a browser
exchanges it once for a cookie that does not contain it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from starlette.requests import Request

from reconciler.core.model.frozen import frozen
from reconciler.outbound.databases.url import is_loopback
from reconciler.server.tokens import AccessToken, AccessTokens, Role

COOKIE: Final = "parity_console"
COOKIE_S: Final = 12 * 3600
TOKEN_HEADER: Final = "x-reconciler-token"  # noqa: S105  a header's name
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::\d{1,5})?")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@frozen
class Session:
    """A session of the console: its name, the token that it was opened with, and when its cookie expires."""

    name: str
    token: AccessToken
    until: datetime


@frozen
class Caller:
    """Who calls: the name and the role of the token. Without tokens, the machine itself is a viewer."""

    name: str
    role: Role


Verdict = Literal["reader", "viewer", "operator", "needs token", "closed"]
LOOPBACK: Final = Caller("loopback", "viewer")


class Access:
    """Decides what requests may do. `host`: the server's address. `is_ended`: whether a logout ended a session."""

    def __init__(self, host: str, tokens: AccessTokens, *, is_ended: Callable[[str], bool]) -> None:
        self._is_ended = is_ended
        self._loopback = host != "" and is_loopback(host)
        self._tokens = tokens

    @property
    def has_token(self) -> bool:
        """Whether a token opens the console."""
        return self._tokens.has_any("viewer", "operator")

    @property
    def has_nudge_token(self) -> bool:
        """Whether a token may nudge."""
        return self._tokens.has_any("nudge", "operator")

    def verdict(self, request: Request, now: datetime) -> Verdict:
        """Return what this request may do at the console. "closed": no token opens it, and it comes from elsewhere.

        "reader" is the machine itself without a token. StateError if the request has a session, and the state can't be read
        to know whether it was ended.
        """
        caller = self.caller(request, now)
        if caller is LOOPBACK:
            return "reader"
        if caller is None or caller.role == "nudge":
            return "needs token" if self.has_token else "closed"
        return caller.role

    def caller(self, request: Request, now: datetime) -> Caller | None:
        """Return who sends this request: by a token, by a session, or the machine itself where no token opens the console.

        StateError as in `verdict`.
        """
        token = self.bearer(request)
        if token is None and (session := self.session_of(request, now)) is not None:
            token = None if self._is_ended(session.name) else session.token
        if token is not None:
            return Caller(token.name, token.role)
        if not self.has_token and self._loopback and _from_this_machine(request):
            return LOOPBACK
        return None

    def bearer(self, request: Request) -> AccessToken | None:
        """Return the token that the request has in Authorization: Bearer, or in X-Reconciler-Token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.headers.get(TOKEN_HEADER, "")
        return self._tokens.find(given.strip())

    def console_token(self, given: str) -> AccessToken | None:
        """Return the token with this text, if it opens the console."""
        token = self._tokens.find(given)
        return token if token is not None and token.role != "nudge" else None

    def cookie(self, token: AccessToken, now: datetime) -> str:
        """Return a new session's cookie, valid for COOKIE_S: its name, its end, the token's name, and our signature of them.

        The signature's key is the token: a session ends when its token is removed or replaced.
        """
        until = int((now + timedelta(seconds=COOKIE_S)).timestamp())
        session = secrets.token_urlsafe(16)
        return f"{session}.{until}.{token.name}.{_signature(token, session, until)}"

    def session_of(self, request: Request, now: datetime) -> Session | None:
        """Return the session of this request's cookie; None if it is missing, expired, or not signed by a present token.

        The caller checks whether a logout ended it.
        """
        parts = request.cookies.get(COOKIE, "").split(".")
        if len(parts) != 4 or not (parts[1].isascii() and parts[1].isdigit()) or len(parts[1]) > 12:  # noqa: PLR2004
            return None
        session, until, token, signature = parts[0], int(parts[1]), self._tokens.named(parts[2]), parts[3]
        if token is None or token.role == "nudge":
            return None
        genuine = hmac.compare_digest(
            signature.encode("utf-8", "surrogatepass"), _signature(token, session, until).encode()
        )
        if not genuine or now.timestamp() >= until:
            return None
        return Session(session, token, datetime.fromtimestamp(until, UTC))


def _signature(token: AccessToken, session: str, until: int) -> str:
    text = f"console {session} of {token.name} until {until}".encode("utf-8", "surrogatepass")
    return hmac.new(token.secret, text, hashlib.sha256).hexdigest()


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
