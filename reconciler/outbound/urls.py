"""Parsing of URLs from files and replies. All parsers that process such a URL later find the same host."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from reconciler.core.model.frozen import frozen
from reconciler.outbound.hosts import is_host

LETTERS_MAX: Final = 8_192


@frozen
class Url:
    """The parts of an HTTP URL. `host` is in lower case and without brackets; `netloc` is unchanged."""

    scheme: str
    host: str
    port: int | None
    netloc: str
    path: str
    query: str
    fragment: str
    has_user: bool


def parse_url(text: str) -> Url | None:
    """The parsed URL; None if it is not an HTTP URL with a valid host and port."""
    if len(text) > LETTERS_MAX or not text.isascii() or not text.isprintable() or set(" \\") & set(text):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not is_host(host) or port == 0 or not _is_spelt_alike(text, host):
        return None
    return Url(
        parts.scheme, host, port, parts.netloc, parts.path, parts.query, parts.fragment, has_user="@" in parts.netloc
    )


def _is_spelt_alike(text: str, host: str) -> bool:
    """Whether httpx finds the same host: it parses authorities differently, and decodes international names."""
    import httpx  # noqa: PLC0415  not needed by commands that call no server

    try:
        url = httpx.URL(text)
        _ = url.host  # raises for an invalid international name
        return url.raw_host.decode("ascii").lower() == host
    except (httpx.InvalidURL, ValueError):  # idna's errors are ValueErrors
        return False
