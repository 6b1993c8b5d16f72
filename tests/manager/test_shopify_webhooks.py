"""Shopify's webhooks, sent by the simulated shop itself: edits heal, echoes end, merges are followed, the law is kept."""

from __future__ import annotations

from reconciler.simulator.webhooks.delivery import Deliverer, Weather
from tests.manager.harness import HELD_S, RunHarness, Running, until

UPDATES = ("CUSTOMERS_CREATE", "CUSTOMERS_UPDATE", "CUSTOMERS_DELETE", "CUSTOMERS_MERGE")
LAW = ("CUSTOMERS_REDACT", "APP_UNINSTALLED")


def quiet(run: Running, post: Deliverer) -> None:
    """Everything the shop had to tell was delivered and reconciled."""

    def is_calm() -> bool:
        """No one is being reconciled, and nothing is on its way just before or after, nor has it come between."""
        sent = dict(post.sent)
        return post.waiting() == 0 and run.idle() and post.waiting() == 0 and dict(post.sent) == sent

    until(is_calm, "nothing is on its way any more")


def test_edits_by_staff_are_healed_by_the_nudge_and_our_own_echoes_write_nothing(harness: RunHarness) -> None:
    for n in range(5):
        harness.person(f"user_{n}", first_name="Right")
    with (
        harness.replica() as run,
        harness.deliverer(run, *UPDATES, weather=Weather(duplicate=0.5, shuffle=True)) as post,
    ):
        run.scanned_all()
        quiet(run, post)
        made = harness.mutations()
        before = run.metric("controller_runtime_reconcile_total")
        for customer in harness.customers().values():
            harness.shop().staff("edit", id=customer["id"], first_name="Wrong")
        until(lambda: {c["firstName"] for c in harness.customers().values()} == {"Right"}, "the edits are healed")
        quiet(run, post)
        assert harness.mutations() == made + 5  # one each: no ping-pong
        until(lambda: run.metric("controller_runtime_reconcile_total") > before + 5, "the echoes were reconciled")
        assert post.sent["delivered"] > 0


def test_a_deleted_customer_is_made_again_and_a_merge_is_followed(harness: RunHarness) -> None:
    harness.person("user_a")
    harness.person("user_b")
    with harness.replica() as run, harness.deliverer(run, *UPDATES) as post:
        run.scanned_all()
        quiet(run, post)
        harness.shop().staff("delete", id=harness.customers()["user_a@example.com"]["id"])
        until(lambda: "user_a@example.com" in harness.customers(), "the customer is made again")
        quiet(run, post)
        before = run.mapping("user_b")
        assert before is not None
        guest = harness.shop().staff("create", email="guest@example.com")
        harness.shop().staff("merge", keep=guest["id"], other=before.customer_id)

        def followed() -> bool:
            row = run.mapping("user_b")
            return row is not None and row.customer_id == guest["id"] and row.status == "in_sync"

        until(followed, "the mapping follows the merge")
        quiet(run, post)
        assert harness.emails() == ["user_a@example.com", "user_b@example.com"]


def test_who_was_redacted_is_erased_and_never_made_again(harness: RunHarness) -> None:
    harness.person("user_a", first_name="Ada")
    harness.person("user_b")
    with harness.replica() as run, harness.deliverer(run, *UPDATES, *LAW) as post:
        run.scanned_all()
        quiet(run, post)
        row = run.mapping("user_a")
        assert row is not None
        harness.shop().staff("redact", id=row.customer_id)
        until(lambda: run.status("user_a") == "erased", "the user is erased")
        run.components.state.mappings.put(row)  # a reconcile that was in progress writes too late
        harness.person("user_a", first_name="Back")
        run.nudge("user_a")
        quiet(run, post)
        now = run.mapping("user_a")
        assert now is not None
        assert (now.status, now.email, now.customer_id, dict(now.applied)) == ("erased", None, None, {})
        assert run.components.state.mappings.events(user=now.clerk_user_id) == []
        assert harness.emails().count("user_a@example.com") == 0
    with harness.replica() as run:
        run.scanned_all()
        assert run.status("user_a") == "erased"
        assert "user_a@example.com" not in harness.customers()


def test_who_was_healed_before_their_redaction_came_is_erased_as_well(harness: RunHarness) -> None:
    """Shopify tells days later: by then the deleted customer has long been made again."""
    harness.person("user_a", first_name="Ada")
    harness.person("user_b")
    with harness.replica() as run, harness.deliverer(run, *UPDATES, *LAW) as post:
        run.scanned_all()
        quiet(run, post)
        old = harness.customers()["user_a@example.com"]
        harness.shop().staff("delete", id=old["id"])
        until(lambda: "user_a@example.com" in harness.customers(), "the customer is made again")
        quiet(run, post)
        replaced = harness.customers()["user_a@example.com"]["id"]
        person = {"id": int(old["id"].rpartition("/")[2]), "email": None, "phone": None}
        body = {"shop_id": 1, "shop_domain": harness.shop().shop.domain, "customer": person, "orders_to_redact": []}
        harness.shop().shop.tell("CUSTOMERS_REDACT", lambda: body)
        until(lambda: run.status("user_a") == "erased", "the user is erased")
        made = harness.mutations()
        harness.person("user_a", first_name="Eve")
        run.nudge("user_a", "user_b")
        quiet(run, post)
        row = run.mapping("user_a")
        assert row is not None
        assert (row.status, row.email, row.customer_id, dict(row.applied)) == ("erased", None, replaced, {})
        assert harness.mutations() == made  # no one writes to the customer, and no one deletes it on a webhook's word
        assert run.status("user_b") == "in_sync"


def test_an_uninstalled_app_suspends_the_store_once_the_shop_confirms_it(harness: RunHarness) -> None:
    harness.person("user_a")
    with harness.replica() as run, harness.deliverer(run, *UPDATES, *LAW) as post:
        run.scanned_all()
        harness.shop().shop.tell("APP_UNINSTALLED", lambda: {"id": 1, "myshopify_domain": harness.shop().shop.domain})
        until(lambda: post.sent["delivered"] >= 1 and post.waiting() == 0, "a forged word was delivered")
        run.settled()
        assert not run.manager.running.suspensions()  # the shop still lets us in
        harness.shop().tokens.revoke_all()
        harness.shop().shop.staff_uninstall()
        until(run.manager.running.suspensions, "the store is suspended")
        until(lambda: run.metric("reconciler_store_suspended") == 1.0, "the metrics show it")
        until(lambda: next(iter(run.manager.service.status_rows())).suspended, "status shows it")


def test_who_is_erased_while_being_reconciled_is_written_to_no_more(harness: RunHarness) -> None:
    harness.person("user_a", first_name="Ada")
    with harness.replica() as run, harness.deliverer(run, *LAW) as post:
        run.scanned_all()
        row = run.mapping("user_a")
        assert row is not None
        held = harness.shop().faults.add("slow", seconds=HELD_S)
        harness.person("user_a", first_name="Eve")
        before = harness.mutations()
        run.nudge("user_a")
        until(lambda: held.hits, "the user is being reconciled")
        harness.shop().staff("redact", id=row.customer_id)
        until(lambda: run.status("user_a") == "erased", "the user is erased")
        harness.shop().faults.clear()
        quiet(run, post)
        assert run.status("user_a") == "erased"
        assert harness.mutations() == before
