"""Marketing consent in `run`: a new user, an answer in Shopify by webhook, a newer one in the app by a nudge."""

from __future__ import annotations

import json

import pytest

from tests.manager.harness import HELD_S, US, RunHarness, until

MID, NEW, NEWEST = "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"


def answer(harness: RunHarness, user: str, at: str) -> None:
    harness.person(user, last_name=json.dumps({"news": True, "news_at": at}))


def consent(harness: RunHarness) -> str:
    found: str = harness.customers()["user_a@example.com"]["emailMarketingConsent"]["marketingState"]
    return found


@pytest.mark.slow
def test_a_grant_that_is_on_its_way_during_a_redaction_leaves_nothing_in_the_state(harness: RunHarness) -> None:
    columns = harness.settings["profiles"]["columns"]
    columns["metadata"] = columns.pop("last_name")
    harness.stores[US]["consent"] = {"email": {"from": "metadata.news", "at": "metadata.news_at"}}
    with harness.replica() as run:
        run.scanned_all()
        answer(harness, "user_a", MID)
        held = harness.shop().faults.add("slow", on="customerEmailMarketingConsentUpdate", seconds=HELD_S, times=None)
        run.nudge("user_a")
        until(lambda: held.hits, "the consent is on its way")
        number = int(harness.customers()["user_a@example.com"]["id"].rpartition("/")[2])
        person = {"id": number, "email": "user_a@example.com", "phone": None}
        domain = harness.shop().shop.domain
        body = {"shop_id": 1, "shop_domain": domain, "customer": person, "orders_to_redact": []}
        run.shopify_accepted("customers/redact", body)
        until(lambda: run.status("user_a") == "erased", "the user is erased")
        harness.shop().faults.clear()
        run.settled()
        run.nudge("user_a")
        run.settled()
        row = run.mapping("user_a")
        assert row is not None
        assert (row.status, row.email, dict(row.applied)) == ("erased", None, {})
        assert run.components.state.mappings.events(user=row.clerk_user_id) == []


@pytest.mark.slow
def test_a_grant_in_a_shop_that_leaves_the_app_is_written_once_when_the_shop_is_back(harness: RunHarness) -> None:
    columns = harness.settings["profiles"]["columns"]
    columns["metadata"] = columns.pop("last_name")
    harness.stores[US]["consent"] = {"email": {"from": "metadata.news", "at": "metadata.news_at"}}
    grant = "customerEmailMarketingConsentUpdate"
    with harness.replica() as run:
        run.scanned_all()
        answer(harness, "user_a", MID)
        faults = harness.shop().faults
        lost = faults.add("lost_after", on=grant, times=1)
        refused = faults.add("status", status=401, when=lambda _variables: bool(lost.hits), times=None)
        run.nudge("user_a")
        until(lambda: refused.hits, "the answer to the grant is lost, and the shop refuses access")
        domain = harness.shop().shop.domain
        for topic in ("app/uninstalled", "shop/redact"):
            said = {"id": 1, "shop_id": 1, "shop_domain": domain, "myshopify_domain": domain}
            run.shopify_accepted(topic, said)
        until(lambda: run.manager.service.status_rows()[0].suspended, "the store is suspended")
        assert consent(harness) == "SUBSCRIBED"
        faults.clear()
        run.nudge("user_a")
        until(lambda: run.status("user_a") == "in_sync", "the user is reconciled")
        run.settled()
        assert sum(grant in call.roots for call in harness.shop().calls) == 1
        row = run.mapping("user_a")
        assert row is not None
        assert row.applied["consent.email"].ours
        events = run.components.state.mappings.events(user=row.clerk_user_id)
        assert sum(c.field == "consent.email" for event in events for c in event.changes) == 1, "the proof is kept"


def test_the_last_answer_reaches_the_shop_and_stays(harness: RunHarness) -> None:
    columns = harness.settings["profiles"]["columns"]
    columns["metadata"] = columns.pop("last_name")
    harness.stores[US]["consent"] = {"email": {"from": "metadata.news", "at": "metadata.news_at"}}
    answer(harness, "user_a", MID)
    with harness.replica() as run, harness.deliverer(run, "CUSTOMERS_EMAIL_MARKETING_CONSENT_UPDATE"):
        run.scanned_all()
        customer = harness.customers()["user_a@example.com"]
        until(lambda: consent(harness) == "SUBSCRIBED", "the user is subscribed")
        harness.shop().staff("consent", id=customer["id"], channel="email", state="UNSUBSCRIBED", at=NEW)

        def is_known() -> bool:
            row = run.mapping("user_a")
            return row is not None and (row.applied["consent.email"].text or "").startswith("UNSUBSCRIBED")

        until(is_known, "the webhook has told of the answer in Shopify")
        assert consent(harness) == "UNSUBSCRIBED"
        answer(harness, "user_a", NEWEST)
        run.nudge("user_a")
        until(lambda: consent(harness) == "SUBSCRIBED", "the user has agreed again")
        run.settled()
        assert run.status("user_a") == "in_sync"
