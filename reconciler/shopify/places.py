"""Where files of bulk operations may lie: the addresses come from the shop, and what is asked for there comes from us.

A shop elsewhere names public addresses, encrypted; a shop on this machine may name this machine as well. Whether a name
leads to a public address is seen when it is connected to.
"""

from __future__ import annotations

from typing import Final

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import PermanentError
from reconciler.outbound.addresses import is_public, literal
from reconciler.outbound.databases.url import is_loopback
from reconciler.outbound.urls import parsed

HINT: Final = "nothing was sent there: look at admin_url in stores.yaml, this is not how Shopify answers"
LOCAL: Final = (".localhost", ".local", ".internal")


def checked(shop: ShopDomain, address: str, *, shop_is_local: bool) -> bool:
    """Whether this place is on this machine. PermanentError, which does not repeat it, where no file may lie."""
    why, local = _judged(address, shop_is_local=shop_is_local)
    if why:
        raise PermanentError(f"{shop} names a place for files {why}", hint=HINT)
    return local


def _judged(address: str, *, shop_is_local: bool) -> tuple[str, bool]:
    """What speaks against it (empty: nothing), and whether it is on this machine."""
    url = parsed(address)
    if url is None:
        return "that is no address", False
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
