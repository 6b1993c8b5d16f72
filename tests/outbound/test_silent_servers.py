"""A pooler or a proxy that holds our connection and never answers: calls end, and the next ones go by new connections."""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from reconciler.errors import StateError
from reconciler.outbound.databases.patience import SILENCE_S, BoundedConnection
from reconciler.state.database.engine import begin_writing, long_transactions, open_engine, reading, writing
from tests import servers

SHORT_S = 0.3


class SwallowingProxy:
    """Forwards to a server, until `swallow` is called: then it reads what comes on the connections so far, and no more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._watched = selectors.DefaultSelector()
        self._watched.register(self._listener, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._swallowed: set[socket.socket] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.port: int = self._listener.getsockname()[1]

    def swallow(self) -> None:
        self._swallowed |= set(self._pairs)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for each in (self._listener, *self._pairs):
            each.close()
        self._watched.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            for key, _ in self._watched.select(0.02):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._forward(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._port))
        self._pairs |= {client: server, server: client}
        for each in (client, server):
            self._watched.register(each, selectors.EVENT_READ)

    def _forward(self, source: socket.socket) -> None:
        read = b""
        with contextlib.suppress(OSError):
            read = source.recv(65_536)
        if read and source not in self._swallowed:
            with contextlib.suppress(OSError):
                self._pairs[source].sendall(read)
        if not read:
            self._watched.unregister(source)
            with contextlib.suppress(OSError):
                self._pairs[source].shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(postgres: servers.Server) -> Iterator[SwallowingProxy]:
    found = SwallowingProxy(postgres.port)
    yield found
    found.close()


@pytest.fixture
def engine(postgres: servers.Server, proxy: SwallowingProxy) -> Iterator[sa.Engine]:
    """Of an open connection, which has been used; its silence is shorter here."""
    found = open_engine(postgres.url("postgres", port=proxy.port))

    @sa.event.listens_for(found, "checkout")
    def hurry(connection: BoundedConnection, *_: object) -> None:
        connection.silence_s = SHORT_S

    assert asked(found) == 1
    yield found
    found.dispose()


def asked(engine: sa.Engine, text: str = "SELECT 1") -> object:
    with reading(engine) as connection:
        return connection.execute(sa.text(text)).scalar()


def test_a_call_on_a_connection_that_swallows_it_ends_and_the_next_one_is_served(
    engine: sa.Engine, proxy: SwallowingProxy
) -> None:
    proxy.swallow()
    with pytest.raises(StateError, match=r"silent for 0\.3 s") as caught:
        asked(engine)
    assert "pooler" in caught.value.hint
    assert asked(engine) == 1


def test_a_transaction_that_is_swallowed_ends_too(engine: sa.Engine, proxy: SwallowingProxy) -> None:
    def write() -> None:
        with writing(engine) as connection:
            proxy.swallow()
            connection.execute(sa.text("SELECT 2"))

    with pytest.raises(StateError, match="silent"):
        write()
    assert asked(engine) == 1


def test_an_answer_that_comes_bit_by_bit_may_take_longer(engine: sa.Engine) -> None:
    rows = f"SELECT repeat('x', 100000), pg_sleep({SHORT_S / 3}) FROM generate_series(1, 6)"
    with reading(engine) as connection:
        assert len(connection.execute(sa.text(rows)).all()) == 6


def test_a_migration_may_keep_the_server_silent(engine: sa.Engine) -> None:
    patient = long_transactions(engine)
    with patient.begin() as connection:
        begin_writing(connection)
        driver = connection.connection.driver_connection
        assert isinstance(driver, BoundedConnection)
        assert driver.silence_s == math.inf
        connection.execute(sa.text(f"SELECT pg_sleep({2 * SHORT_S})"))
    assert driver.silence_s == SILENCE_S
