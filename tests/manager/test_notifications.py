"""`run` tells a webhook what starts and stops to need a person: grouped, and seldom."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reconciler.core.model.ids import ShopDomain
from tests.clock import WallClock
from tests.manager.harness import US, RunHarness, until


@dataclass
class Receiver:
    """A webhook on loopback that keeps the texts it gets. `status`: what it answers."""

    texts: list[str] = field(default_factory=list)
    refused: int = 0
    status: int = 200
    url: str = ""

    @contextmanager
    def served(self) -> Iterator[Receiver]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if receiver.status == 200:
                    receiver.texts.append(body["text"])
                else:
                    receiver.refused += 1
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            self.url = f"http://127.0.0.1:{server.server_port}/hook"
            yield self
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver(harness: RunHarness) -> Iterator[Receiver]:
    with Receiver().served() as found:
        harness.settings["notifications"] = {"url": found.url}
        yield found


def test_a_store_that_needs_a_person_is_named_once_and_its_end_an_hour_later(
    harness: RunHarness, receiver: Receiver
) -> None:
    harness.stores[US]["guards"] = {"create": {"max": 1}}
    for n in range(3):
        harness.person(f"user_{n}")
    with harness.replica(notify_s=0.05) as run:
        run.scanned_all()
        until(lambda: receiver.texts, "a message comes")
        text = receiver.texts[0]
        assert text.startswith("acme-us needs a person: 3 held by GuardExceeded")
        assert "user_" not in text
        harness.stores[US]["guards"] = {"create": {"max": 10}}
        harness.write()
        until(lambda: len(harness.emails()) == 3, "the users are created")
        run.settled()
        notices, shop = run.components.state.notices, ShopDomain(f"{US}.myshopify.com")
        assert not notices.claim_notice(shop, now=WallClock().now() + timedelta(minutes=50))
        assert len(receiver.texts) == 1  # within the hour
        notices.end_notice(
            shop, notices.notified()[shop], now=WallClock().now() - timedelta(hours=2)
        )  # an hour has passed
        until(lambda: len(receiver.texts) == 2, "a message on its end comes")
        assert receiver.texts[1] == "acme-us no longer needs a person: GuardExceeded"


def test_a_webhook_that_is_away_gets_the_message_later(harness: RunHarness, receiver: Receiver) -> None:
    receiver.status = 503
    harness.stores[US]["auth"] = {"access_token": "wrong"}
    harness.person("user_a")
    with harness.replica(notify_s=0.05) as run:
        until(lambda: receiver.refused >= 3, "all tries were refused")
        receiver.status = 200
        notices, shop = run.components.state.notices, ShopDomain(f"{US}.myshopify.com")
        until(lambda: not notices.notified().get(shop, {"claimed": ""}), "the failure is recorded")
        assert receiver.texts == []

        def texts_after_five_minutes() -> list[str]:
            """Let the time pass again where the failure of the last try is recorded only now."""
            if not receiver.texts:
                notices.end_notice(shop, None, now=WallClock().now() - timedelta(minutes=6))
            return receiver.texts

        text = until(texts_after_five_minutes, "a message comes")[0]
        assert text.startswith("acme-us needs a person: the shop refuses access")
