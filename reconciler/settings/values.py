"""Types of setting values: checks and display of URLs, tokens, signing secrets and weekdays."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr, StringConstraints

from reconciler.errors import ConfigError
from reconciler.outbound.databases.url import is_loopback, rewritten, url_without_password
from reconciler.outbound.urls import parse_url

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
WHSEC = "whsec_"
KEY_BYTES_MIN, KEY_BYTES_MAX = 16, 96  # Clerk's are 24 bytes; Standard Webhooks allows 24 to 64


def _database(url: str) -> str:
    try:
        rewritten(url)
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error
    return url


def _header_safe(secret: SecretStr) -> SecretStr:
    """The trimmed secret. ValueError if an HTTP header could not carry it."""
    text = secret.get_secret_value().strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise ValueError("it is in quotes: remove them where the variable is set, since some programs keep them")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it contains a blank, a line break or a non-ASCII character: copy the token again")
    return SecretStr(text)


def _signing_key(secret: SecretStr) -> SecretStr:
    """A signing secret: `whsec_` and the base64 of the key. ValueError otherwise: the library would accept any text."""
    text = secret.get_secret_value().strip()
    try:
        key = base64.b64decode(text.removeprefix(WHSEC), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(WHSEC) or not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise ValueError(
            "it is not a signing secret of Clerk, which is whsec_ and the base64 of 24 bytes: "
            "copy it from the endpoint's page in Clerk's dashboard"
        )
    return SecretStr(text)


def origin(url: str, *, name: str, path: bool = False) -> str:
    """Scheme, host and port of a URL, and with `path` its path. ValueError for others, or http beyond loopback."""
    if not url.isascii() or not url.isprintable() or set(" \\") & set(url):
        raise ValueError(f"{name} contains a character that is not valid in a URL")
    found = parse_url(url)
    if found is None or found.query or found.fragment or found.has_user or (found.path not in {"", "/"} and not path):
        what = "scheme, host, port and path" if path else "scheme, host and port"
        raise ValueError(f"{name} must be {what} only, such as https://acme.example")
    if found.scheme == "http" and not is_loopback(found.host):
        raise ValueError(f"http is allowed to loopback only, and {found.host} is not: use https")
    return f"{found.scheme}://{found.netloc}{found.path.rstrip('/')}"


def weekdays(field: str) -> str:
    """A cron field of weekdays with numbers replaced by names.

    >>> weekdays("1-5,7"), weekdays("0-6/2"), weekdays("mon-fri"), weekdays("*")
    ('mon,tue,wed,thu,fri,sun', 'sun,tue,thu,sat', 'mon-fri', '*')
    """
    parts: list[str] = []
    for part in field.split(","):
        found = re.fullmatch(r"([0-7])(?:-([0-7])(?:/([1-9]))?)?", part)
        if found is None:
            parts.append(part)
            continue
        first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
        if last < first:
            raise ValueError(f"the range of days {part} is reversed")
        parts.extend(WEEKDAYS[day] for day in range(first, last + 1, step))
    return ",".join(dict.fromkeys(parts))


def _whole_number(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError("it must be a whole number")  # noqa: TRY004  pydantic reads ValueError
    return value


DatabaseUrl = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    AfterValidator(_database),
    PlainSerializer(url_without_password, return_type=str),
]
Token = Annotated[SecretStr, AfterValidator(_header_safe)]
SigningKey = Annotated[SecretStr, AfterValidator(_signing_key)]
Version = Annotated[Literal[1], BeforeValidator(_whole_number)]
Number = Annotated[int, BeforeValidator(_whole_number)]
