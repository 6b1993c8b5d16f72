"""URLs from files and replies, read in one place: all parsers that meet a URL later agree on what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reconciler.outbound.hosts import is_host

LETTERS_MAX: Final = 8_192


@dataclass(frozen=True, slots=True)
class Url:
    """What a URL over HTTP says. `host` is in lower case, without brackets; `netloc` as it was written."""

    scheme: str
    host: str
    port: int | None
    netloc: str
    path: str
    query: str
    fragment: str
    has_user: bool


def parsed(text: str) -> Url | None:
    """The URL, or None where it is none that could be asked: not HTTP, no host, a port that is none."""
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
    """Whether httpx finds the same host: it reads authorities differently, and decodes international names."""
    import httpx  # noqa: PLC0415  not needed by commands that call no server

    try:
        url = httpx.URL(text)
        _ = url.host  # raises at an international name that is none
        return url.raw_host.decode("ascii").lower() == host
    except (httpx.InvalidURL, ValueError):  # idna's errors are ValueErrors
        return False
