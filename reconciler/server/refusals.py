"""Wrong tokens: each costs its sender more time, and the log says so. Plain ASGI: waits on the event loop, not in a thread.

Nobody is locked out: a right token is answered immediately, also from a peer whose other attempts are delayed, as all
peers behind one proxy look alike.
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
    """Wraps the application: an answer of 401 to a request that bore a token waits, longer with each from that peer."""

    def __init__(self, app: ASGIApp, *, first_s: float = FIRST_S) -> None:
        self._app = app
        self._first_s = first_s
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _bears_token(scope):
            await self._app(scope, receive, send)
            return

        async def delayed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == REFUSED:
                await asyncio.sleep(self._note(scope))
            await send(message)

        await self._app(scope, receive, delayed)

    def _note(self, scope: Scope) -> float:
        """Count one more wrong token of this peer; the seconds that its answer waits."""
        peer = scope["client"][0] if scope.get("client") else "unknown"
        now = asyncio.get_running_loop().time()
        count, at = self._wrong.pop(peer, (0, now))
        count = 1 if now - at > FORGOTTEN_S else count + 1
        self._wrong[peer] = (count, now)
        if len(self._wrong) > PEERS_MAX:
            self._wrong.popitem(last=False)
        if count & (count - 1) == 0:  # the first, the second, the fourth and so on: a flood writes few lines
            _log.warning("token_refused", peer=peer, count=count, path=scope["path"])
        return float(min(self._first_s * 2.0 ** min(count - 1, 20), LONGEST_S))


def _bears_token(scope: Scope) -> bool:
    """Whether the request tries a token: by header, in the address, or in the form of the login.

    Clerk's and Shopify's webhooks are signed: what they bear is no token of ours, and senders must not wait.
    """
    path: str = scope["path"]
    if path.startswith("/webhooks/") and path != "/webhooks/supabase":
        return False
    headers = Headers(scope=scope)
    if "authorization" in headers or TOKEN_HEADER in headers:
        return True
    return path == "/login" or b"token=" in scope.get("query_string", b"")
