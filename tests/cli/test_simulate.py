"""`reconciler simulate`: a rehearsal of a stores.yaml, or new shops, on loopback."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from reconciler.cli.main import run
from reconciler.simulator.webhooks.delivery import sign
from tests.simulator.test_webhooks import Mailbox, mailbox

__all__ = ["mailbox"]

FIND = "{ customersCount { count } shop { shopAddress { countryCodeV2 } } }"


@contextmanager
def simulated(folder: Path, *words: str) -> Iterator[dict[str, dict[str, Any]]]:
    """The stores that are served while the command runs; it must end with 0 when it is asked to."""
    command = [sys.executable, "-m", "reconciler.cli", *words]
    out = folder / "served.yaml"
    with (
        out.open("w") as file,
        subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        said = ""
        while "serving" not in said and (line := process.stderr.readline()):
            said += line
        try:
            assert process.poll() is None, said
            yield {each["name"]: each | {"said": said} for each in yaml.safe_load(out.read_text())["stores"]}
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, process.stderr.read()


def ask(store: dict[str, Any], token: str, text: str = FIND) -> Any:
    url = f"{store['admin_url']}/admin/api/2026-10/graphql.json"
    reply = httpx.post(url, json={"query": text}, headers={"X-Shopify-Access-Token": token})
    return reply.json()["data"] if reply.status_code == 200 else reply.status_code


@pytest.mark.slow
def test_new_shops_are_served_with_people_in_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with simulated(tmp_path, "simulate", "--shops", "2", "--port", "0", "--people", "50", "--orders", "40") as stores:
        assert sorted(stores) == ["sim-1", "sim-2"]
        one = stores["sim-1"]
        assert ask(one, one["auth"]["access_token"])["customersCount"] == {"count": 50}
        there = httpx.get(f"{one['admin_url']}/_sim/sim-1.myshopify.com/customers").json()
        assert len({each["email"] for each in there}) == 50
        assert 0 < sum(not each["canDelete"] for each in there) < 50
        port = one["admin_url"].rpartition(":")[2]
        assert run(["simulate", "--shops", "1", "--port", port]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert "error: can't listen" in said.err
        assert "hint: use --port N" in said.err


def test_webhooks_come_signed_to_where_they_are_wanted(tmp_path: Path, mailbox: Mailbox) -> None:
    here = mailbox.url.removesuffix("/hook")
    with simulated(tmp_path, "simulate", "--port", "0", "--webhooks-to", here) as stores:
        one = stores["sim-1"]
        token = one["auth"]["access_token"]
        there = '"https://hooks.example.com/webhooks/shopify/sim-1"'
        subscribe = f"webhookSubscriptionCreate(topic: CUSTOMERS_CREATE, webhookSubscription: {{uri: {there}}})"
        made = ask(one, token, f"mutation {{ {subscribe} {{ userErrors {{ message }} }} }}")
        assert made["webhookSubscriptionCreate"] == {"userErrors": []}
        ask(one, token, 'mutation { customerSet(input: {email: "ada@example.com"}) { customer { id } } }')
        wait = threading.Event()
        for _ in range(1000):
            if mailbox.got:
                break
            wait.wait(0.01)
    headers, body = mailbox.got[0]
    assert headers["x-shopify-hmac-sha256"] == sign(body, one["webhook_secret"])
    assert json.loads(body)["email"] == "ada@example.com"


def test_the_stores_of_a_file_are_rehearsed_with_their_tokens(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "reconciler.yaml").write_text(json.dumps({"version": 1}))
    mine = [
        {"name": "uk", "shop": "uk.myshopify.com", "auth": {"access_token": "mine"}, "country": "GB"},
        {"name": "us", "shop": "us.myshopify.com", "webhook_secret": "hush"},
    ]
    (tmp_path / "stores.yaml").write_text(json.dumps({"version": 1, "stores": mine}))
    with simulated(tmp_path, "simulate", "--port", "0") as stores:
        assert ask(stores["uk"], "mine")["shop"] == {"shopAddress": {"countryCodeV2": "GB"}}
        assert ask(stores["uk"], "other") == 401
        assert "auth" not in stores["uk"]
        assert stores["us"]["auth"] == {"access_token": "shpat_simulated_us"}
        assert "webhook_secret" not in stores["us"]
        assert "hush" not in stores["us"]["said"]
        assert "mine" not in stores["us"]["said"]


def test_webhooks_go_to_loopback_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--webhooks-to", "https://hooks.example.com"]) == 64
    assert "is not on loopback" in capsys.readouterr().err
