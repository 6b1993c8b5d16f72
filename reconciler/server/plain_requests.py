"""Middleware for requests as people and monitors write them: HEAD, and a slash at the end of the path.

A redirect to the path without it is lost: Shopify counts it as a failure, and behind a proxy it leads to http.
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


class PlainRequests:
    """Middleware: HEAD is answered as GET, of which the server sends no body; a slash at the end makes no other path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            changes: dict[str, Any] = {"method": "GET"} if scope["method"] == "HEAD" else {}
            raw: bytes = scope.get("raw_path") or b""
            if len(raw) > 1 and raw.endswith(b"/"):
                changes |= {"path": scope["path"].rstrip("/") or "/", "raw_path": raw.rstrip(b"/") or b"/"}
            scope = {**scope, **changes}
        await self._app(scope, receive, send)
