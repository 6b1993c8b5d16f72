"""Asks one hostile peer from a process of its own, and tells the most memory that the process had, in MiB."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from reconciler.clerk.users import ClerkUsers
from reconciler.core.model.ids import CustomerId, ShopDomain, StoreName
from reconciler.core.model.store import Store
from reconciler.errors import ReconcilerError
from reconciler.shopify.api.auth import ClientCredentials, FixedToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.bulk.reader import ShopBulkReader
from reconciler.shopify.customers import ShopCustomers
from reconciler.shopify.listing import ShopCustomerLists

STORE = Store(name=StoreName("acme"), shop=ShopDomain("acme.myshopify.com"))


def main(what: str, url: str) -> None:
    began = time.monotonic()
    said = "nothing"
    try:
        ask(what, url)
    except ReconcilerError as error:
        said = error.message
    sys.stdout.write(f"{_peak_mib()} {time.monotonic() - began:.1f} {said}\n")


def _peak_mib() -> int:
    """Of this program alone: what getrusage says begins with the memory of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def ask(what: str, url: str) -> None:
    if what == "clerk":
        with ClerkUsers("sk_test_x", api_url=f"{url}/v1", sleep=lambda _s: None, timeout_s=2.0) as clerk:
            list(clerk.pages())
        return
    auth = ClientCredentials("id", "secret") if what == "token" else FixedToken("t")
    client = ShopClient(STORE.shop, auth=auth, api_version="2026-10", admin_url=url)
    if what == "file":
        lists = ShopCustomerLists(client, STORE)
        for part in ShopBulkReader(client, STORE).lines("gid://shopify/BulkOperation/1"):
            lists.seen_in(part)
    else:
        ShopCustomers(client, STORE).by_ids([CustomerId("gid://shopify/Customer/1")])


if __name__ == "__main__":
    main(*sys.argv[1:])
