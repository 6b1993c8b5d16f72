"""Serves a world on loopback: in a thread, for tests and the demo, or in the foreground, for `simulate`.

One uvicorn listens on a port for each shop, so that `admin_url` (scheme, host and port only) identifies a shop.
"""

import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import uvicorn

from reconciler.simulator.app import make_app
from reconciler.simulator.world import World

LOOPBACK: Final = "127.0.0.1"
START_S: Final = 20.0
IDLE_S: Final = 0.01


def _config(world: World) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(world),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
        backlog=512,
    )


def _listen(host: str, port: int) -> socket.socket:
    # Only with an explicit protocol asyncio sets TCP_NODELAY.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _open_ports(world: World, host: str, ports: Mapping[str, int]) -> list[socket.socket]:
    """Open a listening socket for each shop and record it in `world.ports`; port 0: any free port. OSError if one fails."""
    sockets: list[socket.socket] = []
    try:
        for domain in world.shops:
            sockets.append(_listen(host, ports.get(domain, 0)))
            world.ports[sockets[-1].getsockname()[1]] = domain
    except OSError:
        for each in sockets:
            world.ports.pop(each.getsockname()[1], None)
            each.close()
        raise
    return sockets


class SimulatorServer:
    """`with SimulatorServer(world) as server:` serves the world's shops; `server.url(domain)` is an admin_url."""

    def __init__(self, world: World, *, ports: Mapping[str, int] | None = None) -> None:
        self.world = world
        self._ports = dict(ports or {})
        self._server = _ThreadServer(_config(world))
        self._sockets: list[socket.socket] = []
        self._mine: tuple[int, ...] = ()
        self._thread: threading.Thread | None = None
        self._housekeeper = _Housekeeper(world)

    def __enter__(self) -> Self:
        self._sockets = _open_ports(self.world, LOOPBACK, self._ports)
        self._mine = tuple(listener.getsockname()[1] for listener in self._sockets)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": self._sockets}, name="simulator", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(START_S):
            raise RuntimeError(f"the simulator did not start within {START_S:g} s")
        self._housekeeper.__enter__()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._housekeeper.__exit__(None, None, None)
        self._server.should_exit = True
        self._server.force_exit = True
        if self._thread is not None:
            self._thread.join()
        for port in self._mine:
            self.world.ports.pop(port, None)
        for listener in self._sockets:
            listener.close()

    def url(self, domain: str) -> str:
        """The base URL of this shop: scheme, host and port."""
        return self.world.url(domain)


class _Housekeeper:
    """Advance bulk operations in the background, a small piece at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulator bulk", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(IDLE_S):
            for sim in list(self._world.shops.values()):
                if sim.shop.bulk_is_running():
                    with sim.lock:
                        sim.shop.settle()


class _ThreadServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()


def serve(world: World, host: str = LOOPBACK, port: int = 4010) -> None:
    """Serve in the foreground until SIGINT or SIGTERM: the first shop on `port`, the next on the ports after it."""
    ports = {domain: port + offset for offset, domain in enumerate(world.shops)} if port else {}
    sockets = _open_ports(world, host, ports)
    with _Housekeeper(world):
        uvicorn.Server(_config(world)).run(sockets=sockets)
