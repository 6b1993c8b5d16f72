"""One HTTP exchange with bounds on waiting time, on the reply's bytes as sent and decompressed, and on its headers.

Only gzip and deflate are requested, and decompressed in pieces of a bounded size: a megabyte may expand to a gigabyte.

Requests go to the transport itself. An httpx.Client before it would take an eighth of the CPU of a call, for redirects and
cookies, which are not wanted here: a redirect would receive the token.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Final

import httpx

from reconciler.core.model.frozen import frozen
from reconciler.outbound.transport import Patience, waiting_with

PIECE_BYTES: Final = 65_536
HEADERS_MAX: Final = 200
WIRE_FIRST_BYTES: Final = 1_048_576  # for everything but the body
WIRE_TIMES: Final = 8  # chunks of one byte take six bytes each
PACKED: Final = "gzip, deflate"
USER_AGENT: Final = "customer-parity"
_WBITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_GZIP_MEMBER: Final = b"\x1f"  # the first byte of each member: a file may have several (RFC 1952, 2.2)
_OF_THE_WIRE: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class TooLargeError(httpx.DecodingError):
    """The reply exceeds the bound for this peer."""


@frozen
class Bounds:
    """The bounds of one exchange: seconds of waiting in total, and bytes of the decompressed body."""

    seconds: float
    body_bytes: int


def exchange(transport: httpx.BaseTransport, request: httpx.Request, bounds: Bounds) -> httpx.Response:
    """The complete reply, decompressed. httpx.RequestError if it exceeds the bounds or fails."""
    body = bytearray()
    with open_exchange(transport, request, bounds) as (response, pieces):
        for piece in pieces:
            body += piece
    headers = [(name, value) for name, value in response.headers.raw if name.decode().lower() not in _OF_THE_WIRE]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=request)


@contextmanager
def open_exchange(
    transport: httpx.BaseTransport, request: httpx.Request, bounds: Bounds
) -> Generator[tuple[httpx.Response, Iterator[bytes]], None, None]:
    """The reply's head, and its decompressed body as a stream. Errors as of `exchange`, here and at each piece."""
    patience = Patience(bounds.seconds, WIRE_FIRST_BYTES + WIRE_TIMES * bounds.body_bytes)
    with waiting_with(patience):
        response = transport.handle_request(request)
    response.request = request
    try:
        if len(response.headers.raw) > HEADERS_MAX:
            raise TooLargeError(f"the reply has more than {HEADERS_MAX} headers", request=request)
        yield response, _pieces(response, patience, bounds.body_bytes)
    finally:
        response.close()


def _pieces(response: httpx.Response, patience: Patience, bytes_max: int) -> Iterator[bytes]:
    size = 0
    for piece in _unpacked(response, _raw(response, patience)):
        size += len(piece)
        if size > bytes_max:
            raise TooLargeError(f"the reply is larger than {bytes_max:,} bytes", request=response.request)
        yield piece


def _raw(response: httpx.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it was sent. The patience applies only while waiting for a chunk, not while it is processed."""
    assert isinstance(response.stream, httpx.SyncByteStream)
    chunks = iter(response.stream)
    while True:
        with waiting_with(patience):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _unpacked(response: httpx.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
    packed = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packed in {"", "identity"}:
        yield from chunks
        return
    if packed not in _WBITS:
        raise httpx.DecodingError("the reply has a content encoding that was not requested", request=response.request)
    first = next((chunk for chunk in chunks if chunk), None)
    if first is None:
        return
    bare = packed == "deflate" and (first[0] & 0x0F) != zlib.DEFLATED  # some servers send it without the zlib header
    wbits = -zlib.MAX_WBITS if bare else _WBITS[packed]
    unpacking = zlib.decompressobj(wbits)
    try:
        for chunk in chain([first], chunks):
            left = chunk
            while left:
                if unpacking.eof:
                    if packed == "deflate" or left[:1] != _GZIP_MEMBER:
                        break  # padding
                    yield unpacking.flush()
                    unpacking = zlib.decompressobj(wbits)
                yield unpacking.decompress(left, PIECE_BYTES)
                left = unpacking.unused_data if unpacking.eof else unpacking.unconsumed_tail
        yield unpacking.flush()  # no more than a window of 32 KiB
    except zlib.error as error:
        raise httpx.DecodingError("the reply can't be decompressed", request=response.request) from error
    if not unpacking.eof:
        raise httpx.DecodingError("the compressed reply is incomplete", request=response.request)
