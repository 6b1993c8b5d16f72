"""Bootstrap: shown, asked, made, and nothing to do the second time."""

import pytest

from tests.cli.harness import EU, US, CliHarness

PUBLIC = "https://parity.example.com"
TOPICS = {
    "CUSTOMERS_CREATE",
    "CUSTOMERS_UPDATE",
    "CUSTOMERS_DELETE",
    "CUSTOMERS_MERGE",
    "CUSTOMER_TAGS_ADDED",
    "CUSTOMER_TAGS_REMOVED",
    "APP_UNINSTALLED",
}


def test_what_a_shop_lacks_is_shown_and_made_and_a_second_run_finds_nothing(cli: CliHarness) -> None:
    first = cli("bootstrap", "--yes")
    assert first.code == 0
    assert first.out.count("+ metafield definition clerk.user_id of type id, unique, on customers") == 1
    assert first.out.startswith("2 stores  acme-us, acme-eu\n"), "both lack the same"
    assert "✓ created 2 things" in first.out
    made = cli.mutations
    second = cli("bootstrap", "--yes")
    assert second.code == 0
    assert second.out == "2 stores  acme-us, acme-eu\n  ✓ nothing to create\n"
    assert cli.mutations == made


def test_without_a_terminal_and_a_yes_nothing_is_made(cli: CliHarness) -> None:
    said = cli("bootstrap")
    assert said.code == 1
    assert "error: 2 things to create, and there is no terminal to ask on" in said.err
    assert "hint: add --yes" in said.err
    assert cli.mutations == 0


def test_webhooks_are_subscribed_where_shopify_can_reach_us(cli: CliHarness) -> None:
    cli.settings["server"] = {"public_url": f"{PUBLIC}/"}
    said = cli("bootstrap", "--yes", "--output", "json")
    assert said.code == 0
    us = said.json["stores"][0]
    assert f"webhook CUSTOMERS_UPDATE to {PUBLIC}/webhooks/shopify/{US}" in us["lacked"]
    assert {line.removeprefix("webhook ") for line in us["made"][1:]} == TOPICS
    again = cli("bootstrap", "--output", "json")
    assert again.code == 0
    assert [s["lacked"] for s in again.json["stores"]] == [[], []]


def test_the_webhooks_of_consents_are_subscribed_where_a_store_has_them(cli: CliHarness) -> None:
    cli.settings["server"] = {"public_url": PUBLIC}
    rule = {"from": "metadata.news", "at": "metadata.news_at"}
    cli.settings["profiles"]["columns"]["metadata"] = "metadata"
    cli.stores[US]["consent"] = {"email": rule, "sms": rule}
    us, eu = cli("bootstrap", "--output", "json", "--yes").json["stores"]
    made = {line.removeprefix("webhook ") for line in us["made"][1:]}
    assert made - TOPICS == {"CUSTOMERS_EMAIL_MARKETING_CONSENT_UPDATE", "CUSTOMERS_MARKETING_CONSENT_UPDATE"}
    assert {line.removeprefix("webhook ") for line in eu["made"][1:]} == TOPICS


def test_a_topic_that_the_token_may_not_have_is_left_out_and_said(cli: CliHarness) -> None:
    cli.settings["server"] = {"public_url": PUBLIC}
    cli.shop().shop.scopes = {"read_customers", "write_customers"}
    said = cli("bootstrap", "--yes", "--store", US)
    assert said.code == 0
    assert "no webhook CUSTOMERS_MERGE: the token lacks the scope read_customer_merge" in said.out
    assert "✓ created 7 things" in said.out


@pytest.mark.parametrize("public_url", ["http://parity.example.com"])
def test_an_address_without_tls_gets_no_webhooks(cli: CliHarness, public_url: str) -> None:
    cli.settings["server"] = {"public_url": public_url}
    said = cli("bootstrap", "--yes")
    if said.code == 0:
        assert "Shopify sends to https only" in said.out
        assert "webhook CUSTOMERS" not in said.out
    else:  # the settings may refuse it before
        assert "public_url" in said.err


def test_one_broken_shop_is_reported_in_its_place_and_the_others_are_made(cli: CliHarness) -> None:
    cli.stores[EU]["auth"] = {"access_token": "wrong"}
    said = cli("bootstrap", "--yes", "--output", "json")
    assert said.code == 1
    us, eu = said.json["stores"]
    assert us["error"] is None
    assert us["made"] == ["metafield definition clerk.user_id"]
    assert eu["error"]
    assert eu["hint"]
    assert eu["made"] == []


def test_a_definition_of_another_type_is_left_alone(cli: CliHarness) -> None:
    definition = {
        "name": "Old",
        "namespace": "clerk",
        "key": "user_id",
        "ownerType": "CUSTOMER",
        "type": "single_line_text_field",
    }
    cli.shop().shop.metafield_definition_create(definition=definition)
    before = cli.mutations
    said = cli("bootstrap", "--yes", "--store", US)
    assert said.code == 1
    assert "is of type single_line_text_field" in said.out
    assert cli.mutations == before


def test_another_back_link_is_made_under_its_own_name(cli: CliHarness) -> None:
    cli.stores[US]["backlink"] = {"namespace": "identity", "key": "clerk_id"}
    assert "identity.clerk_id" in cli("bootstrap", "--yes", "--store", US).out
    assert "nothing to create" in cli("bootstrap", "--store", US).out


def test_a_namespace_of_another_app_is_named_as_the_cause(cli: CliHarness) -> None:
    cli.stores[US]["backlink"] = {"namespace": "app--42", "key": "user_id"}
    said = cli("bootstrap", "--yes", "--store", US, "--output", "json")
    (us,) = said.json["stores"]
    assert said.code == 1
    assert "the namespace app--42 belongs to another app" in us["error"]
    assert "another namespace" in us["hint"]
    assert "\n" not in us["error"]
