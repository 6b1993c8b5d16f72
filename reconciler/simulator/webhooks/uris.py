"""Checks the addresses of webhooks, with Shopify's error messages.

Live replies of the Admin API, read 2026-11-23 and 2026-11-29.
"""

import re
from typing import Final
from urllib.parse import urlsplit

BYTES_MAX: Final = 65_535
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
INVALID: Final = "Address is invalid"
_PUBSUB: Final = re.compile(r"pubsub://([^:/]+):(.+)")
_PROJECT: Final = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]|\d+")
_TOPIC: Final = re.compile(r"(?!goog)[A-Za-z][\w.~+%-]{2,254}")
_ARN: Final = re.compile(r"arn:aws:events:[\w-]+::event-source/aws\.partner/shopify\.com/(\d+)/.+")
_SHOPIFYS: Final = re.compile(r"(.*\.)?(shopify\.com|myshopify\.com|shopify\.io|shopifycloud\.com)")
_INTERNAL: Final = re.compile(r"localhost|.*\.(localhost|local|internal)|127\.\d+\.\d+\.\d+|::1")


def uri_faults(uri: str, app_id: int, *, loopback: bool) -> list[str]:
    """The error of an address, or None. `loopback`: http:// to loopback is allowed."""
    text = uri.strip()
    if not text:
        return ["Address can't be blank"]
    if len(text.encode()) > BYTES_MAX:
        return ["Address is too big (maximum is 64 KB)"]
    if text.startswith("pubsub://"):
        return _pubsub_faults(text)
    if text.startswith("arn:"):
        return _arn_faults(text, app_id)
    return _http_faults(text, loopback=loopback)


def is_http(uri: str) -> bool:
    return uri.strip().startswith(("http://", "https://"))


def _pubsub_faults(text: str) -> list[str]:
    parts = _PUBSUB.fullmatch(text)
    if parts is None:
        words = "Address is not a valid GCP pub/sub format. Format should be pubsub://project:topic"
        return ["Address protocol pubsub:// is not supported", words]
    if not _PROJECT.fullmatch(parts[1]):
        return [INVALID, "Address is not a valid GCP project id."]
    if not _TOPIC.fullmatch(parts[2]):
        return [INVALID, "Address is not a valid GCP topic id."]
    return []


def _arn_faults(text: str, app_id: int) -> list[str]:
    parts = _ARN.fullmatch(text)
    if parts is None:
        return [INVALID, "Address is not a valid AWS ARN"]
    if int(parts[1]) != app_id:
        return [INVALID, f"Address is an AWS ARN and includes api_client_id '{parts[1]}' instead of '{app_id}'"]
    return []


def _http_faults(text: str, *, loopback: bool) -> list[str]:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return [INVALID]
    if loopback and parts.scheme in {"http", "https"} and host in LOOPBACK:
        return []
    if parts.scheme == "kafka":
        return ["Address protocol kafka:// is not supported", "Address is not a valid kafka topic"]
    if parts.scheme and parts.scheme != "https":
        return [f"Address protocol {parts.scheme}:// is not supported"]
    if not parts.scheme or not host:
        return [INVALID]
    if _SHOPIFYS.fullmatch(host) or _INTERNAL.fullmatch(host):
        return ["Address cannot be a Shopify or an internal domain"]
    return []
