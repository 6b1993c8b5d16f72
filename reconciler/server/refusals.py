"""Delayed answers to wrong tokens, with a log entry. Plain ASGI: waits on the event loop, not in a thread.

No peer is locked out: a right token is answered immediately, also from a peer with delayed attempts, since all peers
behind one proxy look the same.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.server.access import TOKEN_HEADER

FIRST_S: Final = 0.25
LONGEST_S: Final = 10.0
FORGOTTEN_S: Final = 600.0
PEERS_MAX: Final = 10_000
REFUSED: Final = 401
_log = structlog.get_logger(__name__)


class SlowRefusals:
    """Middleware: an answer of 401 to a request with a token is delayed, longer for each one from that peer."""

    def __init__(self, app: ASGIApp, *, first_s: float = FIRST_S) -> None:
        self._app = app
        self._first_s = first_s
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_token(scope):
            await self._app(scope, receive, send)
            return

        async def send_later(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == REFUSED:
                await asyncio.sleep(self._note(scope))
            await send(message)

        await self._app(scope, receive, send_later)

    def _note(self, scope: Scope) -> float:
        """Count one more wrong token of this peer; return the seconds to delay the answer."""
        peer = scope["client"][0] if scope.get("client") else "unknown"
        now = asyncio.get_running_loop().time()
        count, at = self._wrong.pop(peer, (0, now))
        count = 1 if now - at > FORGOTTEN_S else count + 1
        self._wrong[peer] = (count, now)
        if len(self._wrong) > PEERS_MAX:
            self._wrong.popitem(last=False)
        if count & (count - 1) == 0:  # the first, second, fourth and so on, so that a flood logs few lines
            _log.warning("token_refused", peer=peer, count=count, path=scope["path"])
        return float(min(self._first_s * 2.0 ** min(count - 1, 20), LONGEST_S))


def _has_token(scope: Scope) -> bool:
    """Return whether the request has a token: in a header, in the address, or in the login form.

    Webhooks of Clerk and Shopify are signed: they have none of our tokens, and their senders must not wait.
    """
    path: str = scope["path"]
    if path.startswith("/webhooks/") and path != "/webhooks/supabase":
        return False
    headers = Headers(scope=scope)
    if "authorization" in headers or TOKEN_HEADER in headers:
        return True
    return path == "/login" or b"token=" in scope.get("query_string", b"")
