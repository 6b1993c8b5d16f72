"""Limits on requests, and headers of responses. Plain ASGI middleware: it costs microseconds.

A body is counted while it arrives, and must be complete in time. A client that exceeds a limit gets an error, and its
connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX: Final = 1024 * 1024
BODY_S: Final = 10.0
DRAIN_MAX: Final = 16 * 1024 * 1024
DRAIN_S: Final = 2.0
IN_FLIGHT_MAX: Final = 500
PROBES: Final = frozenset({"/healthz", "/readyz"})

CONTENT_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


class Limits:
    """Middleware: at most `body_max` bytes of body, complete within `body_s`."""

    def __init__(self, app: ASGIApp, *, body_max: int = BODY_MAX, body_s: float = BODY_S) -> None:
        self._app = app
        self._max = body_max
        self._s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        if said.isascii() and said.isdigit() and int(said[:20]) > self._max:
            if "expect" not in Headers(scope=scope):  # a client that asks first has not sent it yet
                await _drain(receive)
            await _too_large(self._max, scope, receive, send)
            return
        await self._app(scope, _LimitedBody(receive, self._max, self._s), send)


async def _too_large(limit: int, scope: Scope, receive: Receive, send: Send) -> None:
    body = {"error": f"the body is above {limit} bytes", "hint": ""}
    await JSONResponse(body, 413, headers={"connection": "close"})(scope, receive, send)


async def _drain(receive: Receive) -> None:
    """Read and discard the rest of the body, within bounds: a client that can't finish sending never reads our answer."""
    left = DRAIN_MAX
    more = True
    try:
        async with asyncio.timeout(DRAIN_S):
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        return


class _LimitedBody:
    """`receive` with a budget of bytes and time; HTTPException 413 or 408 when it is spent."""

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive = receive
        self._limit = limit
        self._seconds = seconds
        self._left = limit
        self._until: float | None = None
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:  # the body is complete: this waits until the client disconnects
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._until is None:
            self._until = loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(
                408, f"the body did not arrive within {self._seconds:g} s", headers={"connection": "close"}
            ) from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            if message.get("more_body", False):
                await _drain(self._receive)
            raise HTTPException(413, f"the body is above {self._limit} bytes", headers={"connection": "close"})
        self._whole = not message.get("more_body", False)
        return message


class InFlight:
    """Middleware: above `most` concurrent requests, further ones get 503; health is always answered."""

    def __init__(self, app: ASGIApp, *, most: int = IN_FLIGHT_MAX) -> None:
        self._app = app
        self._most = most
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if self._now >= self._most:
            busy = {"error": f"{self._most} requests are in progress", "hint": "send it again in a moment"}
            await JSONResponse(busy, 503, headers={"retry-after": "1"})(scope, receive, send)
            return
        self._now += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._now -= 1


class SecurityHeaders:
    """Middleware: adds the security headers to every response, and `no-store` unless the response sets caching."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                set_security_headers(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def set_security_headers(headers: MutableHeaders) -> None:
    """Set the headers that are not set yet."""
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("cache-control", "no-store")
