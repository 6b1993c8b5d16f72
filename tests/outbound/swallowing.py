"""A proxy that keeps connections to a server that is gone, as a pooler may: what it is sent vanishes.

It can also end a connection with another answer than the server's.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class SwallowingProxy:
    """Forwards to a server, until `swallow` is called: then it reads what comes on the connections so far, and no more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._watched = selectors.DefaultSelector()
        self._watched.register(self._listener, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._swallowed: set[socket.socket] = set()
        self._last: tuple[bytes, bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.port: int = self._listener.getsockname()[1]

    def swallow(self) -> None:
        self._swallowed |= set(self._pairs)

    def end_after(self, answer: bytes, last: bytes) -> None:
        """Put `last` in the place of the next such answer, and end its connection."""
        self._last = (answer, last)

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
        if self._last is not None and self._last[0] in read:
            read, self._last = self._cut(source, read, *self._last), None
        if read and source not in self._swallowed:
            with contextlib.suppress(OSError):
                self._pairs[source].sendall(read)
        if not read:
            self._watched.unregister(source)
            with contextlib.suppress(OSError):
                self._pairs[source].shutdown(socket.SHUT_WR)

    def _cut(self, source: socket.socket, read: bytes, answer: bytes, last: bytes) -> bytes:
        self._pairs[source].sendall(read[: read.index(answer)] + last)
        return b""
