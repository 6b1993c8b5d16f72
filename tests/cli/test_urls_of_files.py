"""URLs in the files that no parser, resolver or client could use: said with their place, before anything is asked."""

from __future__ import annotations

import httpx
import pytest

from reconciler.outbound.transport import BoundedTransport
from reconciler.outbound.urls import parse_url
from reconciler.shopify.api.failures import host_of
from tests.cli.harness import US, CliHarness

LONG = "a" * 64
HOSTS = [
    "xn--a", "XN--A", "xn--", "xn--999999999.example", "a..b", ".", ".a", "-a.example", f"{LONG}.example",
    "a." * 127 + "example",
    "256.1.1.1", "[::1", "[::1%25lo]", "[fe80::1%eth0]", "[v1.x]", "[]", "", "a%00b", "a;b", "*.a.example",
    "a:99999", "a:-1", "a:0", "a:b", "a:\u0661", "a\\b", "\u00e4.example", "a b", "a\tb",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_url_in_a_file_that_leads_to_no_host_is_refused_with_its_place(cli: CliHarness, host: str) -> None:
    cli.stores[US]["admin_url"] = f"https://{host}"
    cli.settings |= {"clerk": {"api_url": f"https://{host}/v1"}, "server": {"public_url": f"https://{host}"}}
    said = cli("status")
    assert said.code == 1, said.err
    assert {f"{what}_url" for what in ("admin", "api", "public")} <= set(
        said.err.replace(":", " ").replace(".", " ").split()
    )
    assert "unexpected" not in said.err


@pytest.mark.parametrize("host", ["a..b", f"{LONG}.example", "h,a..b", "\u00e4..b"])
@pytest.mark.parametrize("form", ["postgresql://u:secret@{}/x", "postgresql://u:secret@/x?host={}"])
def test_a_database_with_a_host_that_no_resolver_takes_is_refused_with_its_place(
    cli: CliHarness, host: str, form: str
) -> None:
    cli.settings["profiles"]["url"] = form.format(host)
    said = cli("status")
    assert said.code == 1, said.err
    assert ("profiles.url" in said.err, "is not a host" in said.err, "secret" in said.err) == (True, True, False)


def test_hosts_that_may_be_asked_are_taken(cli: CliHarness) -> None:
    for host in (
        "acme.example",
        "a_b.example",
        "xn--mnchen-3ya.de",
        "8.8.8.8",
        "[2001:db8::1]:8443",
        "acme.example.",
        "A.example",
    ):
        cli.stores[US]["admin_url"] = f"https://{host}"
        assert cli("status").code == 0, host


@pytest.mark.parametrize("host", HOSTS)
def test_a_place_that_a_reply_names_is_read_without_an_error(host: str) -> None:
    host_of(f"https://{host}/x")
    assert parse_url(f"https://{host}/x") is None


def test_a_proxy_with_a_name_that_no_resolver_takes_is_a_failure_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://a..b:3128")
    transport = BoundedTransport("https://acme.example", ssl_context=httpx.create_ssl_context(), connections=1)
    with httpx.Client(transport=transport) as client, pytest.raises(httpx.ConnectError):
        client.get("https://acme.example/")
