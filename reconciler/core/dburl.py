"""Database URLs, made fit for use: the driver named, TLS asked for, and no password in what is shown."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from reconciler.errors import ConfigError

_PASSWORD = re.compile(r"(?i)([?&](?:ssl)?password=)[^&]*")


def rewritten(url: str) -> str:
    """The URL as SQLAlchemy needs it: psycopg named, `sslmode=require` for hosts that are not this machine.

    Supabase accepts connections without TLS unless told otherwise, and libpq's default verifies nothing (Supabase docs,
    read 2026-11). A URL that names an sslmode keeps it. Raises ConfigError for what is no database URL.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        return url
    if scheme.split("+")[0] not in {"postgres", "postgresql"} or not rest:
        raise ConfigError(
            f"'{shown(url)}' is no database URL", hint="use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
        )
    try:
        parts = urlsplit("postgresql+psycopg://" + rest)
        if parts.port == 0 or "@" in parts.path + parts.fragment:
            raise ValueError  # noqa: TRY301  the same words for all of them
    except ValueError:
        raise ConfigError(
            f"'{shown(url)}' is no database URL: its host and port can't be told",
            hint="percent-encode what is special in the password",
        ) from None
    query = parts.query
    names = dict(parse_qsl(query))
    if "sslmode" not in names and not is_loopback(names.get("host", parts.hostname or "")):
        query = f"{query}&sslmode=require" if query else "sslmode=require"
    return urlunsplit(parts._replace(query=query))


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself: a socket's path, localhost, 127.0.0.0/8 or ::1."""
    if host == "" or host.startswith(("/", "%2F", "%2f")) or host == "localhost":
        return True
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """The URL without its password, for messages; of what is no URL nothing that could be one is shown."""
    scheme, sep, rest = url.partition("://")
    if not sep:
        return "***" if set(":@=") & set(url) else url
    if "@" in rest:
        login, _, rest = rest.rpartition("@")
        scheme, sep = f"{scheme}{sep}{quote(login.partition(':')[0], safe='%.')}", ":***@"
    return scheme + sep + _PASSWORD.sub(r"\1***", rest)
