"""Webhooks of the simulated shop: subscriptions, events, and their delivery over real HTTP on loopback."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from reconciler.simulator.webhooks.delivery import Deliverer, Weather
from tests.simulator.harness import METAFIELDS, SimulatorHarness

SUBSCRIBE = """mutation($t: WebhookSubscriptionTopic!, $w: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $t, webhookSubscription: $w) {
    webhookSubscription { id topic uri callbackUrl filter includeFields format apiVersion { handle } }
    userErrors { field message } } }"""
CHANGE = """mutation($id: ID!, $w: WebhookSubscriptionInput!) {
  webhookSubscriptionUpdate(id: $id, webhookSubscription: $w) {
    webhookSubscription { uri includeFields } userErrors { field message } } }"""
REMOVE = """mutation($id: ID!) {
  webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } } }"""
LISTED = """query($t: [WebhookSubscriptionTopic!], $u: String) {
  webhookSubscriptions(first: 50, topics: $t, uri: $u) { nodes { topic uri } } }"""
HOOK = "https://hooks.example.com/shopify"
WHERE = ["webhookSubscription", "callbackUrl"]


@dataclass
class Mailbox:
    """Somebody who takes webhooks, and answers with `status`."""

    url: str
    status: int = 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def topics(self) -> list[str]:
        return [headers["x-shopify-topic"] for headers, _ in self.got]

    def body(self, topic: str) -> Any:
        """The last body of a topic."""
        return [json.loads(body) for headers, body in self.got if headers["x-shopify-topic"] == topic][-1]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            box.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(box.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    box = Mailbox(f"http://127.0.0.1:{server.server_address[1]}/hook")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield box
    server.shutdown()
    thread.join()
    server.server_close()


def subscribe(sim: SimulatorHarness, topic: str, uri: str = HOOK, **more: Any) -> Any:
    done = sim(SUBSCRIBE, t=topic, w={"uri": uri, **more})
    assert done["userErrors"] == [], done
    return done["webhookSubscription"]


def deliver(sim: SimulatorHarness, **options: Any) -> Deliverer:
    """A deliverer that has pumped until nothing was due."""
    deliverer = Deliverer(sim.shop, secret="hush", **options)
    drain(deliverer)
    return deliverer


def drain(deliverer: Deliverer) -> None:
    while deliverer.pump():
        pass


def refused(sim: SimulatorHarness, topic: str, uri: str, **more: Any) -> list[tuple[Any, str]]:
    done = sim(SUBSCRIBE, t=topic, w={"uri": uri, **more})
    assert done["webhookSubscription"] is None
    return [(each["field"], each["message"]) for each in done["userErrors"]]


def test_subscriptions_are_made_listed_changed_and_removed(sim: SimulatorHarness) -> None:
    made = subscribe(sim, "CUSTOMERS_UPDATE", includeFields=["id"])
    assert made == {
        "id": made["id"], "topic": "CUSTOMERS_UPDATE", "uri": HOOK, "callbackUrl": HOOK, "filter": None,
        "includeFields": ["id"], "format": "JSON", "apiVersion": {"handle": "2026-10"},
    }  # fmt: skip
    subscribe(sim, "CUSTOMERS_DELETE")
    assert sim(LISTED, t=["CUSTOMERS_DELETE"]) == {"nodes": [{"topic": "CUSTOMERS_DELETE", "uri": HOOK}]}
    assert len(sim(LISTED, u=HOOK)["nodes"]) == 2
    changed = sim(CHANGE, id=made["id"], w={"uri": "https://new.example.com"})
    assert changed["webhookSubscription"] == {"uri": "https://new.example.com", "includeFields": ["id"]}
    assert sim(REMOVE, id=made["id"])["deletedWebhookSubscriptionId"] == made["id"]
    gone = [{"field": ["id"], "message": "Webhook subscription does not exist"}]
    assert sim(REMOVE, id=made["id"]) == {"deletedWebhookSubscriptionId": made["id"], "userErrors": []}
    assert sim(REMOVE, id="gid://shopify/WebhookSubscription/404")["userErrors"] == gone
    assert sim(CHANGE, id=made["id"], w={})["userErrors"] == gone
    assert sim("query($id: ID!) { webhookSubscription(id: $id) { id } }", id=made["id"]) is None


def test_errors_name_callback_url_whatever_was_sent(sim: SimulatorHarness) -> None:
    subscribe(sim, "CUSTOMERS_UPDATE")
    taken = "Address for this topic has already been taken"
    assert refused(sim, "CUSTOMERS_UPDATE", HOOK) == [(WHERE, taken)]
    http = "Address protocol http:// is not supported"
    assert refused(sim, "CUSTOMERS_UPDATE", "http://hooks.example.com") == [(WHERE, http)]
    assert refused(sim, "CUSTOMERS_UPDATE", "") == [(WHERE, "Address can't be blank")]
    assert refused(sim, "CUSTOMERS_UPDATE", "ftp://x") == [(WHERE, "Address protocol ftp:// is not supported")]
    subscribe(sim, "CUSTOMERS_UPDATE", "pubsub://project:topic")
    source = "arn:aws:events:us-east-1::event-source/aws.partner/shopify.com/{}/source"
    subscribe(sim, "CUSTOMERS_UPDATE", source.format(sim.shop.app_id))
    foreign = f"Address is an AWS ARN and includes api_client_id '1' instead of '{sim.shop.app_id}'"
    said = refused(sim, "CUSTOMERS_UPDATE", source.format(1))
    assert said == [(WHERE, "Address is invalid"), (WHERE, foreign)]
    sim.shop.habits.loopback_callbacks = False
    assert refused(sim, "CUSTOMERS_UPDATE", "http://127.0.0.1:1") == [(WHERE, http)]
    assert refused(sim, "CUSTOMERS_UPDATE", "https://a.b", filter="email OR x")[0][0] == ["webhookSubscription"]


def test_nothing_is_kept_while_no_one_listens(sim: SimulatorHarness) -> None:
    sim.set(email="ada@example.com")
    assert not sim.shop.outbox


def test_a_delivery_is_signed_and_named_as_shopifys(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_CREATE", mailbox.url)
    made = sim.set(email="ada@example.com", firstName="Ada", tags=["x"], phone="+16134505293")
    deliver(sim)
    headers, body = mailbox.got[0]
    expected = base64.b64encode(hmac.new(b"hush", body, hashlib.sha256).digest()).decode()
    assert headers["x-shopify-hmac-sha256"] == expected
    assert headers["x-shopify-topic"] == "customers/create"
    assert headers["x-shopify-shop-domain"] == "harness.myshopify.com"
    assert headers["x-shopify-api-version"] == "2026-10"
    assert headers["x-shopify-webhook-id"] != headers["x-shopify-event-id"]
    assert headers["x-shopify-triggered-at"].endswith("Z")
    told = json.loads(body)
    assert set(told) == {
        "id", "created_at", "updated_at", "first_name", "last_name", "state", "note", "verified_email",
        "multipass_identifier", "tax_exempt", "email", "phone", "currency", "addresses", "tax_exemptions",
        "admin_graphql_api_id", "default_address",
    }  # fmt: skip
    assert told["id"] > 1 << 53
    assert (told["admin_graphql_api_id"], told["state"]) == (made["id"], "disabled")
    assert told["updated_at"].endswith("-05:00")
    assert (told["email"], told["phone"], told["first_name"]) == ("ada@example.com", "+16134505293", "Ada")


TOPICS = (
    "CUSTOMERS_CREATE", "CUSTOMERS_UPDATE", "CUSTOMERS_DELETE", "CUSTOMERS_MERGE", "CUSTOMERS_ENABLE",
    "CUSTOMER_TAGS_ADDED", "CUSTOMER_TAGS_REMOVED", "CUSTOMERS_EMAIL_MARKETING_CONSENT_UPDATE",
)  # fmt: skip


def test_every_kind_of_change_is_sent(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    for topic in TOPICS:
        subscribe(sim, topic, mailbox.url)
    deliverer = Deliverer(sim.shop, secret="hush")

    def told() -> list[str]:
        drain(deliverer)
        topics = mailbox.topics
        mailbox.got.clear()
        return topics

    one = sim.set(email="ada@example.com", tags=["x"])["id"]
    assert told() == ["customers/create", "customer.tags_added"]
    sim.set({"id": one}, firstName="Ada")
    assert told() == ["customers/update"]
    sim.set({"id": one}, firstName="Ada")
    assert told() == []
    sim.shop.tags_remove(id=one, tags=["x"])
    drain(deliverer)
    assert mailbox.body("customer.tags_removed")["tags"] == ["x"]
    assert told() == ["customers/update", "customer.tags_removed"]
    sim(METAFIELDS, m=[{"ownerId": one, "namespace": "cust", "key": "url", "type": "url", "value": "tel:1"}])
    assert told() == ["customers/update"]
    sim.shop.staff_state(one, "ENABLED")
    assert told() == ["customers/enable"]
    given = {"marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN"}
    sim.shop.customer_email_marketing_consent_update(input={"customerId": one, "emailMarketingConsent": given})
    assert told() == ["customers/email_marketing_consent_update"]
    two = sim.shop.staff_guest_checkout("two@example.com").id
    assert told() == ["customers/create", "customers/update"]
    sim.shop.staff_merge(one, two)
    drain(deliverer)
    merged = mailbox.body("customers/merge")
    assert (merged["admin_graphql_api_customer_kept_id"], merged["status"]) == (one, "completed")
    assert told() == ["customers/update", "customers/merge"]
    three = sim.set(firstName="Cleo")["id"]
    sim.shop.staff_delete(three)
    drain(deliverer)
    assert set(mailbox.body("customers/delete")) == {"id", "tax_exemptions", "admin_graphql_api_id"}
    assert told() == ["customers/create", "customers/delete"]


def test_a_failed_merge_is_sent_too(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_MERGE", mailbox.url)
    one, two = (sim.set(firstName=name)["id"] for name in ("Ada", "Bob"))
    sim.shop.failing_merges = 1
    job = sim.shop.customer_merge(customer_one_id=one, customer_two_id=two)["job"]["id"]
    for _ in range(2):
        sim.shop.customer_merge_job_status(job_id=job)
    deliver(sim)
    told = mailbox.body("customers/merge")
    assert (told["status"], len(told["errors"]), told["admin_graphql_api_job_id"]) == ("failed", 1, job)


@pytest.mark.parametrize("sends", [True, False])
def test_a_merge_may_be_told_as_a_deletion_too(sim: SimulatorHarness, mailbox: Mailbox, sends: bool) -> None:  # noqa: FBT001 - a parameter
    sim.shop.habits.merge_sends_delete = sends
    subscribe(sim, "CUSTOMERS_DELETE", mailbox.url)
    one, two = (sim.set(firstName=name)["id"] for name in ("Ada", "Bob"))
    sim.shop.staff_merge(one, two)
    deliver(sim)
    assert mailbox.topics == ["customers/delete"] * sends


def test_a_redaction_goes_to_the_apps_own_address(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    one = sim.set(email="ada@example.com")["id"]
    deliverer = Deliverer(sim.shop, secret="hush", app_url=mailbox.url)
    sim.shop.staff_redact(one)
    drain(deliverer)
    told = mailbox.body("customers/redact")
    assert told["customer"] == {"id": int(one.rpartition("/")[2]), "email": "ada@example.com", "phone": None}
    assert told["shop_domain"] == "harness.myshopify.com"


def test_what_becomes_of_the_app_is_sent(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    for topic in ("APP_SCOPES_UPDATE", "APP_UNINSTALLED", "CUSTOMERS_CREATE"):
        subscribe(sim, topic, mailbox.url)
    one = sim.set(firstName="Ada")["id"]
    sim.shop.staff_scopes(["read_customers"])
    sim.shop.staff_data_request(one)
    sim.shop.staff_uninstall()
    deliver(sim, app_url=mailbox.url)
    assert set(mailbox.topics) == {"app/scopes_update", "app/uninstalled", "customers/data_request", "customers/create"}
    assert mailbox.body("app/scopes_update")["current"] == ["read_customers"]
    assert mailbox.body("customers/data_request")["customer"]["id"] == int(one.rpartition("/")[2])
    assert {each.topic for each in sim.shop.subscriptions.values()} == {"APP_UNINSTALLED"}


def test_only_the_fields_and_customers_that_were_asked_for(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_CREATE", mailbox.url, includeFields=["id", "email"], filter='email:* -first_name:"Bob"')
    sim.set(firstName="Nomail")
    sim.set(firstName="Bob", email="b@example.com")
    sim.set(email="a@example.com")
    deliver(sim)
    assert [set(json.loads(body)) for _, body in mailbox.got] == [{"id", "email"}]
    assert mailbox.body("customers/create")["email"] == "a@example.com"


def test_a_subscribed_address_can_be_led_to_loopback_and_nowhere_else(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_CREATE")
    sim.set(firstName="Ada")
    astray = deliver(sim)
    assert (astray.sent["not loopback"], mailbox.got) == (1, [])
    sim.set(firstName="Bob")
    led = deliver(sim, routes={HOOK: mailbox.url})
    assert (led.sent["delivered"], len(mailbox.got)) == (1, 1)
    sim.set(firstName="Cleo")
    assert deliver(sim, origin=mailbox.url.removesuffix("/hook")).sent["delivered"] == 1
    assert mailbox.body("customers/create")["first_name"] == "Cleo"


def test_a_failed_delivery_comes_again_with_the_same_id_and_the_old_body(
    sim: SimulatorHarness, mailbox: Mailbox
) -> None:
    subscribe(sim, "CUSTOMERS_CREATE", mailbox.url)
    one = sim.set(firstName="Ada")["id"]
    mailbox.status = 500
    deliverer = deliver(sim)
    sim.set({"id": one}, firstName="Adah")
    mailbox.status = 204
    assert deliverer.pump() == 0
    assert deliverer.waiting() == 1
    sim.clock.now += 10
    drain(deliverer)
    assert deliverer.waiting() == 0
    first, second = mailbox.got
    assert first[0]["x-shopify-webhook-id"] == second[0]["x-shopify-webhook-id"]
    assert first[1] == second[1]


def test_a_redirect_is_a_failure(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_CREATE", mailbox.url)
    sim.set(firstName="Ada")
    mailbox.status = 302
    assert deliver(sim).sent["failed"] == 1


def test_eight_failures_in_a_row_end_a_subscription(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_CREATE", mailbox.url)
    mailbox.status = 500
    sim.set(firstName="Ada")
    deliverer = Deliverer(sim.shop, secret="hush")
    for _ in range(20):
        drain(deliverer)
        sim.clock.now += 3600
    assert (len(mailbox.got), deliverer.sent["removed"]) == (8, 1)
    assert sim(LISTED)["nodes"] == []


def test_a_success_in_between_restarts_the_count(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_CREATE", mailbox.url)
    deliverer = Deliverer(sim.shop, secret="hush")
    for status in (500, 200, 500):
        mailbox.status = status
        for number in range(7 if status == 500 else 1):
            sim.set(firstName=f"Ada {number}")
        drain(deliverer)
    assert len(sim(LISTED)["nodes"]) == 1


def test_bad_weather_is_repeatable(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    subscribe(sim, "CUSTOMERS_CREATE", mailbox.url)

    def storm() -> list[str]:
        mailbox.got.clear()
        for number in range(40):
            sim.set(firstName=f"Ada {number}")
        weather = Weather(drop=0.2, duplicate=0.2, shuffle=True, delay_s=30)
        deliverer = Deliverer(sim.shop, secret="hush", weather=weather, seed=7)
        assert deliverer.pump() == 0
        sim.clock.now += 30
        drain(deliverer)
        return [json.loads(body)["first_name"] for _, body in mailbox.got]

    first = storm()
    assert first == storm()
    assert len(set(first)) < 40
    assert len(first) > len(set(first))
    assert first != sorted(first, key=lambda name: int(name.split()[1]))


def test_in_a_thread_of_its_own_it_delivers_by_itself(sim: SimulatorHarness, mailbox: Mailbox) -> None:
    sim.shop.webhook_secret = "hush"
    with Deliverer(sim.shop, app_url=mailbox.url) as deliverer:
        sim.set(firstName="Ada")
        wait = threading.Event()
        for _ in range(500):
            if deliverer.sent["delivered"] == 1:
                break
            wait.wait(0.01)
    assert mailbox.topics == ["customers/create"]
