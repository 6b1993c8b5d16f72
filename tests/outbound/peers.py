"""Peers that answer in ways no honest server does: each is a function that writes what it likes to a socket."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIP_S = 0.05


@contextmanager
def peer(answer: Answer) -> Iterator[str]:
    """Its address while it is served. It reads each request's head, and leaves the rest."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    over = threading.Event()
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            while b"\r\n\r\n" not in connection.recv(65_536):
                pass
            answer(connection)

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        accepting.join()
        listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in threads:
            thread.join()


def whole(body: bytes, *headers: str) -> Answer:
    """One honest reply."""
    head = HEAD + "".join(f"{header}\r\n" for header in headers).encode()

    def answer(to: socket.socket) -> None:
        to.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return answer


def bomb(megabytes: int, *, of: bytes = bytes(1 << 20)) -> Answer:
    """So much of nothing, packed."""
    packing = zlib.compressobj(1, wbits=31)
    packed = b"".join(packing.compress(of) for _ in range(megabytes)) + packing.flush()
    return whole(packed, "Content-Encoding: gzip")


def endless(piece: bytes, *headers: str) -> Answer:
    """The same for ever, as fast as it is taken."""

    def answer(to: socket.socket) -> None:
        to.sendall(HEAD + "".join(f"{header}\r\n" for header in headers).encode() + b"\r\n")
        while True:
            to.sendall(piece)

    return answer


def drip(text: bytes, *, then: bytes = b" ", pause_s: float = DRIP_S) -> Answer:
    """First this, then a byte now and then, for ever: never late for any single read."""

    def answer(to: socket.socket) -> None:
        to.sendall(text)
        while True:
            time.sleep(pause_s)
            to.sendall(then)

    return answer
