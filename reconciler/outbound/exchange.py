"""One exchange over HTTP, bounded: the time that it waits, the bytes of its reply as sent and unpacked, and its headers.

Only gzip and deflate are asked for, and unpacked in pieces of a bounded size: a reply may pack a gigabyte into a megabyte.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Final

import httpx

from reconciler.outbound.transport import Patience, waiting_with

PIECE_BYTES: Final = 65_536
HEADERS_MAX: Final = 200
WIRE_FIRST_BYTES: Final = 1_048_576  # that are no body
WIRE_TIMES: Final = 8  # a body in chunks of one byte each has six bytes for each
PACKED: Final = "gzip, deflate"
_WBITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_LOCATION: Final = "customer_parity_location"  # in a response's extensions
_OF_THE_WIRE: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class TooLargeError(httpx.DecodingError):
    """The reply is larger than anything that is expected of this peer."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one exchange may take: seconds of waiting in all, and bytes of the unpacked body."""

    seconds: float
    body_bytes: int


def exchange(client: httpx.Client, request: httpx.Request, bounds: Bounds) -> httpx.Response:
    """The whole reply, unpacked. httpx.RequestError where none came within the bounds."""
    body = bytearray()
    with opened(client, request, bounds) as (response, pieces):
        for piece in pieces:
            body += piece
    headers = [(name, value) for name, value in response.headers.raw if name.decode().lower() not in _OF_THE_WIRE]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=request)


@contextmanager
def opened(
    client: httpx.Client, request: httpx.Request, bounds: Bounds
) -> Generator[tuple[httpx.Response, Iterator[bytes]], None, None]:
    """The reply's head, and its unpacked body in pieces as they come. Errors as of `exchange`, here and at each piece."""
    patience = Patience(bounds.seconds, WIRE_FIRST_BYTES + WIRE_TIMES * bounds.body_bytes)
    client.event_hooks = {"response": [_put_location_aside]}
    with waiting_with(patience):
        response = client.send(request, stream=True, follow_redirects=False)
    if _LOCATION in response.extensions:
        response.headers["Location"] = response.extensions[_LOCATION]
    try:
        if len(response.headers.raw) > HEADERS_MAX:
            raise TooLargeError(f"the reply has more than {HEADERS_MAX} headers", request=request)
        yield response, _pieces(response, patience, bounds.body_bytes)
    finally:
        response.close()
        client.cookies.clear()  # else each reply could add to what is kept and sent


def _put_location_aside(response: httpx.Response) -> None:
    """Keep it from httpx, which reads it though redirects are not followed, and raises other errors at what is no place."""
    if "Location" in response.headers:
        response.extensions[_LOCATION] = response.headers.pop("Location")


def _pieces(response: httpx.Response, patience: Patience, bytes_max: int) -> Iterator[bytes]:
    size = 0
    for piece in _unpacked(response, _raw(response, patience)):
        size += len(piece)
        if size > bytes_max:
            raise TooLargeError(f"the reply is larger than {bytes_max:,} bytes", request=response.request)
        yield piece


def _raw(response: httpx.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it was sent. Nobody else's waits draw on this patience while a piece is worked on."""
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
        raise httpx.DecodingError("the reply is packed in a way that was not asked for", request=response.request)
    first = next((chunk for chunk in chunks if chunk), None)
    if first is None:
        return
    bare = packed == "deflate" and (first[0] & 0x0F) != zlib.DEFLATED  # some send it without its wrapping
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS if bare else _WBITS[packed])
    try:
        for chunk in chain([first], chunks):
            left = chunk
            while left and not unpacking.eof:
                yield unpacking.decompress(left, PIECE_BYTES)
                left = unpacking.unconsumed_tail
        yield unpacking.flush()  # no more than a window of 32 KiB
    except zlib.error as error:
        raise httpx.DecodingError("the reply can't be unpacked", request=response.request) from error
    if not unpacking.eof:
        raise httpx.DecodingError("the packed reply broke off", request=response.request)
