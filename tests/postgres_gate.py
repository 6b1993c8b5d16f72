"""A server that speaks just the start of Postgres' protocol, and admits no one: what poolers say at the wrong moment."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104


@dataclass
class Gate:
    """Answers each login with `says` (SQLSTATE and message); None closes without a word."""

    listener: socket.socket
    says: tuple[str, str] | None = ("XX000", "")
    logins: list[dict[str, str]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def url(self, *, user: str = "reader.projectref", password: str = "s3cret") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/postgres"

    def serve(self) -> None:
        """Until the listener is shut."""
        with suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                with peer, suppress(OSError, struct.error):
                    peer.settimeout(10)
                    self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        while True:
            (length,) = struct.unpack("!I", _read(peer, 4))
            body = _read(peer, length - 4)
            (code,) = struct.unpack("!I", body[:4])
            if code not in {SSL_REQUEST, GSS_REQUEST}:
                break
            peer.sendall(b"N")
        words = body[4:].decode().rstrip("\0").split("\0")
        self.logins.append(dict(zip(words[::2], words[1::2], strict=True)))
        if self.says is not None:
            state, message = self.says
            fields = b"".join(
                key + value.encode() + b"\0" for key, value in ((b"S", "FATAL"), (b"C", state), (b"M", message))
            )
            peer.sendall(b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0")


def _read(peer: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = peer.recv(count - len(found))
        if not more:
            raise ConnectionResetError
        found += more
    return found


@contextmanager
def postgres_gate() -> Iterator[Gate]:
    """A gate on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gate = Gate(listener)
        thread = threading.Thread(target=gate.serve)
        thread.start()
        try:
            yield gate
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
