"""Runs an application with uvicorn in a thread; the manager starts and stops it.

    with ServerThread(app, "127.0.0.1", 0) as server:
        server.url

The manager handles signals. Slow clients are disconnected: the head of a request must be complete within HEAD_S, a body
within limits.BODY_S, and idle connections are closed.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import anyio.to_thread
import structlog
import uvicorn
from h11 import IDLE, SEND_BODY
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.errors import ConfigError, StateError

HEAD_S: Final = 10.0
HEAD_MAX: Final = 32 * 1024
KEEP_ALIVE_S: Final = 30
START_S: Final = 20.0
STOP_S: Final = 10.0
WAITING_MAX: Final = 500  # fewer than the usual limit of 1,024 open files
LACKS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
REPORT_EVERY_S: Final = 60.0

_log = structlog.get_logger(__name__)


class _Waiting:
    """Connections with an incomplete request. A new one above `most` closes the one that has waited longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[H11Protocol, None] = {}

    def add(self, connection: H11Protocol) -> None:
        self._open.pop(connection, None)
        if len(self._open) >= self._most:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.close()
        self._open[connection] = None

    def remove(self, connection: H11Protocol) -> None:
        self._open.pop(connection, None)


class PromptProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with limits that it lacks: on the time for a request's head, and on silent connections.

    A peer that opens a thousand silent connections displaces its own connections, never a probe.
    """

    head_s: ClassVar[float]
    waiting: ClassVar[_Waiting]
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        super().connection_made(transport)
        self.waiting.add(self)
        self._head_timer = self.loop.call_later(self.head_s, self._too_slow)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state not in {IDLE, SEND_BODY}:
            self.waiting.remove(self)
        if self.conn.their_state is not IDLE:
            self._stop_timer()
        elif self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(self.head_s, self._too_slow)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and self.conn.their_state in {IDLE, SEND_BODY}:
            self.waiting.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.waiting.remove(self)
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self.transport.close()


def _protocol(head_s: float, waiting: _Waiting) -> type[PromptProtocol]:
    """Return the protocol class of one server."""
    return type("Protocol", (PromptProtocol,), {"head_s": head_s, "waiting": waiting})


class _LoopErrors:
    """The loop's exception handler. asyncio reports a lack of open files for each connection of the backlog, each second."""

    def __init__(self) -> None:
        self._again_s = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in LACKS:
            loop.default_exception_handler(context)
        elif (now_s := time.monotonic()) >= self._again_s:
            self._again_s = now_s + REPORT_EVERY_S
            _log.error(
                "connections_not_accepted", error=error.strerror, hint="raise the limit of open files (ulimit -n)"
            )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_LoopErrors())
        await anyio.to_thread.run_sync(int)  # imports what handlers in threads need, before the first webhook does
        await super().startup(sockets=sockets)
        self.ready.set()


class ServerThread:
    """Serves until `stop`. Binds the port at creation, so that `port` and `url` are known; 0 binds a free one.

    ConfigError if the host and port can't be bound.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        head_s: float = HEAD_S,
        waiting_max: int = WAITING_MAX,
        **options: Any,
    ) -> None:
        self._socket = _bind(host, port)
        self.host = host
        self.port = int(self._socket.getsockname()[1])
        settings: dict[str, Any] = {
            "http": _protocol(head_s, _Waiting(waiting_max)),
            "ws": "none",
            "lifespan": "off",
            "log_config": None,
            "access_log": False,
            "proxy_headers": False,
            "server_header": False,
            "timeout_keep_alive": KEEP_ALIVE_S,
            "timeout_graceful_shutdown": int(STOP_S / 2),
            "h11_max_incomplete_event_size": HEAD_MAX,
            "backlog": 512,
        }
        self._server = _Server(uvicorn.Config(app, **(settings | options)))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def url(self) -> str:
        """The server's URL on this machine."""
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104  compared, not bound
        return f"http://{f'[{name}]' if ':' in name and not name.startswith('[') else name}:{self.port}"

    @property
    def alive(self) -> bool:
        """Return whether the server runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start, and return once requests are answered. StateError if that fails."""
        self._thread.start()
        if not self._server.ready.wait(START_S):
            self.stop()
            raise StateError(f"the HTTP server did not start within {START_S:g} s", hint="see the log for the reason")

    def stop(self) -> None:
        """Accept no connections, let running requests end, and return. Safe to repeat."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(STOP_S)
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a host name"
        raise ConfigError(f"server.host {host} can't be listened on: {why}", hint="127.0.0.1 or 0.0.0.0") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {port} of {host} can't be bound: {error.strerror}", hint="set server.port, or stop its present user"
        ) from error
    return listener
