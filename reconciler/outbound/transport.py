"""A transport for httpx with two more bounds: the total time of an exchange, and the addresses to connect to.

httpx's timeouts apply to each read: a peer that sends a byte a second never exceeds them. Here, all waits of an exchange
share one `Patience`, which is bound to the thread of the exchange.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Never
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from reconciler.errors import ConfigError
from reconciler.outbound.addresses import Address, AddressRefusedError, Resolve, addresses_of, public_only

WRITE_BYTES: Final = 16_384  # written between two checks of the time
KEEPALIVE_S: Final = 25.0
SocketOptions = Iterable[httpcore.SOCKET_OPTION]


@dataclass(slots=True)
class Patience:
    """The remaining bounds of one exchange: seconds of waiting for the peer, and bytes from it.

    Our own processing time does not count; the bytes bound a peer that sends endlessly without a pause.
    """

    left_s: float
    left_bytes: int


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def waiting_with(patience: Patience) -> Iterator[None]:
    """Apply this patience to all waits of this thread for the peer. httpx.TimeoutException when it is used up."""
    token = _patience.set(patience)
    try:
        yield
    finally:
        _patience.reset(token)


@contextmanager
def _wait(timeout_s: float | None, late: Callable[[str], Exception]) -> Iterator[float | None]:
    """Yield the seconds that one wait may take, and subtract the time taken."""
    patience = _patience.get()
    if patience is None:
        yield timeout_s
        return
    if patience.left_s <= 0:
        raise late("the exchange took too long in total")
    began = time.monotonic()
    try:
        yield patience.left_s if timeout_s is None else min(timeout_s, patience.left_s)
    finally:
        patience.left_s -= time.monotonic() - began


class _Stream(httpcore.NetworkStream):
    """A connection with the patience of the exchange."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _wait(timeout, httpcore.ReadTimeout) as left_s:
            piece = self._stream.read(max_bytes, left_s)
        patience = _patience.get()
        if patience is not None:
            patience.left_bytes -= len(piece)
            if patience.left_bytes < 0:
                raise httpcore.ReadError("the reply has more bytes than the bound for this peer")
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), WRITE_BYTES):
            with _wait(timeout, httpcore.WriteTimeout) as left_s:
                self._stream.write(buffer[at : at + WRITE_BYTES], left_s)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        with _wait(timeout, httpcore.ConnectTimeout) as left_s:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens connections. With `resolve`, only to hosts with public addresses, and to the very addresses checked."""

    def __init__(self, resolve: Resolve | None) -> None:
        self._resolve = resolve
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        addresses: list[str] = [host]
        if self._resolve is not None:
            addresses = [str(address) for address in self._public(host, port, self._resolve)]
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                with _wait(timeout, httpcore.ConnectTimeout) as left_s:
                    return _Stream(self._sockets.connect_tcp(address, port, left_s, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            except UnicodeError as error:  # a proxy's name that no resolver accepts
                failure = httpcore.ConnectError(f"{host!r} is not a host: {error}")
        raise failure

    def _public(self, host: str, port: int, resolve: Resolve) -> list[Address]:
        try:
            return public_only(host, port, resolve)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error

    def connect_unix_socket(self, *_: object, **__: object) -> Never:
        raise httpcore.UnsupportedProtocol("Unix sockets are not supported")

    def sleep(self, seconds: float) -> None:
        self._sockets.sleep(seconds)


class BoundedTransport(httpx.BaseTransport):
    """The transport of `exchange`. `public_only`: connect to addresses of the public internet only.

    `proxies`: use the proxies of the environment. A proxy opens the connection, so `public_only` then checks a host only
    if it can be resolved here.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext,
        connections: int,
        public_only: bool = False,
        proxies: bool = True,
        resolve: Resolve = addresses_of,
    ) -> None:
        parts = urlsplit(url)
        proxy = _proxy_for(parts.scheme, parts.hostname or "") if proxies else None
        self._checked_first = resolve if public_only and proxy is not None else None
        pool: dict[str, Any] = {
            "ssl_context": ssl_context,
            "max_connections": connections,
            "max_keepalive_connections": connections,
            "keepalive_expiry": KEEPALIVE_S,
            "network_backend": _Backend(resolve if public_only and proxy is None else None),
        }
        self._pool: httpcore.ConnectionPool
        if proxy is None:
            self._pool = httpcore.ConnectionPool(**pool)
        else:
            self._pool = httpcore.HTTPProxy(
                httpcore.URL(str(proxy.url)), proxy_auth=proxy.raw_auth, proxy_ssl_context=proxy.ssl_context, **pool
            )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        url = request.url
        with _translated(request):
            self._check_for_proxy(url)
            reply = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            reply.status, headers=reply.headers, stream=_Reply(reply, request), extensions=reply.extensions
        )

    def _check_for_proxy(self, url: httpx.URL) -> None:
        if self._checked_first is None:
            return
        try:
            public_only(url.raw_host.decode("ascii"), url.port or 443, self._checked_first)
        except AddressRefusedError as error:
            raise httpcore.ConnectError(str(error)) from error
        except (OSError, UnicodeError):
            return  # only the proxy can resolve it

    def close(self) -> None:
        self._pool.close()


class _Reply(httpx.SyncByteStream):
    """The stream of a reply's raw bytes."""

    def __init__(self, reply: httpcore.Response, request: httpx.Request) -> None:
        self._reply, self._request = reply, request

    def __iter__(self) -> Iterator[bytes]:
        with _translated(self._request):
            yield from self._reply.iter_stream()

    def close(self) -> None:
        self._reply.close()


@contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    """Translate httpcore's errors to httpx's errors of the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError,
        httpcore.UnsupportedProtocol, httpcore.ConnectionNotAvailable,
    ) as error:  # fmt: skip
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error), request=request) from error


def _proxy_for(scheme: str, host: str) -> httpx.Proxy | None:
    """The environment's proxy for this host, or None. ConfigError, without the value, if it is invalid."""
    proxies = getproxies()
    name = scheme if proxies.get(scheme) else "all"
    found = proxies.get(name)
    if not found or proxy_bypass(host):
        return None
    try:
        proxy = httpx.Proxy(found if "://" in found else f"http://{found}")
        httpcore.URL(str(proxy.url))  # is stricter about ports
    except (httpx.InvalidURL, ValueError):
        proxy = None
    if proxy is None or proxy.url.scheme not in {"http", "https"}:
        raise ConfigError(
            f"the environment variable {name.upper()}_PROXY is not the URL of an HTTP proxy",
            hint=f"set it to http://HOST:PORT (SOCKS is not supported), or add {host} to NO_PROXY",
        )
    return proxy
