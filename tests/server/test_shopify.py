"""POST /webhooks/shopify/{store} and /webhooks/shopify: Shopify's HMAC made by hand, every topic, every hostile shape."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import ConfigError, NotAnEvent, Unauthentic
from reconciler.shopify.webhooks import ShopifyWebhooks
from tests.server.services import APP_SECRET, EU, MUTE, OLD_APP_SECRET, SHOP_EU, SHOP_US, US, MemoryService

BIG = 9_007_199_254_740_993  # 2**53 + 1: a float would make it …992
GID = f"gid://shopify/Customer/{BIG}"
OTHER = "gid://shopify/Customer/7"


def headers(
    body: bytes, topic: str, *, secret: str = APP_SECRET, shop: str = SHOP_US, webhook_id: str = "b54557e4-1"
) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {
        "X-Shopify-Topic": topic,
        "X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode(),
        "X-Shopify-Shop-Domain": shop,
        "X-Shopify-Webhook-Id": webhook_id,
        "X-Shopify-API-Version": "2026-10",
        "X-Shopify-Triggered-At": "2026-11-23T11:59:58.123456789Z",
    }


def send(http: httpx.Client, payload: Any, topic: str, *, store: str = US, **signed: str) -> httpx.Response:
    """Send it to the address of a store; without one, to that of the app."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return http.post(f"/webhooks/shopify/{store}".rstrip("/"), content=body, headers=headers(body, topic, **signed))


CUSTOMER: dict[str, Any] = {
    "id": BIG,
    "admin_graphql_api_id": GID,
    "email": "tove@tove.example",
    "updated_at": "2026-11-23T06:59:58-05:00",
}


@pytest.mark.parametrize("topic", ["customers/create", "customers/update", "customers/delete", "CUSTOMERS/UPDATE"])
@pytest.mark.parametrize(
    "payload",
    [CUSTOMER, {"id": BIG}, {"id": str(BIG)}, {"admin_graphql_api_id": GID}],
    ids=["both", "id", "text", "gid"],
)
def test_a_customers_webhook_nudges_that_customer(
    http: httpx.Client, service: MemoryService, topic: str, payload: dict[str, Any]
) -> None:
    answer = send(http, payload, topic)
    assert (answer.status_code, answer.json()) == (202, {"status": "queued"})
    assert service.customers == [(US, GID, topic.lower())]
    assert not service.shop_events


@pytest.mark.parametrize("topic", ["customer.tags_added", "customer.tags_removed"])
def test_a_change_of_tags_nudges_that_customer(http: httpx.Client, service: MemoryService, topic: str) -> None:
    payload = {"customerId": GID, "tags": ["vip"], "occurredAt": "2026-11-23T11:59:58Z"}
    assert send(http, payload, topic).status_code == 202
    assert service.customers == [(US, GID, topic)]


def test_a_failed_merge_that_names_no_one_is_taken_and_nudges_no_one(
    http: httpx.Client, service: MemoryService
) -> None:
    payload: dict[str, Any] = {
        "admin_graphql_api_customer_kept_id": None,
        "admin_graphql_api_customer_deleted_id": None,
        "admin_graphql_api_job_id": None,
        "status": "failed",
        "errors": [],
    }
    assert send(http, payload, "customers/merge").status_code == 202
    assert service.customers == []


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_merge_nudges_both_whether_it_failed_or_not(http: httpx.Client, service: MemoryService, status: str) -> None:
    payload = {
        "admin_graphql_api_customer_kept_id": GID,
        "admin_graphql_api_customer_deleted_id": OTHER,
        "status": status,
        "errors": [],
    }
    assert send(http, payload, "customers/merge").status_code == 202
    assert [customer for _, customer, _ in service.customers] == [GID, OTHER]


PERSON = {"id": BIG, "email": "tove@tove.example", "phone": "+4531415926"}


@pytest.mark.parametrize(
    ("topic", "payload", "customers"),
    [
        (
            "customers/redact",
            {"shop_id": 1, "shop_domain": SHOP_US, "customer": PERSON, "orders_to_redact": [3]},
            (GID,),
        ),
        (
            "customers/data_request",
            {"shop_id": 1, "shop_domain": SHOP_US, "customer": PERSON, "data_request": {"id": 9999}},
            (GID,),
        ),
        ("shop/redact", {"shop_id": 1, "shop_domain": SHOP_US}, ()),
        ("app/uninstalled", {"id": 1, "myshopify_domain": SHOP_US, "email": "owner@acme.example"}, ()),
    ],
)
def test_what_the_law_and_the_shop_say_is_handed_on_without_personal_data(
    http: httpx.Client, service: MemoryService, topic: str, payload: dict[str, Any], customers: tuple[str, ...]
) -> None:
    assert send(http, payload, topic).status_code == 202
    ((store, event),) = service.shop_events
    assert (store, event.topic, event.customers) == (US, topic, customers)
    assert event.data_request == ("9999" if topic == "customers/data_request" else "")
    assert "@" not in repr(event)
    assert not service.customers


@pytest.mark.parametrize("topic", ["customers/redact", "customers/data_request", "shop/redact", "app/uninstalled"])
def test_a_body_signed_for_another_topic_can_not_speak_for_the_shop(
    http: httpx.Client, service: MemoryService, topic: str
) -> None:
    """The topic's header is not signed: one who holds one signed body may send it under any topic."""
    assert send(http, CUSTOMER, topic).status_code == 400
    assert send(http, {"shop_id": 2, "shop_domain": SHOP_EU, "customer": PERSON}, topic).status_code == 400
    assert service.untouched


def test_the_address_of_who_is_redacted_is_handed_on_and_a_mere_request_can_not_pose_as_a_redaction(
    http: httpx.Client, service: MemoryService
) -> None:
    said = {"shop_id": 1, "shop_domain": SHOP_US, "customer": PERSON}
    assert send(http, {**said, "data_request": {"id": 9999}}, "customers/redact").status_code == 400
    assert service.untouched
    assert send(http, {**said, "orders_to_redact": []}, "customers/redact").status_code == 202
    assert send(http, {**said, "data_request": {"id": 9999}}, "customers/data_request").status_code == 202
    assert [event.email for _, event in service.shop_events] == ["tove@tove.example", ""]


@pytest.mark.parametrize("channel", ["email_marketing", "marketing"])
def test_a_new_consent_nudges_its_customer(http: httpx.Client, service: MemoryService, channel: str) -> None:
    body = {"customer_id": CUSTOMER["id"], "email_address": "tove@tove.example"}
    assert send(http, body, f"customers/{channel}_consent_update").json() == {"status": "queued"}
    assert send(http, body, f"customers_{channel}_consent/update", webhook_id="2").json() == {"status": "queued"}
    assert len(service.customers) == 2


@pytest.mark.parametrize("topic", ["orders/create", "bulk_operations/finish", "customers/purchasing_summary"])
def test_topics_we_did_not_ask_for_are_202_and_dropped(http: httpx.Client, service: MemoryService, topic: str) -> None:
    assert send(http, CUSTOMER, topic).json() == {"status": "ignored"}
    assert service.untouched


def test_the_old_secret_is_good_where_one_is_kept_and_only_there(http: httpx.Client, service: MemoryService) -> None:
    assert send(http, CUSTOMER, "customers/update", secret=OLD_APP_SECRET).status_code == 202
    foreign = send(http, CUSTOMER, "customers/update", store=EU, shop=SHOP_EU, secret=OLD_APP_SECRET)
    assert foreign.status_code == 401
    assert len(service.customers) == 1


def test_a_webhook_that_comes_again_is_taken_once_per_store(http: httpx.Client, service: MemoryService) -> None:
    assert [send(http, CUSTOMER, "customers/update").json()["status"] for _ in range(2)] == ["queued", "duplicate"]
    assert send(http, CUSTOMER, "customers/update", store=EU, shop=SHOP_EU).json() == {"status": "queued"}
    assert send(http, CUSTOMER, "customers/update", webhook_id="another").json() == {"status": "queued"}
    assert [send(http, CUSTOMER, "customers/update", webhook_id="").json()["status"] for _ in range(2)] == [
        "queued"
    ] * 2
    assert len(service.customers) == 5


def test_one_shops_webhook_is_refused_at_another_stores_address(http: httpx.Client, service: MemoryService) -> None:
    """Two shops may share an app and so a secret."""
    assert send(http, CUSTOMER, "customers/update", store=EU, shop=SHOP_US).status_code == 401
    assert send(http, CUSTOMER, "customers/update", store=EU, shop="").status_code == 401
    assert service.untouched


def test_an_apps_webhook_reaches_the_store_of_the_shop_that_it_names(
    http: httpx.Client, service: MemoryService
) -> None:
    assert send(http, CUSTOMER, "customers/update", store="").json() == {"status": "queued"}
    assert send(http, CUSTOMER, "customers/update").json() == {"status": "duplicate"}, (
        "it came to the store's address too"
    )
    assert send(http, CUSTOMER, "customers/update", store="", shop=SHOP_EU.upper()).json() == {"status": "queued"}
    assert service.customers == [(US, GID, "customers/update"), (EU, GID, "customers/update")]
    body = {"shop_id": 1, "shop_domain": SHOP_EU, "customer": PERSON, "orders_to_redact": []}
    assert send(http, body, "customers/redact", store="", shop=SHOP_EU).status_code == 202
    assert send(http, body, "customers/redact", store="").status_code == 400, (
        "the header names another shop than the body"
    )
    assert [(store, event.topic) for store, event in service.shop_events] == [(EU, "customers/redact")]
    assert send(http, CUSTOMER, "orders/create", store="").json() == {"status": "ignored"}
    assert send(http, b"{}", "customers/update", store="").status_code == 400


def test_an_apps_webhook_that_no_store_can_verify_gets_one_answer_whatever_shop_it_names(
    http: httpx.Client, service: MemoryService
) -> None:
    """The old secret is one of the first store only: it signs for no other shop."""
    wrong = [
        send(http, CUSTOMER, "customers/update", store="", shop=shop, secret=secret)
        for shop, secret in [
            (SHOP_US, "wrong"),
            (SHOP_EU, OLD_APP_SECRET),
            ("unknown.myshopify.com", APP_SECRET),
            ("", APP_SECRET),
            (f"{MUTE}.myshopify.com", APP_SECRET),
        ]
    ]
    assert {(answer.status_code, answer.text) for answer in wrong} == {(401, wrong[0].text)}
    assert "myshopify.com" not in wrong[0].text
    assert service.untouched


def test_a_store_that_is_none_is_404_and_one_without_a_secret_503(http: httpx.Client, service: MemoryService) -> None:
    assert send(http, CUSTOMER, "customers/update", store="unknown").status_code == 404
    assert send(http, CUSTOMER, "customers/update", store="..%2Fclerk").status_code == 404
    assert send(http, CUSTOMER, "customers/update", store=MUTE).status_code == 503
    assert service.untouched


@pytest.mark.parametrize(
    "hmac_header", ["", "garbage", "é", "AAAA", "=" * 44, base64.b64encode(bytes(32)).decode(), "A" * 9000]
)
def test_a_wrong_hmac_is_401(http: httpx.Client, service: MemoryService, hmac_header: str) -> None:
    body = json.dumps(CUSTOMER).encode()
    changed = headers(body, "customers/update") | {"X-Shopify-Hmac-Sha256": hmac_header}
    signed = {name.encode(): value.encode() for name, value in changed.items()}
    assert http.post(f"/webhooks/shopify/{US}", content=body, headers=signed).status_code == 401
    assert service.untouched


def test_a_changed_body_is_401(http: httpx.Client, service: MemoryService) -> None:
    body = json.dumps(CUSTOMER).encode()
    answer = http.post(f"/webhooks/shopify/{US}", content=body + b" ", headers=headers(body, "customers/update"))
    assert answer.status_code == 401
    assert service.untouched


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b"hello",
        b"\xff\xfe",
        b"{}",
        b'{"id": null}',
        b'{"id": 7.0}',
        b'{"id": 1e3}',
        b'{"id": true}',
        b'{"id": -7}',
        b'{"id": 0}',
        b'{"id": "7a"}',
        b'{"id": "\xd9\xa7"}',
        b'{"id": ' + b"9" * 40 + b"}",
        b'{"id": ' + b"9" * 5000 + b"}",
        b'{"id": NaN}',
        b'{"admin_graphql_api_id": "gid://shopify/Order/7"}',
        b'{"admin_graphql_api_id": ["gid://shopify/Customer/7"]}',
        b"[" * 100_000,
    ],
    ids=lambda payload: repr(payload)[:32],
)
def test_a_signed_body_that_names_no_customer_is_400(
    http: httpx.Client, service: MemoryService, payload: bytes
) -> None:
    assert send(http, payload, "customers/update").status_code == 400
    assert service.untouched


@pytest.mark.parametrize("topic", ["", "customers update", "<script>", "x" * 200])
def test_a_signed_body_without_a_topic_is_400(http: httpx.Client, service: MemoryService, topic: str) -> None:
    assert send(http, CUSTOMER, topic).status_code == 400
    assert service.untouched


def test_a_shop_without_a_secret_can_not_be_listened_to() -> None:
    with pytest.raises(ConfigError):
        ShopifyWebhooks(ShopDomain(SHOP_US), ["", " "])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    topic=st.sampled_from(
        ["customers/update", "customers/merge", "customers/redact", "shop/redact", "customer.tags_added"]
    )
    | st.text(max_size=30),
    body=st.dictionaries(
        st.sampled_from(
            ["id", "admin_graphql_api_id", "customerId", "customer", "shop_domain", "status", "data_request"]
        ),
        st.none() | st.integers() | st.floats() | st.text(max_size=12) | st.dictionaries(st.just("id"), st.integers()),
        max_size=5,
    ),
)
def test_a_signed_body_is_an_event_or_not_and_never_a_crash(topic: str, body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    try:
        found = ShopifyWebhooks(ShopDomain(SHOP_US), [APP_SECRET]).read(headers(raw, topic), raw)
    except (NotAnEvent, Unauthentic):
        return
    assert all(customer.rpartition("/")[2].isdigit() for customer in found.customers)
