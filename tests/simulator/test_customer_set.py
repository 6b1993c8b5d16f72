"""customerSet: which customer it means, what it writes, and in which words it refuses."""

from typing import Any

import pytest

from reconciler.simulator.customers.normalisation import Habits
from tests.simulator.harness import SET, SimulatorHarness, by_link


def test_without_identifier_it_always_creates(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    assert sim.refused(email="ada@example.com") == [(["input", "email"], "Email has already been taken", "TAKEN")]
    assert sim.set(firstName="Ada")["id"] != made["id"]


@pytest.mark.parametrize("email", ["ADA@example.com", " ada@example.com ", "ada@exam ple.com"])
def test_an_email_is_unique_ignoring_case_and_white_space(sim: SimulatorHarness, email: str) -> None:
    sim.set(email="ada@example.com")
    assert sim.refused(email=email) == [(["input", "email"], "Email has already been taken", "TAKEN")]


def test_a_phone_is_unique(sim: SimulatorHarness) -> None:
    sim.set(phone="+16134505293")
    said = sim.refused(phone="+1 (613) 450-5293")
    assert said == [(["input", "phone"], "Phone has already been taken", "TAKEN")]


def test_by_id_it_only_updates_and_leaves_out_what_is_left_out(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com", firstName="Ada", note="hello", tags=["x"])
    now = sim.set({"id": made["id"]}, firstName="Adah")
    assert now == made | {"firstName": "Adah"}
    assert sim.set({"id": made["id"]}, firstName=None)["firstName"] is None


def test_by_id_it_never_creates(sim: SimulatorHarness) -> None:
    said = sim.refused({"id": "gid://shopify/Customer/404"}, email="ada@example.com")
    assert said == [(["input"], "Resource matching the identifier was not found.", "NOT_FOUND")]
    assert sim.find(emailAddress="ada@example.com") is None


@pytest.mark.parametrize(("name", "value"), [("email", "ada@example.com"), ("phone", "+16134505293")])
def test_by_email_or_phone_it_is_an_upsert(sim: SimulatorHarness, name: str, value: str) -> None:
    made = sim.set({name: value}, **{name: value, "firstName": "Ada"})
    again = sim.set({name: value}, **{name: value, "lastName": "Lovelace"})
    assert (again["id"], again["firstName"], again["lastName"]) == (made["id"], "Ada", "Lovelace")


def test_the_identifying_email_must_be_in_the_input_too(sim: SimulatorHarness) -> None:
    assert sim.refused({"email": "ada@example.com"}, firstName="Ada") == [
        (["input"], "The input field corresponding to the identifier is required.", "MISSING_FIELD_REQUIRED")
    ]
    assert sim.refused({"email": "ada@example.com"}, email="new@example.com") == [
        (
            ["input"],
            "The identifier value does not match the value of the corresponding field in the input.",
            "INPUT_MISMATCH",
        )
    ]


def test_an_id_in_the_input_is_not_allowed_beside_an_identifier(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    assert sim.refused({"email": "ada@example.com"}, id=made["id"], email="ada@example.com") == [
        (["input"], "The id field is not allowed if identifier is provided.", "ID_NOT_ALLOWED")
    ]
    assert sim.set(id=made["id"], firstName="Ada")["id"] == made["id"]


def test_by_custom_id_it_creates_with_the_metafield_and_finds_again(sim: SimulatorHarness) -> None:
    sim.define()
    made = sim.set(by_link("user_1"), email="ada@example.com")
    found = sim.linked("user_1")
    assert (found["id"], found["link"]["value"], found["link"]["type"]) == (made["id"], "user_1", "id")
    again = sim.set(by_link("user_1"), email="new@example.com")
    assert again["id"] == made["id"]
    assert sim.linked("user_1")["link"]["id"] == found["link"]["id"]
    assert sim.find(emailAddress="ada@example.com") is None


def test_a_custom_id_without_a_definition_is_a_top_level_error(sim: SimulatorHarness) -> None:
    message = "Metafield definition of type 'id' is required when using custom ids."
    reply = sim.reply(SET, n=by_link("user_1"), i={"email": "ada@example.com"})
    assert reply["data"] == {"customerSet": None}
    assert [(each["extensions"]["code"], each["message"]) for each in reply["errors"]] == [("NOT_FOUND", message)]
    sim.define(type="single_line_text_field")
    assert sim.error(SET, n=by_link("user_1"), i={}) == ("NOT_FOUND", message)
    assert sim.find(emailAddress="ada@example.com") is None


def test_an_unknown_custom_id_does_not_take_somebody_elses_email(sim: SimulatorHarness) -> None:
    sim.define()
    sim.set(email="ada@example.com")
    said = sim.refused(by_link("user_1"), email="Ada@example.com")
    assert said == [(["input", "email"], "Email has already been taken", "TAKEN")]
    assert sim.linked("user_1") is None


def test_it_can_be_made_to_adopt_by_email(sim: SimulatorHarness) -> None:
    sim.shop.habits.custom_id_adopts_email = True
    sim.define()
    guest = sim.set(email="ada@example.com")
    assert sim.set(by_link("user_1"), email="ada@example.com", firstName="Ada")["id"] == guest["id"]
    assert sim.linked("user_1")["id"] == guest["id"]


@pytest.mark.parametrize("sensitive", [True, False])
def test_the_case_of_ids_counts_or_not(sensitive: bool) -> None:  # noqa: FBT001 - a parameter
    sim = SimulatorHarness(habits=Habits(id_values_case_sensitive=sensitive))
    sim.define()
    one = sim.set(by_link("user_a"), firstName="Ada")["id"]
    two = sim.set(by_link("USER_A"), firstName="Ada")["id"]
    assert (one != two) is sensitive


def test_the_app_namespace_is_meant_where_none_is_named(sim: SimulatorHarness) -> None:
    sim.define(namespace="$app")
    sim.set({"customId": {"key": "user_id", "value": "user_1"}}, firstName="Ada")
    customer = sim.find(customId={"namespace": "$app", "key": "user_id", "value": "user_1"})
    shown = sim(
        'query($id: ID!) { customer(id: $id) { metafield(key: "user_id") { namespace value } } }', id=customer["id"]
    )
    assert shown["metafield"] == {"namespace": f"app--{sim.shop.app_id}", "value": "user_1"}


def test_metafields_in_the_input_are_no_field_at_all(sim: SimulatorHarness) -> None:
    code, message = sim.error(SET, i={"metafields": []})
    assert code == "INVALID_VARIABLE"
    assert "Field is not defined on CustomerSetInput" in message


def test_two_identifiers_are_one_too_many(sim: SimulatorHarness) -> None:
    for identifier in ({"id": "gid://shopify/Customer/1", "email": "a@b.co"}, {}):
        said = sim.reply(SET, n=identifier, i={})["errors"][0]["extensions"]
        assert said["code"] == "INVALID_VARIABLE"
        assert "requires exactly one argument" in said["problems"][0]["explanation"]


def test_tax_exempt_can_not_be_null(sim: SimulatorHarness) -> None:
    said = sim.refused(firstName="Ada", taxExempt=None)
    assert said == [(["input", "taxExempt"], "Tax exempt is of unexpected type NilClass", "INVALID")]


def test_the_last_identity_can_not_be_cleared(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    message = "A name, phone number, or email address must be present"
    assert sim.refused({"id": made["id"]}, email=None) == [(["input"], message, "INVALID")]
    assert sim.refused(note="no one") == [(["input"], message, "INVALID")]
    assert sim.set({"id": made["id"]}, email=None, lastName="Lovelace")["email"] is None


def test_all_or_nothing_and_all_errors_together(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com", firstName="Ada")
    said = sim.refused({"id": made["id"]}, firstName="Adah", phone="12", locale="never heard of", note="x" * 5001)
    assert said == [
        (["input", "phone"], "Phone is invalid", "INVALID"),
        (["input", "note"], "Note is too long (maximum is 5000 characters)", "TOO_LONG"),
        (["input", "locale"], "Locale is invalid", "INVALID"),
    ]
    assert sim.find(id=made["id"])["firstName"] == "Ada"


LONG = "x" * 256
REFUSALS: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    *[
        ({"email": email}, [("email", "Email is invalid", "INVALID")])
        for email in ("not-an-email", "foo@", "@bar.com", "foo@bar", "foo@@bar.com")
    ],
    (
        {"email": f"{LONG}@example.com"},
        [
            ("email", "Email is too long (maximum is 255 characters)", "TOO_LONG"),
            ("email", "Email is invalid", "INVALID"),
        ],
    ),
    (
        {"phone": "+1" + "2" * 256},
        [
            ("phone", "Phone is too long (maximum is 255 characters)", "TOO_LONG"),
            ("phone", "Phone is invalid", "INVALID"),
        ],
    ),
    ({"phone": "call me"}, [("phone", "Phone is invalid", "INVALID")]),
    ({"firstName": LONG}, [("firstName", "First name is too long (maximum is 255 characters)", "TOO_LONG")]),
    ({"lastName": LONG}, [("lastName", "Last name is too long (maximum is 255 characters)", "TOO_LONG")]),
    ({"firstName": "see https://spam.example"}, [("firstName", "First name cannot contain URL", "INVALID")]),
    ({"tags": [LONG]}, [("tags", "Tags is too long (maximum is 255 characters)", "TOO_LONG")]),
    ({"tags": [",".join(f"t{n}" for n in range(251))]}, [("tags", "Tags cannot be more than 250", "INVALID")]),
]


@pytest.mark.parametrize(("fields", "expected"), REFUSALS)
def test_values_are_refused_in_shopifys_words(
    sim: SimulatorHarness, fields: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    said = sim.refused(**{"lastName": "Somebody", **fields})
    assert said == [(["input", name], message, code) for name, message, code in expected]


def test_a_domain_that_does_not_resolve_can_be_refused(sim: SimulatorHarness) -> None:
    sim.shop.habits.refused_domains = frozenset({"nowhere.example"})
    said = sim.refused(email="ada@nowhere.example")
    assert said == [(["input", "email"], "Email contains an invalid domain name", "INVALID")]


def test_more_than_250_tags_in_one_list_do_not_even_run(sim: SimulatorHarness) -> None:
    code, message = sim.error(SET, i={"firstName": "Ada", "tags": [str(n) for n in range(251)]})
    assert code == "MAX_INPUT_SIZE_EXCEEDED"
    assert message == "The input array size of 251 is greater than the maximum allowed of 250."


def test_values_are_kept_as_shopify_keeps_them(sim: SimulatorHarness) -> None:
    made = sim.set(
        email=" Ada@exam ple.com ", firstName=" Ada ", lastName="  ", phone="(613) 450-5293", note="",
        tags=[" Zulu ", "alpha,  spaced tag", "", "ALPHA", "zulu"],
    )  # fmt: skip
    assert made["email"] == "Ada@example.com"
    assert (made["firstName"], made["lastName"]) == ("Ada", None)
    assert made["phone"] == "+16134505293"
    assert made["note"] == ""
    assert made["tags"] == ["alpha", "spaced tag", "Zulu"]
    assert sim.set({"id": made["id"]}, note=None, phone=" ") == made | {"note": None, "phone": None}


def test_a_phone_without_country_code_is_read_with_the_shops_country() -> None:
    assert SimulatorHarness(country="GB").set(phone="020 7946 0018")["phone"] == "+442079460018"
    assert SimulatorHarness().refused(phone="020 7946 0018")[0][1] == "Phone is invalid"
    address = {"countryCode": "GB", "address1": "10 Downing Street"}
    assert SimulatorHarness().set(phone="020 7946 0018", addresses=[address])["phone"] == "+442079460018"


def test_what_is_not_known_of_shopify_can_be_switched() -> None:
    plain = SimulatorHarness().set(email="Ada@example.com", firstName="Ada", lastName=" L ")
    assert (plain["email"], plain["lastName"]) == ("Ada@example.com", "L")
    other = SimulatorHarness(habits=Habits(fold_email_case=True, trim_names=False, fold_plus_addresses=True))
    assert (other.set(email="Ada@Example.com", lastName=" L ")["email"]) == "ada@example.com"
    assert other.find(emailAddress="ada+news@example.com")["lastName"] == " L "


def test_tags_can_snap_to_the_casing_the_shop_knows(sim: SimulatorHarness) -> None:
    sim.shop.habits.snap_tag_casing = True
    sim.set(firstName="Ada", tags=["vip"])
    assert sim.set(firstName="Bob", tags=["VIP", "New"])["tags"] == ["New", "vip"]


def test_tags_and_addresses_replace_all_that_was_there(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada", tags=["theirs"], addresses=[{"city": "London"}])
    assert sim.set({"id": made["id"]}, tags=["ours"])["tags"] == ["ours"]
    count = "query($id: ID!) { customer(id: $id) { defaultAddress { city } addressesV2(first: 5) { nodes { city } } } }"
    assert sim(count, id=made["id"])["addressesV2"]["nodes"] == [{"city": "London"}]
    sim.set({"id": made["id"]}, addresses=None)
    assert sim(count, id=made["id"])["defaultAddress"] == {"city": "London"}
    sim.set({"id": made["id"]}, addresses=[])
    assert sim(count, id=made["id"]) == {"defaultAddress": None, "addressesV2": {"nodes": []}}


def test_a_write_that_changes_nothing_leaves_updated_at_alone(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com", firstName="Ada")
    sim.clock.now += 60
    assert sim.set({"id": made["id"]}, firstName="Ada", email="ada@example.com")["updatedAt"] == made["updatedAt"]
    assert sim.set({"id": made["id"]}, firstName="Adah")["updatedAt"] > made["updatedAt"]


def test_addresses_are_looked_through(sim: SimulatorHarness) -> None:
    address = {"city": "https://spam.example", "zip": "<b>1</b>", "address1": "Home 🏠", "country": "Atlantis"}
    said = [(path[1:], message) for path, message, _ in sim.refused(firstName="Ada", addresses=[address])]
    assert said == [
        (["addresses", "0", "address1"], "Address1 cannot contain emojis"),
        (["addresses", "0", "city"], "City cannot contain URL"),
        (["addresses", "0", "zip"], "Zip cannot contain HTML tags"),
        (["addresses", "0", "country"], "Country is invalid"),
    ]
    strange = sim.refused(firstName="Ada", addresses=[{"city": "Rome"}, {"countryCode": "CA", "provinceCode": "??"}])
    assert [(path[1:], message) for path, message, _ in strange] == [
        (["addresses", "1", "province"], "Province is invalid")
    ]


def test_the_same_address_twice_is_kept_once(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada", addresses=[{"city": "Rome"}] * 2)
    shown = sim("query($id: ID!) { customer(id: $id) { addressesV2(first: 5) { nodes { city } } } }", id=made["id"])
    assert shown == {"addressesV2": {"nodes": [{"city": "Rome"}]}}


def test_an_unknown_customer_and_an_id_of_another_kind_are_distinguished(sim: SimulatorHarness) -> None:
    assert sim.refused({"id": "gid://shopify/Customer/1"})[0][2] == "NOT_FOUND"
    assert sim.error(SET, n={"id": "gid://shopify/Order/1"}, i={})[0] == "RESOURCE_NOT_FOUND"
