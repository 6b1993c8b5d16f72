"""Which network addresses a URL that somebody else gave us may lead to: public ones only.

The ranges are those of Python's `ipaddress`, and of each address that carries another one (IPv4 in IPv6, 6to4, NAT64,
Teredo) the one inside counts as well.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[Address]]

NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class AddressRefusedError(OSError):
    """A host leads to an address that may not be connected to."""


def resolved(host: str, port: int) -> list[Address]:
    """All addresses of a host, in the order of the resolver. OSError where it has none."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos))


def literal(host: str) -> Address | None:
    """The address that a host's name spells, in any spelling that a resolver takes (`127.1`, `0x7f000001`), or None."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except (OSError, ValueError):  # ValueError: a NUL in it
        return None


def is_public(address: Address) -> bool:
    """Whether this is an address of the public internet, and so is the one that it carries, if any."""
    carries = _carried(address)
    if carries is not None:
        return is_public(carries)
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address stands for, or leads through."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def public_only(host: str, port: int, resolve: Resolve = resolved) -> list[Address]:
    """The addresses of a host. AddressRefusedError where one of them is not public, OSError where it has none."""
    found = resolve(host, port)
    hidden = [address for address in found if not is_public(address)]
    if hidden or not found:
        raise AddressRefusedError(f"{host} leads to {hidden[0] if hidden else 'nowhere'}, which is not public")
    return found
