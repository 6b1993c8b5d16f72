"""`plan` and `apply` by a shop's mirror, through the command line: fast where nothing has changed, and never stale."""

from __future__ import annotations

import pytest

from reconciler.controller.scan.standing import BULK_FROM
from reconciler.core.model.ids import CustomerId
from tests.cli.harness import EU, US, CliHarness, Said

PASSED = "skipped as unchanged by the mirror of"


@pytest.fixture
def mirrored(ready: CliHarness) -> CliHarness:
    """The first shop has a mirror, the second one has none; what staff does is in the index immediately."""
    for name in (US, EU):
        ready.shop(name).shop.search_lag_s = 0.0
        ready.stores[name]["guards"] = {"update": {"max": 50}}
    assert ready("apply", "--yes").code == 0
    assert ready("backfill", "shopify", "--store", US).code == 0
    assert PASSED not in ready("plan").out  # no one has been observed since creation
    return ready


def customer(cli: CliHarness, email: str, name: str = US) -> CustomerId:
    return CustomerId(cli.customers(name)[email]["id"])


def read(cli: CliHarness, name: str, *words: str) -> tuple[Said, set[str]]:
    """What a command said, and what it asked of a shop."""
    before = len(cli.shop(name).calls)
    said = cli(*words)
    return said, {root for call in list(cli.shop(name).calls)[before:] for root in call.roots}


def acts(said: Said) -> dict[str, str]:
    return {a["clerk_user_id"]: a["kind"] for store in said.json["stores"] for a in store["actions"]}


def test_the_shop_with_a_mirror_is_asked_who_was_touched_and_how_many_there_are(mirrored: CliHarness) -> None:
    mirrored.shop().shop.staff_edit(customer(mirrored, "ada@example.com"), note="touched, and nothing of ours")
    said, asked = read(mirrored, US, "plan")
    assert said.code == 0
    assert {"customers", "customersCount"} <= asked
    assert f"{US}: 1 user skipped as unchanged, 1 user decided without reading the shop by the mirror of" in said.out
    assert f"{EU}:" not in said.out
    assert said.out.count("0 actions") == 1


def test_the_plan_is_the_same_with_and_without_it(mirrored: CliHarness) -> None:
    mirrored.shop().shop.staff_edit(customer(mirrored, "ada@example.com"), first_name="Eda")
    by_mirror, live = mirrored("plan", "--output", "json"), mirrored("plan", "--live", "--output", "json")
    assert acts(by_mirror) == acts(live) == {"user_ada": "update"}
    assert (by_mirror.json["digest"], by_mirror.json["summary"]) == (live.json["digest"], live.json["summary"])
    assert (PASSED in by_mirror.err, PASSED in live.err) == (True, False)


def test_a_live_plan_reads_everybody(mirrored: CliHarness) -> None:
    said, asked = read(mirrored, US, "plan", "--live")
    assert (said.code, PASSED in said.out) == (0, False)
    assert {"customers", "customersCount"}.isdisjoint(asked)
    assert mirrored("plan", "--user", "user_ada").out.count(PASSED) == 0


@pytest.mark.slow
def test_with_many_people_and_no_mirror_it_says_what_would_spare_the_shop(mirrored: CliHarness) -> None:
    hint = f"hint: after reconciler backfill shopify --store {EU} plans"
    assert "hint:" not in mirrored("plan").err
    mirrored.sql(  # neither shop wants them
        "insert into customers (clerk_user_id, locale) with recursive n(i) as"
        " (select 1 union all select i + 1 from n where i < ?) select 'user_' || i, 'fr-FR' from n",
        BULK_FROM,
    )
    said = mirrored("plan").err
    assert (hint in said, said.count("hint:")) == (True, 1)
    assert "hint:" not in mirrored("plan", "--live", "--store", EU).err


def test_one_who_was_deleted_makes_it_read_everybody_and_say_why(mirrored: CliHarness) -> None:
    mirrored.shop().shop.staff_delete(customer(mirrored, "bob@example.com"))
    said = mirrored("plan", "--output", "json")
    assert acts(said) == {"user_bob": "create"}
    assert f"{US}: every customer is read from the shop: the shop has 1 customers, its mirror 2" in said.err


def test_a_deleted_customer_is_not_hidden_by_a_guest_who_is_missing_in_the_index(mirrored: CliHarness) -> None:
    mirrored.shop().shop.search_lag_s = 1800.0
    mirrored.shop().shop.staff_delete(customer(mirrored, "bob@example.com"))
    mirrored.shop().shop.staff_guest_checkout("guest@example.com")
    said = mirrored("plan", "--output", "json")
    assert acts(said) == {"user_bob": "create"}
    assert f"{US}: every customer is read from the shop: the shop has 2 customers, its mirror 3" in said.err


def test_what_apply_plans_by_the_mirror_it_executes_and_a_second_run_does_nothing(mirrored: CliHarness) -> None:
    mirrored.shop().shop.staff_edit(customer(mirrored, "ada@example.com"), first_name="Eda")
    mirrored.sql("update customers set first_name = 'Dorothea' where clerk_user_id = 'user_dora'")
    said = mirrored("apply", "--yes")
    assert (said.code, f"{US}: 1 user {PASSED}" in said.out) == (0, True)
    assert mirrored.customers()["ada@example.com"]["firstName"] == "Ada"
    assert mirrored.customers(EU)["dora@example.com"]["firstName"] == "Dorothea"
    before = mirrored.mutations
    for words in ((), ("--live",)):
        assert mirrored("apply", "--yes", *words).code == 0
    assert mirrored.mutations == before


def test_a_saved_plan_that_was_made_by_it_is_applied_as_any_other(mirrored: CliHarness) -> None:
    mirrored.shop().shop.staff_edit(customer(mirrored, "ada@example.com"), first_name="Eda")
    path = str(mirrored.folder / "plan.json")
    assert mirrored("plan", "--out", path).code == 0
    assert mirrored("apply", path, "--live", "--yes").code == 64
    assert mirrored("apply", path, "--yes").code == 0
    assert mirrored.customers()["ada@example.com"]["firstName"] == "Ada"


def test_a_plan_writes_no_mapping_and_nothing_to_a_shop(mirrored: CliHarness) -> None:
    rows, mutations = mirrored("mappings", "list", "--output", "json").json, mirrored.mutations
    mirrored.shop().shop.staff_edit(customer(mirrored, "ada@example.com"), first_name="Eda")
    assert mirrored("plan").code == 0
    assert (mirrored("mappings", "list", "--output", "json").json, mirrored.mutations) == (rows, mutations)


def test_a_plan_remembers_who_was_equal_and_a_live_one_writes_nothing(ready: CliHarness) -> None:
    ready("apply", "--yes")
    ready("backfill", "shopify")
    for words in (("plan", "--live"), ("plan", "--live"), ("plan", "--user", "user_ada"), ("plan",)):
        assert PASSED not in ready(*words).out
    assert f"{US}: 2 users {PASSED}" in ready("plan").out


def test_a_list_that_fails_is_no_failure_of_the_plan(mirrored: CliHarness) -> None:
    mirrored.shop().shop.staff_edit(customer(mirrored, "ada@example.com"), first_name="Eda")
    mirrored.shop().faults.add("null_payload", on="customers", times=None)
    said = mirrored("plan", "--output", "json")
    assert (said.code, acts(said)) == (0, {"user_ada": "update"})
    assert f"{US}: every customer is read from the shop: its mirror can't be brought up to date" in said.err
