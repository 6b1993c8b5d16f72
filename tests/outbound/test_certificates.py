"""A peer with a TLS certificate that is not trusted here: said in words, with what to do."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.clerk.users import ClerkUsers
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.errors import TemporaryError
from reconciler.outbound.notifications import Webhook
from reconciler.shopify.api import failures
from reconciler.shopify.api.auth import FixedToken
from reconciler.shopify.api.client import ShopClient
from tests.clock import WallClock


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = WallClock().now()
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    file = tmp_path / "peer.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_shop_a_clerk_and_a_webhook_with_an_untrusted_certificate_say_so(untrusted: str) -> None:
    shop = ShopClient(
        ShopDomain("acme.myshopify.com"), auth=FixedToken("t"), api_version="2026-10", admin_url=untrusted
    )
    with pytest.raises(TemporaryError, match="certificate verify failed") as of_shop:
        shop.gid()
    shop.close()
    assert "SSL_CERT_FILE" in of_shop.value.hint
    with (
        ClerkUsers("sk_test_x", api_url=untrusted, sleep=lambda _seconds: None) as clerk,
        pytest.raises(TemporaryError, match="certificate is not trusted") as of_clerk,
    ):
        clerk.exists(ClerkUserId("user_x"))
    assert "SSL_CERT_FILE" in of_clerk.value.hint
    webhook = Webhook(f"{untrusted}/secret", ssl_context=ssl.create_default_context(), sleep=lambda _seconds: None)
    with pytest.raises(TemporaryError, match="certificate is not trusted") as of_webhook:
        webhook.send("x")
    webhook.close()
    assert "SSL_CERT_FILE" in of_webhook.value.hint


def test_a_file_on_a_storage_service_that_can_not_be_reached_names_the_host_and_no_more() -> None:
    address = "https://storage.example.com/x?signature=secret"
    error = failures.of_storage(
        "acme: a file", address, httpx.ConnectTimeout("to https://storage.example.com/x?secret")
    )
    assert error.message == "acme: a file: storage.example.com: ConnectTimeout"
    assert error.hint == "check that this machine reaches storage.example.com, where Shopify keeps such files"
