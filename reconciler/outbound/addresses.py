"""The check that URLs from others lead to public network addresses only.

The ranges are those of Python's `ipaddress`. For an address that embeds another one (IPv4 in IPv6, 6to4, NAT64, Teredo)
the embedded one is also checked.
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
    """A host resolves to an address that is not public."""


def addresses_of(host: str, port: int) -> list[Address]:
    """All addresses of a host, in the order of the resolver. OSError if it has none."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos))


def literal(host: str) -> Address | None:
    """The address in a host name, in any spelling that a resolver accepts (`127.1`, `0x7f000001`); else None."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except (OSError, ValueError):  # ValueError: it contains a NUL
        return None


def is_public(address: Address) -> bool:
    """Whether this address, and the one that it embeds, if any, are of the public internet."""
    carries = _carried(address)
    if carries is not None:
        return is_public(carries)
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address embeds; None without one."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def public_only(host: str, port: int, resolve: Resolve = addresses_of) -> list[Address]:
    """The addresses of a host. AddressRefusedError if one of them is not public, OSError if it has none."""
    found = resolve(host, port)
    hidden = [address for address in found if not is_public(address)]
    if hidden or not found:
        raise AddressRefusedError(f"{host} leads to {hidden[0] if hidden else 'nowhere'}, which is not public")
    return found
