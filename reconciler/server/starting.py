"""`StartupServer`: serves the port while the replica starts: it answers health, and 503 to all else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.server.limits import set_security_headers
from reconciler.server.run import ServerThread

AGAIN_S: Final = 5


class StartupServer:
    """Listens on host and port, and passes requests to the application once it is set. ConfigError as ServerThread."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._app: ASGIApp = self._not_yet
        self._reasons: Sequence[str] = ("it is starting",)
        self._server = ServerThread(self, host, port)
        self._started = False

    @property
    def url(self) -> str:
        """The server's URL on this machine."""
        return self._server.url

    def start(self) -> None:
        """Answer from now on. Safe to repeat; StateError if that fails."""
        if not self._started:
            self._started = True
            self._server.start()

    def wait_for(self, reasons: Sequence[str]) -> None:
        """Set the reasons that /readyz returns until `open`."""
        self._reasons = tuple(reasons)

    def open(self, app: ASGIApp) -> None:
        """Answer with this application from now on."""
        self._app = app

    def stop(self) -> None:
        """Stop as ServerThread does. Safe to repeat."""
        self._server.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _not_yet(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"].rstrip("/"):
            case "/healthz":
                response = JSONResponse({"status": "alive"})
            case "/readyz":
                response = JSONResponse({"ready": False, "reasons": list(self._reasons)}, 503)
            case _:
                said = {"error": "; ".join(self._reasons), "hint": "send it again later"}
                headers = {"retry-after": str(AGAIN_S), "connection": "close"}
                response = JSONResponse(said, 503, headers=headers)
        set_security_headers(response.headers)
        await response(scope, receive, send)
