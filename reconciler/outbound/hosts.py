"""The syntax of host names."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

LETTERS_MAX: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_NUMBERS: Final = 4


def is_host(name: str) -> bool:
    """Whether this is a valid host: a DNS name in ASCII, or an address without a zone.

    >>> is_host("acme.example"), is_host("a..b"), is_host("a" * 64), is_host("::1"), is_host("fe80::1%eth0")
    (True, False, False, True, False)
    """
    if ":" in name:
        return _is_address(name) and "%" not in name
    labels = name.removesuffix(".").split(".")
    if len(labels) == _NUMBERS and all(label.isdigit() for label in labels):
        return _is_address(name)
    return len(name) <= LETTERS_MAX and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
