"""A shop is renamed while `run` runs: its state stays its own, with replicas on old and new files beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.model.ids import ClerkUserId
from tests import servers
from tests.manager.harness import EU, US, RunHarness, Running, run_harness, store_of, until

NEW = "acme-group.myshopify.com"


@pytest.fixture
def shared(tmp_path: Path, postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[RunHarness]:
    """The shops with their state in Postgres, which several replicas may share."""
    with run_harness(tmp_path, state_url=postgres.url(postgres_database(migrated=True))) as found:
        yield found


def with_one_erased(run: Running, harness: RunHarness) -> None:
    """user_b was erased by law and the row is still there; user_a is in sync."""
    run.scanned_all()
    customer = int(harness.customers()["user_b@example.com"]["id"].rpartition("/")[2])
    with harness.shop().lock:
        body = {"shop_id": 1, "shop_domain": harness.shop().domain, "customer": {"id": customer, "email": None}}
    harness.shop().staff("delete", id=f"gid://shopify/Customer/{customer}")
    run.shopify_accepted("customers/redact", body)
    until(lambda: run.status("user_b") == "erased", "the user is erased")
    run.settled()


def check_works(run: Running, harness: RunHarness, name: str) -> None:
    """A change of user_a arrives, and no replica makes user_b again."""
    harness.person("user_a", first_name=name)
    run.nudge("user_a", "user_b")
    until(lambda: harness.customers()["user_a@example.com"]["firstName"] == name, f"{name} arrives")
    run.settled()
    assert (harness.emails(), run.status("user_b")) == (["user_a@example.com"], "erased")


def test_a_shop_that_is_renamed_in_the_file_continues_where_it_was(harness: RunHarness) -> None:
    harness.person("user_a")
    harness.person("user_b")
    with harness.replica() as run:
        with_one_erased(run, harness)
        harness.stores[US]["shop"] = NEW
        harness.write()
        until(lambda: run.metric("reconciler_config_reloads_total", result="taken") == 1, "the file is taken")
        until(lambda: not run.manager.running.suspensions(), "the shop has told which one it is")
        check_works(run, harness, "New")
        # What Shopify has not delivered yet names the shop as it was.
        run.shopify_accepted("customers/update", {"admin_graphql_api_id": "gid://shopify/Customer/1"})
        body = {"id": 1, "myshopify_domain": NEW}
        for name in (NEW, f"{US}.myshopify.com"):
            run.shopify_accepted("app/uninstalled", body, store="", named=name)
        assert {row.shop for row in run.manager.service.status_rows()} == {NEW}
        assert {row.shop for row in run.manager.service.person(ClerkUserId("user_a"))} == {NEW}
    with harness.replica() as run:
        run.scanned_all()
        check_works(run, harness, "Newer")


def test_webhooks_under_a_new_name_are_reasons_to_reconcile_before_the_file_has_it_and_speak_for_no_shop(
    two_shops: RunHarness,
) -> None:
    two_shops.person("user_a", first_name="First")
    with two_shops.replica() as run:
        run.scanned_all()
        customer = two_shops.customers()["user_a@example.com"]["id"]
        two_shops.shop().staff("edit", id=customer, first_name="Wrong")
        body = {"admin_graphql_api_id": customer}
        run.shopify_accepted("customers/update", body, named=NEW)
        until(lambda: two_shops.customers()["user_a@example.com"]["firstName"] == "First", "the drift is healed")
        for name in (f"{EU}.myshopify.com", "acme.example", "a.b.myshopify.com"):
            assert run.shopify("customers/update", body, named=name).status_code == 401, name
        person = {"id": int(customer.rpartition("/")[2]), "email": "user_a@example.com"}
        for topic in ("customers/redact", "shop/redact", "app/uninstalled"):
            said = {"shop_id": 1, "shop_domain": NEW, "myshopify_domain": NEW, "customer": person}
            assert run.shopify(topic, said, named=NEW).status_code == 401, topic
        run.settled()
        assert run.status("user_a") == "in_sync"


@pytest.mark.slow
def test_replicas_with_the_old_and_the_new_file_share_the_state_of_the_shop(shared: RunHarness, tmp_path: Path) -> None:
    shared.person("user_a")
    shared.person("user_b")
    folder = tmp_path / "new"
    folder.mkdir()
    newer = replace(shared, folder=folder, stores={US: shared.stores[US] | {"shop": NEW}})
    with shared.replica() as old:
        with_one_erased(old, shared)
        with newer.replica() as new:
            new.scanned_all()
            for number in range(3):
                check_works(old, shared, f"Old{number}")
                check_works(new, shared, f"New{number}")
        check_works(old, shared, "Old")
    with shared.replica() as old:  # with the old file once more, after the new name was seen
        old.scanned_all()
        body = {"admin_graphql_api_id": shared.customers()["user_a@example.com"]["id"]}
        old.shopify_accepted("customers/update", body, store="", named=NEW)
        check_works(old, shared, "Last")


def test_a_store_with_the_name_of_another_shop_is_left_alone_until_it_is_the_right_one(
    two_shops: RunHarness,
) -> None:
    harness = two_shops
    del harness.stores[EU]
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        right = dict(harness.stores[US])
        other = store_of(harness, EU)
        harness.stores[US] = right | {"admin_url": other["admin_url"], "auth": other["auth"]}
        harness.write()
        until(run.manager.running.suspensions, "it is left alone")
        until(lambda: "another shop" in (next(iter(run.manager.service.status_rows())).suspended or ""), "and says why")
        harness.person("user_a", first_name="New")
        run.nudge("user_a")
        assert harness.emails(EU) == []
        harness.stores[US] = right
        harness.write()
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "New", "it continues")
        assert harness.emails(EU) == []


def test_a_new_name_waits_for_a_shop_that_is_away_and_is_refused_where_another_answers(two_shops: RunHarness) -> None:
    harness = two_shops
    eu = harness.stores.pop(EU)
    harness.person("user_a")
    with harness.replica() as run:
        run.scanned_all()
        harness.stores[EU] = eu
        harness.write()
        until(lambda: len(harness.emails(EU)) == 1, "the second store has the customer")
        harness.shop().faults.add("status", status=502, times=None)
        harness.stores[US]["shop"] = NEW
        harness.write()
        until(lambda: "has not returned its gid yet" in str(suspended(run, US)), "status says what it waits for")
        harness.person("user_a", first_name="New")
        run.nudge("user_a", store=EU)
        until(lambda: harness.customers(EU)["user_a@example.com"]["firstName"] == "New", "the other store continues")
        harness.shop().faults.clear()
        until(lambda: suspended(run, US) is None, "it is let in")
        run.nudge("user_a")
        until(lambda: harness.customers()["user_a@example.com"]["firstName"] == "New", "it continues")
        run.settled()
        before = harness.mutations()
        harness.stores[US] |= {"shop": "acme-third.myshopify.com", "admin_url": eu["admin_url"], "auth": eu["auth"]}
        harness.write()
        until(lambda: "of another store in stores.yaml" in str(suspended(run, US)), "it says which shop that is")
        assert harness.mutations() == before


def suspended(run: Running, store: str) -> str | None:
    """What status says of why a store is left alone."""
    return next(row.suspended for row in run.manager.service.status_rows() if row.store == store)
