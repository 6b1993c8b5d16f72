"""Doctor: what is right, what is not, what to do; nothing is changed, and nothing keeps it from going on."""

import base64
from datetime import UTC, date, datetime, timedelta

import pytest

from reconciler.cli.checks.conclusions import clock_check, end_of_support, secret_check, version_check
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.ports import ShopFacts
from reconciler.settings import StoreSettings
from tests.clerk.backend import KEY, Backend, serving
from tests.clerk.sender import user
from tests.cli.harness import EU, US, CliHarness, Said

STORE = StoreSettings(name=StoreName("acme-us"), shop=ShopDomain("acme-us.myshopify.com"))
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
VERSIONS = ("2026-01", "2026-04", "2026-07", "2026-10")
GOOD_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def found(said: Said, area: str, what: str) -> dict[str, str]:
    """The one check of this name."""
    (check,) = [c for c in said.json["checks"] if (c["area"], c["what"]) == (area, what)]
    return {"level": check["level"], "message": check["message"], "hint": check["hint"]}


def facts(version: str, supported: tuple[str, ...] = VERSIONS) -> ShopFacts:
    return ShopFacts(
        name="Acme",
        domain=ShopDomain("acme-us.myshopify.com"),
        scopes=frozenset(),
        api_version=version,
        supported_versions=supported,
        restore_rate=100,
        server_time=NOW,
    )


def test_where_all_is_well_it_says_so_and_ends_with_zero(ready: CliHarness) -> None:
    before = ready.mutations
    said = ready("doctor")
    assert said.code == 0, said.out
    assert "✗" not in said.out
    assert "✓ 2 stores          each: 6 checks passed: token, scopes" in said.out
    assert "– clerk             not set up" in said.out
    assert "  – webhooks        not used: server.public_url is not set, so" in said.out
    assert ready.mutations == before


def test_a_shop_without_its_definition_is_asked_to_bootstrap(cli: CliHarness) -> None:
    said = cli("doctor", "--output", "json")
    assert said.code == 1
    assert said.json["ok"] is False
    check = found(said, US, "back-link")
    assert check["level"] == "failed"
    assert check["hint"] == "reconciler bootstrap --store acme-us"
    assert cli.mutations == 0
    out = cli("doctor").out
    assert out.startswith("2 stores  acme-us, acme-eu\n  ✗ back-link"), "both lack the same"
    assert out.count("hint: reconciler bootstrap --store STORE") == 1
    assert cli("doctor", "--all").out.count("hint: reconciler bootstrap --store acme-us") == 1


def test_a_metafield_that_the_shop_defines_with_another_type_is_named(ready: CliHarness) -> None:
    ready.stores[US]["metafields"] = {"clerk.avatar_url": {"from": "locale", "type": "url"}}
    assert found(ready("doctor", "--output", "json"), US, "metafields")["level"] == "ok"
    definition = {"ownerType": "CUSTOMER", "namespace": "clerk", "key": "avatar_url", "type": "json", "name": "Picture"}
    assert not ready.shop().shop.metafield_definition_create(definition)["userErrors"]
    said = ready("doctor", "--output", "json")
    check = found(said, US, "metafields")
    assert (said.code, check["level"]) == (1, "failed")
    assert check["message"].startswith("clerk.avatar_url is of type json in Shopify, but stores.yaml writes url")
    assert "set type: json for clerk.avatar_url in stores.yaml" in check["hint"]


def test_one_broken_shop_does_not_keep_the_others_from_being_checked(ready: CliHarness) -> None:
    ready.stores[US]["auth"] = {"access_token": "wrong"}
    said = ready("doctor", "--output", "json")
    assert said.code == 1
    assert found(said, US, "shop")["level"] == "failed"
    assert found(said, EU, "token")["level"] == "ok"


def test_profiles_that_can_not_be_read_do_not_keep_the_shops_from_being_checked(ready: CliHarness) -> None:
    ready.settings["profiles"]["table"] = "nowhere"
    said = ready("doctor", "--output", "json")
    assert said.code == 1
    assert found(said, "profiles", "table")["level"] == "failed"
    assert found(said, US, "token")["level"] == "ok"


def test_a_state_that_can_not_be_used_does_not_keep_the_shops_from_being_checked(ready: CliHarness) -> None:
    (ready.folder / "broken.db").write_text("this is no database, but a note about one")
    ready.settings["state"] = {"url": f"sqlite:///{ready.folder / 'broken.db'}"}
    said = ready("doctor", "--output", "json")
    assert said.code == 1
    assert found(said, "state", "database")["level"] == "failed"
    assert found(said, "profiles", "rows")["level"] == "ok"
    assert found(said, US, "token")["level"] == "ok"


def test_an_empty_table_is_a_warning(ready: CliHarness) -> None:
    ready.sql("delete from customers")
    said = ready("doctor", "--output", "json")
    assert said.code == 0
    assert found(said, "profiles", "rows")["level"] == "warning"


@pytest.mark.parametrize(
    ("policy", "missing"),
    [
        ({}, {"read_customers", "write_customers"}),
        ({"on_email_conflict": "merge"}, {"read_customer_merge", "write_customer_merge"}),
        ({"on_leave": "erase"}, {"write_customer_data_erasure"}),
    ],
)
def test_scopes_are_asked_for_by_what_the_policy_needs(
    cli: CliHarness, policy: dict[str, str], missing: set[str]
) -> None:
    cli.stores[US] |= policy
    assert found(cli("doctor", "--output", "json"), US, "scopes")["level"] == "ok"
    cli.shop().shop.scopes -= missing
    said = cli("doctor", "--output", "json")
    if "read_customers" in missing:  # nothing else can be read then either
        assert said.code == 1
        return
    check = found(said, US, "scopes")
    assert check["level"] == "failed"
    assert all(scope in check["message"] for scope in missing)


def test_webhooks_that_were_dropped_are_missed(ready: CliHarness) -> None:
    ready.settings["server"] = {"public_url": "https://parity.example.com"}
    ready.stores[US]["webhook_secret"] = "s3cret-of-the-app"
    check = found(ready("doctor", "--output", "json"), US, "webhooks")
    assert check["level"] == "failed"
    assert "CUSTOMERS_UPDATE" in check["message"]
    assert ready("bootstrap", "--yes").code == 0
    said = ready("doctor", "--output", "json", "--store", US)
    assert found(said, US, "webhooks")["level"] == "ok"
    assert "s3cret-of-the-app" not in said.out


def test_webhooks_that_could_not_be_checked_are_a_failure(ready: CliHarness) -> None:
    ready.settings["server"] = {"public_url": "https://parity.example.com"}
    ready("bootstrap", "--yes")
    check = found(ready("doctor", "--output", "json"), US, "webhook secret")
    assert check["level"] == "failed"


def test_a_version_that_fell_forward_is_a_failure(ready: CliHarness) -> None:
    ready.stores[US]["api_version"] = "2025-04"
    check = found(ready("doctor", "--output", "json"), US, "API version")
    assert check["level"] == "failed"
    assert "api_version is 2025-04, but 2026-01 answered" in check["message"]


def test_a_version_is_supported_for_a_year() -> None:
    assert end_of_support("2026-10") == date(2027, 10, 1)
    store = STORE.model_copy(update={"api_version": "2026-01"})
    assert version_check(facts("2026-01"), store, date(2026, 9, 1)).level == "ok"
    late = version_check(facts("2026-01"), store, date(2026, 11, 23))
    assert late.level == "warning"
    assert "39 days left" in late.message
    assert "2026-10" in late.hint
    gone = version_check(facts("2026-01", VERSIONS[1:]), store, date(2027, 2, 1))
    assert gone.level == "failed"


def test_clocks_a_minute_apart_are_a_warning() -> None:
    assert clock_check(NOW - timedelta(seconds=59), STORE, NOW).level == "ok"
    for apart in (-61, 61):
        check = clock_check(NOW + timedelta(seconds=apart), STORE, NOW)
        assert check.level == "warning"
        assert "61 s from" in check.message
    assert clock_check(None, STORE, NOW).level == "warning"


def test_what_we_wait_for_an_answer_or_after_it_is_no_difference_of_clocks() -> None:
    asked_at, answered_at = NOW - timedelta(seconds=500), NOW - timedelta(seconds=300)
    check = clock_check(NOW - timedelta(seconds=400), STORE, asked_at, answered_at)
    assert (check.level, check.message) == ("ok", "0 s from the shop's clock")
    for server_time in (asked_at - timedelta(seconds=61), answered_at + timedelta(seconds=61)):
        assert "61 s from" in clock_check(server_time, STORE, asked_at, answered_at).message


@pytest.mark.parametrize(
    ("secret", "level"),
    [
        (GOOD_SECRET, "ok"),
        (GOOD_SECRET + "\n", "ok"),
        (GOOD_SECRET.removeprefix("whsec_"), "warning"),
        ("whsec_my-secret", "failed"),
        ("whsec_abcd", "failed"),
        ("whsec_!!!!", "failed"),
        ("whsec_", "failed"),
    ],
)
def test_a_signing_secret_that_would_be_a_wrong_key_is_found_out(secret: str, level: str) -> None:
    check = secret_check(secret, "webhook_secrets[0]")
    assert check.level == level
    assert (check.hint == "") == (level == "ok")


def test_no_secret_is_ever_shown(ready: CliHarness) -> None:
    ready.settings["clerk"] = {"webhook_secrets": ["whsec_my-secret"], "secret_key": "pk_live_wrong"}
    for output in ("text", "json"):
        said = ready("doctor", "--output", output)
        assert said.code == 1
        for secret in ("my-secret", "pk_live_wrong", "token-acme-us"):
            assert secret not in said.out + said.err


@pytest.mark.parametrize(("known", "level"), [(0, "failed"), (1, "failed"), (3, "ok"), (5, "ok")])
def test_a_secret_key_of_another_clerk_instance_is_found_out(ready: CliHarness, known: int, level: str) -> None:
    ready.sql("delete from customers")
    for n in range(5):
        ready.add({"clerk_user_id": f"user_{n}"})
    backend = Backend(users=[user(f"user_{n}") for n in range(known)])
    with serving(backend) as url:
        ready.settings["clerk"] = {"secret_key": KEY, "api_url": url}
        check = found(ready("doctor", "--output", "json"), "clerk", "instance")
    assert check["level"] == level
    assert ("another Clerk instance" in check["message"]) == (level == "failed")


def test_a_clerk_that_can_not_be_asked_is_said_to_be_unknown(ready: CliHarness) -> None:
    with serving(Backend(troubles=[(429, {"retry-after": "60"})])) as url:
        ready.settings["clerk"] = {"secret_key": KEY, "api_url": url}
        assert found(ready("doctor", "--output", "json"), "clerk", "instance")["level"] == "warning"
        ready.settings["clerk"]["secret_key"] = "sk_test_of_no_one"
        check = found(ready("doctor", "--output", "json"), "clerk", "instance")
    assert (check["level"], "refuses the key" in check["message"]) == ("failed", True)


def test_rows_that_events_of_any_instance_write_are_warned_of(ready: CliHarness) -> None:
    secret = "whsec_" + base64.b64encode(bytes(24)).decode()
    ready.settings["clerk"] = {"webhook_secrets": [secret], "upsert_profiles": True}
    assert found(ready("doctor", "--output", "json"), "clerk", "instance_id")["level"] == "warning"
    ready.settings["clerk"]["instance_id"] = "ins_1"
    said = ready("doctor", "--output", "json").json
    assert not [check for check in said["checks"] if check["what"] == "instance_id"]
