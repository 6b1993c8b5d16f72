"""`backfill shopify` through the command line."""

from __future__ import annotations

from tests.cli.harness import EU, US, CliHarness


def test_a_shop_is_copied_into_its_mirror_and_a_second_time_nothing_is_new(cli: CliHarness) -> None:
    for words in (("bootstrap", "--yes"), ("apply", "--yes")):
        assert cli(*words).code == 0
    first = cli("backfill", "shopify", "--output", "json")
    assert first.code == 0, first.err
    assert {s["store"]: (s["moved"], s["gone"]) for s in first.json["stores"]} == {
        s["store"]: (s["lines"], 0) for s in first.json["stores"]
    }
    assert {s["store"] for s in first.json["stores"]} == {US, EU}
    again = cli("backfill", "shopify", "--store", US)
    assert (again.code, "0 new or changed, 0 deleted" in again.out) == (0, True)


def test_a_shop_that_refuses_every_login_does_not_delay_the_others(cli: CliHarness) -> None:
    cli.stores[US]["auth"] = {"access_token": "shpat_wrong"}
    found = cli("backfill", "shopify", "--output", "json")
    assert found.code == 1
    told = {s["store"]: s["error"] for s in found.json["stores"]}
    assert told[EU] is None
    assert told[US]
    assert "hint: " in found.err


def test_a_shop_that_fails_is_reported_with_what_to_do_next(cli: CliHarness) -> None:
    cli.shop().status = 503
    found = cli("backfill", "shopify", "--store", US)
    assert found.code == 1
    assert found.err.splitlines()[-2:] == [
        f"error: {US}: {US}.myshopify.com: query customersCount: HTTP 503",
        f"hint: reconciler doctor --store {US}",
    ]
