"""Places for files that a shop names: public ones for a shop elsewhere, this machine only for a shop on this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from reconciler.core.model.ids import CustomerId, ShopDomain, StoreName
from reconciler.core.model.store import Store
from reconciler.core.model.write import Update
from reconciler.errors import PermanentError, ReconcilerError, TemporaryError
from reconciler.outbound.addresses import Address
from reconciler.shopify.api.auth import FixedToken
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.api.result_urls import check_address
from reconciler.shopify.bulk.reader import ShopBulkReader
from reconciler.shopify.bulk.writer import ShopBulkWriter
from reconciler.simulator.hostile import URLS
from tests.outbound.peers import peer, whole

SHOP = ShopDomain("acme.myshopify.com")
STORE = Store(name=StoreName("acme"), shop=SHOP)
LOCAL = ["http://127.0.0.1:1/x", "https://127.0.0.1/x", "http://[::1]:1/x", "http://localhost:1/x"]
HIDDEN = [
    "http://storage.example.com/x", "https://10.0.0.1/x", "https://192.168.0.1/x", "https://169.254.169.254/x",
    "https://[fd00::1]/x", "https://[::ffff:10.0.0.1]/x", "https://167772161/x", "https://0xa000001/x", "https://0/x",
    "https://db.internal/x", "https://printer.local/x", "https://user@storage.example.com/x", "https://u:p@storage.example.com/x",
    "ftp://storage.example.com/x", "file:///etc/passwd", "https://", "//storage.example.com/x", "storage.example.com/x", "",
    "https://storage.example.com:0/x", "https://storage.example.com:99999/x", "http://[::1/", "https://[127.0.0.1].evil.com/x",
    "https://storage.example.com\\@127.0.0.1/x", "https://stor age.example.com/x",
    "https://storage.example.com/" + "x" * 10_000,
    "https://xn--a/x", "https://xn--999999999.example/x",
    "https://\u2460.example/x", "https://127.0.0.1:1@storage.example.com/x", "https://storage.example.com\n.evil/x",
]  # fmt: skip


@pytest.mark.parametrize(
    "address", [*HIDDEN, *LOCAL, "https://127.1/x", "https://2130706433/x", "https://localhost./x"]
)
def test_a_shop_elsewhere_names_no_hidden_place(address: str) -> None:
    with pytest.raises(PermanentError, match="returned an address for files") as caught:
        check_address(SHOP, address, shop_is_local=False)
    assert not address or len(address) < 10 or address not in caught.value.message


@pytest.mark.parametrize("address", HIDDEN)
def test_a_shop_on_this_machine_names_no_other_hidden_place(address: str) -> None:
    with pytest.raises(PermanentError, match="returned an address for files"):
        check_address(SHOP, address, shop_is_local=True)


@pytest.mark.parametrize(("address", "local"), [(a, True) for a in LOCAL] + [("https://storage.example.com/x", False)])
def test_a_shop_on_this_machine_may_name_this_machine(address: str, *, local: bool) -> None:
    assert check_address(SHOP, address, shop_is_local=True) is local


@pytest.mark.parametrize(
    "address",
    [
        "https://storage.googleapis.com/b/o?X-Goog-Signature=ab%2F",
        "https://8.8.8.8/x",
        "https://x.example:8443/y",
        "https://xn--mnchen-3ya.de/x",
    ],
)
def test_a_shop_elsewhere_may_name_a_public_place(address: str) -> None:
    assert check_address(SHOP, address, shop_is_local=False) is False


@pytest.mark.parametrize("address", [url for url in URLS if url != "https://127.0.0.1.evil/x"])  # that one is a name
def test_every_odd_address_of_the_simulator_is_refused(address: str) -> None:
    with pytest.raises(PermanentError):
        check_address(SHOP, address, shop_is_local=False)


def naming(address: str) -> httpx.MockTransport:
    """A shop that names this place for everything, and remembers nothing."""
    node = {
        "id": "gid://shopify/BulkOperation/1", "status": "COMPLETED", "errorCode": None, "objectCount": "1", "fileSize": "6",
        "url": address, "partialDataUrl": None, "createdAt": "2026-11-29T00:00:00Z", "completedAt": "2026-11-29T00:00:00Z",
    }  # fmt: skip
    target = {"url": address, "parameters": [{"name": "key", "value": "tmp/x"}]}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == SHOP, "something went to where the shop pointed"
        stage = {"stagedUploadsCreate": {"stagedTargets": [target], "userErrors": []}}
        return httpx.Response(200, json={"data": stage if b"Stage" in request.content else {"bulkOperation": node}})

    return httpx.MockTransport(answer)


@contextmanager
def a_client(address: str) -> Iterator[ShopClient]:
    client = ShopClient(SHOP, auth=FixedToken("t"), api_version="2026-10", transport=naming(address))
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize(
    "address", ["http://[::1/", "https://127.0.0.1/x", "https://u:p@storage.example.com/x", "http://a.example/x"]
)
def test_nothing_is_fetched_from_or_sent_to_a_hidden_place(address: str) -> None:
    with a_client(address) as client:
        with pytest.raises(PermanentError):
            list(ShopBulkReader(client, STORE).lines("gid://shopify/BulkOperation/1"))
        with pytest.raises(PermanentError):
            ShopBulkWriter(client, STORE).upload("customers", [Update(CustomerId("gid://shopify/Customer/1"), {})])


def test_a_name_that_leads_to_this_machine_is_not_connected_to() -> None:
    """The name is public, what it leads to is not: nothing arrives there."""

    def leads_here(_host: str, _port: int) -> list[Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    with peer(whole(b"{}\n")) as url:
        client = ShopClient(SHOP, auth=FixedToken("t"), api_version="2026-10", resolve=leads_here)
        port = url.rpartition(":")[2]
        with (
            client.storage(f"https://rebound.example.com:{port}/x") as http,
            pytest.raises(httpx.ConnectError, match="not public"),
        ):
            http.handle_request(httpx.Request("GET", f"https://rebound.example.com:{port}/x"))
        client.close()


def local_shop(storage: str) -> httpx.Response:
    node = {
        "id": "gid://shopify/BulkOperation/1", "status": "COMPLETED", "errorCode": None, "objectCount": "1", "fileSize": "6",
        "url": storage, "partialDataUrl": None, "createdAt": "2026-11-29T00:00:00Z", "completedAt": "2026-11-29T00:00:00Z",
    }  # fmt: skip
    return httpx.Response(200, json={"data": {"bulkOperation": node}})


@pytest.mark.parametrize("body", [b"x" * 50_000_000, b"{}\n" * 100_000, b"\n" * 1_000_000])
def test_a_result_file_is_no_longer_than_the_shop_says(body: bytes) -> None:
    with peer(whole(body)) as storage:
        api = whole(local_shop(storage).content)
        with peer(api) as url:
            client = ShopClient(SHOP, auth=FixedToken("t"), api_version="2026-10", admin_url=url)
            with pytest.raises(ReconcilerError, match=r"longer|too long") as caught:
                list(ShopBulkReader(client, STORE).lines("gid://shopify/BulkOperation/1"))
            assert not isinstance(caught.value, TemporaryError)
            client.close()
