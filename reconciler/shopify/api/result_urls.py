"""Checks the addresses that a shop returns for files of bulk operations, before anything is sent there.

They must be public https addresses; a shop on this machine may also return addresses on this machine. Whether a name
resolves to a public address is checked on connection.
"""

from __future__ import annotations

from typing import Final

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import PermanentError
from reconciler.outbound.addresses import is_public, literal
from reconciler.outbound.databases.url import is_loopback
from reconciler.outbound.urls import parse_url

HINT: Final = "nothing was sent there: check admin_url in stores.yaml; Shopify does not respond like this"
LOCAL: Final = (".localhost", ".local", ".internal")


def check_address(shop: ShopDomain, address: str, *, shop_is_local: bool) -> bool:
    """Whether the address is on this machine. PermanentError, without the address, if it may not hold files."""
    why, local = _objection(address, shop_is_local=shop_is_local)
    if why:
        raise PermanentError(f"{shop} returned an address for files {why}", hint=HINT)
    return local


def _objection(address: str, *, shop_is_local: bool) -> tuple[str, bool]:
    """The objection to the address (empty if there is none), and whether it is on this machine."""
    url = parse_url(address)
    if url is None:
        return "that is not valid", False
    name = url.host
    if url.has_user:
        return "with a user or a password in its address", False
    spelt = literal(name)
    local = spelt.is_loopback if spelt is not None else is_loopback(name)
    if local and shop_is_local:
        return "", True
    if url.scheme != "https":
        return "that is not encrypted", False
    if (spelt is not None and not is_public(spelt)) or f".{name}".rstrip(".").endswith(LOCAL):
        return "that is not on the public internet", False
    return "", False
