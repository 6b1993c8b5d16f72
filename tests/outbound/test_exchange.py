"""Exchanges with peers that send too much, too slowly, or to the wrong place: each ends within its bounds."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import ssl
import time
import zlib
from collections.abc import Iterator

import httpx
import pytest

from reconciler.errors import ConfigError
from reconciler.outbound.addresses import Address, is_public, literal
from reconciler.outbound.exchange import PACKED, Bounds, TooLargeError, exchange
from reconciler.outbound.transport import BoundedTransport
from tests.outbound.peers import HEAD, Answer, bomb, drip, endless, peer, whole

SSL = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
BOUNDS = Bounds(seconds=1.0, body_bytes=100_000)
PATIENT = {"timeout": httpx.Timeout(30).as_dict()}


def asked(answer: Answer, bounds: Bounds = BOUNDS, body: bytes = b"") -> httpx.Response:
    with (
        peer(answer) as url,
        BoundedTransport(url, ssl_context=SSL, connections=1) as transport,
    ):
        request = httpx.Request("POST", url, content=body, headers={"Accept-Encoding": PACKED}, extensions=PATIENT)
        return exchange(transport, request, bounds)


@pytest.mark.parametrize(
    ("packed", "name"),
    [
        (b'{"a": 1}', "identity"),
        (gzip.compress(b'{"a": 1}', mtime=0), "gzip"),
        (zlib.compress(b'{"a": 1}'), "deflate"),
        (zlib.compress(b'{"a": 1}', wbits=-15), "deflate"),
        (gzip.compress(b'{"a": 1}', mtime=0), "GZIP"),
        (gzip.compress(b'{"a"', mtime=0) + gzip.compress(b": 1}", mtime=0), "gzip"),
        (gzip.compress(b'{"a": 1}', mtime=0) + b"\0\0\0\0", "gzip"),
    ],
    ids=["not at all", "gzip", "deflate", "bare deflate", "GZIP", "gzip in two members", "gzip and padding"],
)
def test_an_honest_reply_comes_whole_however_it_is_packed(packed: bytes, name: str) -> None:
    response = asked(whole(packed, f"Content-Encoding: {name}", "X-Kept: yes"))
    assert response.json() == {"a": 1}
    assert response.headers["X-Kept"] == "yes"


def test_a_reply_as_large_as_may_be_comes_whole() -> None:
    body = bytes(range(256)) * 390
    assert asked(whole(gzip.compress(body), "Content-Encoding: gzip")).content == body


@pytest.mark.parametrize("megabytes", [1, 64])
def test_a_packed_reply_is_bounded_by_what_it_unpacks_to(megabytes: int) -> None:
    with pytest.raises(TooLargeError):
        asked(bomb(megabytes))


@pytest.mark.parametrize("piece", [b"x" * 65_536, b" ", b"\n" * 1000])
def test_a_reply_without_an_end_ends_at_its_bound(piece: bytes) -> None:
    with pytest.raises(TooLargeError):
        asked(endless(piece), Bounds(20.0, 100_000))


def test_a_chunked_reply_without_an_end_ends_at_its_bound() -> None:
    with pytest.raises(TooLargeError):
        asked(endless(b"2000\r\n" + b"x" * 0x2000 + b"\r\n", "Transfer-Encoding: chunked"))


EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # of deflate: five bytes that unpack to nothing


def early_hints(to: socket.socket) -> None:
    while True:
        to.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1_000)


def behind_the_end(to: socket.socket) -> None:
    to.sendall(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"{}", mtime=0))
    while True:
        to.sendall(bytes(65_536))


def packed_nothing(to: socket.socket) -> None:
    to.sendall(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"", mtime=0)[:10])
    while True:
        to.sendall(EMPTY_BLOCK * 10_000)


@pytest.mark.parametrize("answer", [early_hints, behind_the_end, packed_nothing])
def test_what_comes_for_ever_and_adds_nothing_to_the_body_ends_at_a_bound_too(answer: Answer) -> None:
    with pytest.raises(httpx.ReadError, match="more bytes than the bound"):
        asked(answer, Bounds(seconds=1_000.0, body_bytes=100_000))


@pytest.mark.slow
def test_a_body_in_the_smallest_chunks_comes_whole() -> None:
    body = b"x" * 100_000

    def answer(to: socket.socket) -> None:
        to.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * len(body) + b"0\r\n\r\n")

    assert asked(answer, Bounds(seconds=60.0, body_bytes=100_000)).content == body


@pytest.mark.parametrize(
    "answer",
    [
        drip(HEAD + b"\r\n"),
        drip(HEAD + b"Content-Length: 1000\r\n\r\n"),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", then=b"1\r\nx\r\n"),
        drip(HEAD + b"X: ", then=b"x"),
        drip(b"", then=b"H"),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n", then=b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "announced", "chunks", "header", "status", "continue"],
)
def test_a_byte_now_and_then_does_not_make_a_call_longer(answer: Answer) -> None:
    began = time.monotonic()
    with pytest.raises(httpx.TransportError):
        asked(answer)
    assert time.monotonic() - began < 10


def test_a_peer_that_takes_a_byte_now_and_then_does_not_make_a_call_longer() -> None:
    def slowly(to: socket.socket) -> None:
        while to.recv(1):
            time.sleep(0.05)

    began = time.monotonic()
    with pytest.raises(httpx.TransportError):
        asked(slowly, body=bytes(50_000_000))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["br", "zstd", "gzip, gzip", "compress"])
def test_what_is_packed_in_a_way_that_was_not_asked_for_is_no_reply(name: str) -> None:
    with pytest.raises(httpx.DecodingError):
        asked(whole(b"x", f"Content-Encoding: {name}"))


def test_a_packed_reply_that_breaks_off_or_is_none_is_no_reply() -> None:
    packed = gzip.compress(b"x" * 10_000)
    for body in (packed[:-9], packed[: len(packed) // 2], b"no gzip at all"):
        with pytest.raises(httpx.DecodingError):
            asked(whole(body, "Content-Encoding: gzip"))


def test_thousands_of_headers_are_no_reply() -> None:
    with pytest.raises((httpx.TransportError, httpx.DecodingError)):
        asked(whole(b"{}", *(f"X-{n}: x" for n in range(5000))))
    with pytest.raises(httpx.RequestError):
        asked(drip(HEAD + b"".join(b"Set-Cookie: a%d=b\r\n" % n for n in range(300)) + b"\r\n"))


def test_the_time_that_we_need_ourselves_is_not_the_peers() -> None:
    bounds = Bounds(0.5, 100_000)
    with (
        peer(whole(b"x")) as url,
        BoundedTransport(url, ssl_context=SSL, connections=1) as transport,
    ):
        request = httpx.Request("GET", url, content=_slowly(), extensions=PATIENT)
        assert exchange(transport, request, bounds).content == b"x"


def _slowly() -> Iterator[bytes]:
    time.sleep(0.7)
    yield b"x"


# --- addresses ------------------------------------------------------------------------------------------------------

HIDDEN = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2001:db8::1", "fec0::1",
]  # fmt: skip


@pytest.mark.parametrize("text", HIDDEN)
def test_an_address_that_is_not_on_the_public_internet_is_known_in_every_dress(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "142.250.1.1", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.1", "[::1]", "127.0.0.1"])
def test_an_address_is_known_in_every_spelling_that_a_resolver_takes(text: str) -> None:
    found = literal(text)
    assert found is not None
    assert found.is_loopback


@pytest.mark.parametrize("text", ["example.com", "127.0.0.1.evil.com", "[127.0.0.1].evil.com", "1e100.net", ""])
def test_a_name_is_no_address(text: str) -> None:
    assert literal(text) is None


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], []])
def test_a_name_that_leads_to_a_hidden_address_is_not_connected_to(addresses: list[str]) -> None:
    def resolve(_host: str, _port: int) -> list[Address]:
        return [ipaddress.ip_address(address) for address in addresses]

    with peer(whole(b"secret")) as url:
        port = url.rpartition(":")[2]
        address = f"http://storage.example.com:{port}/"
        transport = BoundedTransport(address, ssl_context=SSL, connections=1, public_only=True, resolve=resolve)
        with transport, pytest.raises(httpx.ConnectError):
            exchange(transport, httpx.Request("GET", address, extensions=PATIENT), BOUNDS)


def test_what_was_checked_is_what_is_connected_to() -> None:
    """A name that changes its address between the check and the connection gains nothing."""
    answers = iter([["192.0.2.77"], ["127.0.0.1"]])
    asked_for: list[str] = []

    def resolve(host: str, _port: int) -> list[Address]:
        asked_for.append(host)
        return [ipaddress.ip_address(address) for address in next(answers)]

    transport = BoundedTransport(
        "http://storage.example.com", ssl_context=SSL, connections=1, public_only=True, resolve=resolve
    )
    with transport, pytest.raises(httpx.ConnectError, match="not public"):
        exchange(transport, httpx.Request("GET", "http://storage.example.com/", extensions=PATIENT), BOUNDS)
    assert asked_for == ["storage.example.com"]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://[::1", "127.0.0.1:99999", "ftp://x", "u:secret@x:y"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_is_none_is_an_error_of_the_settings(
    name: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, proxy)
    with pytest.raises(ConfigError, match=f"{name} is not the URL of an HTTP proxy") as caught:
        BoundedTransport("https://acme.myshopify.com", ssl_context=SSL, connections=1)
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
    monkeypatch.setenv("NO_PROXY", "acme.myshopify.com")
    BoundedTransport("https://acme.myshopify.com", ssl_context=SSL, connections=1).close()
