"""customerCreate, customerUpdate, customerDelete, tags, addresses and consent: other shapes of errors, other words."""

from typing import Any

import pytest

from tests.simulator.harness import CREATE, DELETE, METAFIELDS, UPDATE, SimulatorHarness

UNKNOWN = "gid://shopify/Customer/404"
ADD = "mutation($id: ID!, $t: [String!]!) { tagsAdd(id: $id, tags: $t) { node { id ... on Customer { tags } } userErrors { field message } } }"  # noqa: E501
REMOVE = ADD.replace("tagsAdd", "tagsRemove")
EMAIL_CONSENT = """mutation($i: CustomerEmailMarketingConsentUpdateInput!) {
  customerEmailMarketingConsentUpdate(input: $i) {
    customer { emailMarketingConsent { marketingState marketingOptInLevel } } userErrors { field message code } } }"""
SMS_CONSENT = """mutation($i: CustomerSmsMarketingConsentUpdateInput!) {
  customerSmsMarketingConsentUpdate(input: $i) {
    customer { smsMarketingConsent { marketingState } } userErrors { field message code } } }"""


def said(done: Any) -> list[tuple[Any, str]]:
    return [(each["field"], each["message"]) for each in done["userErrors"]]


def test_a_new_customer_has_shopifys_defaults(sim: SimulatorHarness) -> None:
    made = sim(CREATE, i={"firstName": "Ada"})["customer"]
    shown = sim(
        """query($id: ID!) { customer(id: $id) {
          legacyResourceId locale state canDelete verifiedEmail numberOfOrders tags note displayName taxExempt
          dataSaleOptOut mergeable { isMergeable errorFields } amountSpent { amount currencyCode } } }""",
        id=made["id"],
    )
    assert shown == {
        "legacyResourceId": made["id"].rpartition("/")[2],
        "locale": "en", "state": "DISABLED", "canDelete": True, "verifiedEmail": True, "numberOfOrders": "0",
        "tags": [], "note": None, "displayName": "Ada", "taxExempt": False, "dataSaleOptOut": False,
        "mergeable": {"isMergeable": True, "errorFields": []},
        "amountSpent": {"amount": "0.0", "currencyCode": "USD"},
    }  # fmt: skip
    assert int(shown["legacyResourceId"]) > 1 << 53


def test_the_display_name_falls_back_to_email_then_phone(sim: SimulatorHarness) -> None:
    show = "query($id: ID!) { customer(id: $id) { displayName } }"
    made = sim.set(email="ada@example.com", phone="+16134505293")
    assert sim(show, id=made["id"]) == {"displayName": "ada@example.com"}
    sim.set({"id": made["id"]}, email=None)
    assert sim(show, id=made["id"]) == {"displayName": "+1 613-450-5293"}


def test_create_names_fields_without_input_and_gives_no_codes(sim: SimulatorHarness) -> None:
    sim.set(email="ada@example.com", phone="+16134505293")
    done = sim(CREATE, i={"email": "ADA@example.com", "phone": "+16134505293"})
    assert done["customer"] is None
    assert said(done) == [(["email"], "Email has already been taken"), (["phone"], "Phone has already been taken")]
    assert "code" not in CREATE


def test_create_takes_no_id(sim: SimulatorHarness) -> None:
    assert said(sim(CREATE, i={"id": UNKNOWN})) == [(["id"], "Cannot specify ID on creation")]


def test_create_takes_consent_and_metafields_inline(sim: SimulatorHarness) -> None:
    sim.define()
    made = sim(
        CREATE,
        i={
            "email": "ada@example.com",
            "emailMarketingConsent": {"marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN"},
            "metafields": [{"namespace": "clerk", "key": "user_id", "type": "id", "value": "user_1"}],
        },
    )["customer"]
    found = sim.linked("user_1")
    assert found["id"] == made["id"]
    assert found["defaultEmailAddress"]["marketingState"] == "SUBSCRIBED"


def test_update_rejects_consent_inline(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    consent = {"marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN"}
    message = "To update {0}, please use the customer{1}Update Mutation instead"
    done = sim(UPDATE, i={"id": made["id"], "emailMarketingConsent": consent, "smsMarketingConsent": consent})
    assert said(done) == [
        (["emailMarketingConsent"], message.format("emailMarketingConsent", "EmailMarketingConsent")),
        (["smsMarketingConsent"], message.format("smsMarketingConsent", "SmsMarketingConsent")),
    ]


def test_update_of_a_metafield_that_is_there_needs_its_id(sim: SimulatorHarness) -> None:
    sim.define()
    made = sim.set({"customId": {"namespace": "clerk", "key": "user_id", "value": "user_1"}}, firstName="Ada")
    given = {"namespace": "clerk", "key": "user_id", "type": "id", "value": "user_2"}
    done = sim(UPDATE, i={"id": made["id"], "metafields": [given]})
    assert said(done) == [
        (["metafields", "0", "key"], "Key must be unique within this namespace on this resource")
    ]  # fmt: skip
    link = sim.linked("user_1")["link"]["id"]
    assert sim(UPDATE, i={"id": made["id"], "metafields": [{"id": link, "value": "user_2"}]})["userErrors"] == []
    assert sim.linked("user_2")["id"] == made["id"]


@pytest.mark.parametrize("identifier", [UNKNOWN, None])
def test_update_of_an_unknown_customer(sim: SimulatorHarness, identifier: str | None) -> None:
    done = sim(UPDATE, i={"id": identifier, "firstName": "Ada"})
    assert (done["customer"], said(done)) == (None, [(["id"], "Customer does not exist")])


def test_update_can_not_clear_the_last_identity(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    done = sim(UPDATE, i={"id": made["id"], "email": None})
    assert said(done) == [(None, "A name, phone number, or email address must be present")]
    sim.shop.habits.identity_message = "Customer must have a name, phone number or email address"
    done = sim(UPDATE, i={"id": made["id"], "email": None})
    assert said(done) == [(None, "Customer must have a name, phone number or email address")]


def test_delete_takes_who_is_there_only(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    assert sim(DELETE, id=made["id"]) == {"deletedCustomerId": made["id"], "userErrors": []}
    assert said(sim(DELETE, id=made["id"])) == [(["id"], "Customer can't be found")]
    assert sim.find(emailAddress="ada@example.com") is None
    assert sim.set(email="ada@example.com")["id"] != made["id"]


def test_who_has_bought_can_never_be_deleted(sim: SimulatorHarness) -> None:
    guest = sim.shop.staff_guest_checkout("guest@example.com")
    found = sim.find(emailAddress="guest@example.com")
    assert (found["id"], found["numberOfOrders"], found["canDelete"]) == (guest.id, "1", False)
    message = "Customer can’t be deleted because they have associated orders"
    assert said(sim(DELETE, id=guest.id)) == [(["id"], message)]
    sim.shop.staff_delete_order(guest.id)
    assert sim.find(id=guest.id)["numberOfOrders"] == "0"
    assert sim.find(id=guest.id)["canDelete"] is False
    assert said(sim(DELETE, id=guest.id)) == [(["id"], message)]
    with pytest.raises(ValueError, match="has no order"):
        sim.shop.staff_delete_order(guest.id)


def test_tags_are_added_and_removed_one_by_one_ignoring_case(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada", tags=["theirs"])
    assert sim(ADD, id=made["id"], t=["Ours", "THEIRS", "two, three"])["node"]["tags"] == [
        "Ours", "theirs", "three", "two"
    ]  # fmt: skip
    assert sim(REMOVE, id=made["id"], t=["ours", "TWO", "unknown"])["node"]["tags"] == ["theirs", "three"]


def test_tags_of_an_unknown_customer(sim: SimulatorHarness) -> None:
    for document in (ADD, REMOVE):
        done = sim(document, id=UNKNOWN, t=["x"])
        assert (done["node"], said(done)) == (None, [(["id"], "Customer does not exist")])
        assert sim.error(document, id="gid://shopify/Segment/1", t=["x"]) == ("RESOURCE_NOT_FOUND", "invalid id")


def test_too_many_tags_are_not_added(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada", tags=[",".join(f"t{n}" for n in range(250))])
    assert said(sim(ADD, id=made["id"], t=["one more"])) == [(["tags"], "Tags cannot be more than 250")]


def test_email_consent_is_written_by_its_own_mutation(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")

    def write(**consent: Any) -> Any:
        return sim(EMAIL_CONSENT, i={"customerId": made["id"], "emailMarketingConsent": consent})

    done = write(marketingState="SUBSCRIBED", marketingOptInLevel="SINGLE_OPT_IN")
    assert done["customer"]["emailMarketingConsent"] == {
        "marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN"
    }  # fmt: skip
    missing = write(marketingState="SUBSCRIBED")["userErrors"][0]
    assert (missing["code"], missing["message"]) == ("MISSING_ARGUMENT", "Marketing opt in level must exist")
    pending = write(marketingState="PENDING", marketingOptInLevel="SINGLE_OPT_IN")["userErrors"][0]
    assert pending["field"] == ["input", "emailMarketingConsent", "marketingOptInLevel"]
    future = write(
        marketingState="SUBSCRIBED", marketingOptInLevel="SINGLE_OPT_IN", consentUpdatedAt="2099-01-01T00:00:00Z"
    )
    assert future["userErrors"][0]["field"][-1] == "consentUpdatedAt"
    given = {"customerId": made["id"], "emailMarketingConsent": {"marketingState": "NOT_SUBSCRIBED"}}
    expected = ("INVALID", "Cannot specify NOT_SUBSCRIBED as a marketing state input")
    assert sim.error(EMAIL_CONSENT, i=given) == expected


def test_the_consent_with_the_latest_time_counts(sim: SimulatorHarness) -> None:
    made = sim.set(email="ada@example.com")
    sim.shop.staff_consent(made["id"], "email", "UNSUBSCRIBED", at="2026-03-01T10:00:00Z")
    for at, state in (("2026-03-01T09:59:59Z", "UNSUBSCRIBED"), ("2026-03-01T10:00:00Z", "SUBSCRIBED")):
        consent = {"marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN", "consentUpdatedAt": at}
        done = sim(EMAIL_CONSENT, i={"customerId": made["id"], "emailMarketingConsent": consent})
        assert (done["customer"]["emailMarketingConsent"]["marketingState"], done["userErrors"]) == (state, [])


@pytest.mark.parametrize("state", ["SUBSCRIBED", "UNSUBSCRIBED", "PENDING", "NOT_SUBSCRIBED", "INVALID"])
def test_the_customer_and_shopify_itself_set_any_consent(sim: SimulatorHarness, state: str) -> None:
    made = sim.set(email="ada@example.com")
    read = "query($id: ID!) { customer(id: $id) { defaultEmailAddress { marketingState marketingUpdatedAt } } }"
    sim.shop.staff_consent(made["id"], "email", state, at="2026-03-01T10:00:00Z")
    shown = {"marketingState": state, "marketingUpdatedAt": "2026-03-01T10:00:00Z"}
    assert sim(read, id=made["id"]) == {"defaultEmailAddress": shown}
    sim.shop.staff_consent(made["id"], "email", state, at="")
    assert sim(read, id=made["id"]) == {"defaultEmailAddress": {**shown, "marketingUpdatedAt": None}}
    with pytest.raises(ValueError, match="no consent sms"):
        sim.shop.staff_consent(made["id"], "sms", state)


def test_consent_without_an_address_is_nothing_or_an_error(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada")
    consent = {"marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN"}
    done = sim(EMAIL_CONSENT, i={"customerId": made["id"], "emailMarketingConsent": consent})
    assert done == {"customer": {"emailMarketingConsent": None}, "userErrors": []}
    sms = sim(SMS_CONSENT, i={"customerId": made["id"], "smsMarketingConsent": consent})
    assert said(sms)[0][1] == "A phone number is required to set the SMS consent state."
    sim.set({"id": made["id"]}, phone="+16134505293")
    sms = sim(SMS_CONSENT, i={"customerId": made["id"], "smsMarketingConsent": consent})
    assert sms["customer"]["smsMarketingConsent"] == {"marketingState": "SUBSCRIBED"}
    unknown = sim(EMAIL_CONSENT, i={"customerId": UNKNOWN, "emailMarketingConsent": consent})
    assert said(unknown) == [(["input", "customerId"], "Customer not found")]


def test_erasure_is_asked_for_and_changes_nothing_immediately(sim: SimulatorHarness) -> None:
    ask = "mutation($id: ID!) { customerRequestDataErasure(customerId: $id) { customerId userErrors { field message code } } }"  # noqa: E501
    cancel = ask.replace("customerRequestDataErasure", "customerCancelDataErasure")
    made = sim.set(email="ada@example.com", firstName="Ada")
    before = sim.find(id=made["id"])
    assert sim(ask, id=made["id"]) == {"customerId": made["id"], "userErrors": []}
    assert sim.find(id=made["id"]) == before
    assert sim(cancel, id=made["id"])["userErrors"] == []
    assert sim(cancel, id=made["id"])["userErrors"][0]["code"] == "NOT_BEING_ERASED"
    assert sim(ask, id=UNKNOWN)["userErrors"][0]["code"] == "DOES_NOT_EXIST"
    assert sim(cancel, id=UNKNOWN)["userErrors"][0]["code"] == "DOES_NOT_EXIST"


@pytest.mark.parametrize("wiped", [True, False])
def test_a_redacted_customer_stays_with_nothing_personal(sim: SimulatorHarness, wiped: bool) -> None:  # noqa: FBT001 - a parameter
    sim.shop.habits.erasure_wipes_metafields = wiped
    sim.define()
    made = sim.set(
        {"customId": {"namespace": "clerk", "key": "user_id", "value": "user_1"}}, email="a@b.co", tags=["x"]
    )
    sim.shop.staff_redact(made["id"])
    left = sim.find(id=made["id"])
    assert (left["email"], left["tags"], left["firstName"]) == (None, [], None)
    assert (sim.linked("user_1") is None) is wiped
    assert sim.find(emailAddress="a@b.co") is None


def test_a_data_sale_opt_out_makes_a_customer(sim: SimulatorHarness) -> None:
    ask = "mutation($e: String!) { dataSaleOptOut(email: $e) { customerId userErrors { field message code } } }"
    made = sim(ask, e="ada@example.com")
    assert sim.find(emailAddress="ada@example.com")["id"] == made["customerId"]
    assert sim(ask, e="ADA@example.com")["customerId"] == made["customerId"]
    failed = [{"field": None, "message": "Data sale opt out failed.", "code": "FAILED"}]
    for email in ("ada", "ada@example.c0m", f"{'x' * 129}@example.com"):
        assert sim(ask, e=email) == {"customerId": None, "userErrors": failed}


def test_addresses_have_mutations_of_their_own(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada")["id"]
    add = "mutation($c: ID!, $a: MailingAddressInput!) { customerAddressCreate(customerId: $c, address: $a) { address { id city } userErrors { field message } } }"  # noqa: E501
    rome = sim(add, c=made, a={"city": "Rome", "countryCode": "IT"})["address"]
    oslo = sim(add, c=made, a={"city": "Oslo", "countryCode": "NO"})["address"]
    assert said(sim(add, c=made, a={"city": "Oslo", "countryCode": "NO"}))[0][1] == "Address already exists"
    assert said(sim(add, c=UNKNOWN, a={})) == [(["customerId"], "Customer does not exist")]
    default = "mutation($c: ID!, $a: ID!) { customerUpdateDefaultAddress(customerId: $c, addressId: $a) { customer { defaultAddress { city countryCodeV2 } } userErrors { message } } }"  # noqa: E501
    assert sim(default, c=made, a=oslo["id"])["customer"]["defaultAddress"]["city"] == "Oslo"
    change = "mutation($c: ID!, $a: ID!, $n: MailingAddressInput!) { customerAddressUpdate(customerId: $c, addressId: $a, address: $n) { address { city countryCodeV2 } userErrors { field message } } }"  # noqa: E501
    assert sim(change, c=made, a=rome["id"], n={"city": "Milan"})["address"] == {
        "city": "Milan",
        "countryCodeV2": "IT",
    }
    assert said(sim(change, c=made, a=rome["id"], n={"city": "http://x"})) == [
        (["address", "city"], "City cannot contain URL")
    ]  # fmt: skip
    remove = "mutation($c: ID!, $a: ID!) { customerAddressDelete(customerId: $c, addressId: $a) { deletedAddressId userErrors { field message } } }"  # noqa: E501
    assert sim(remove, c=made, a=oslo["id"])["deletedAddressId"] == oslo["id"]
    assert sim.error(remove, c=made, a=oslo["id"]) == ("RESOURCE_NOT_FOUND", "invalid id")
    other = sim.set(firstName="Bob")["id"]
    assert said(sim(remove, c=other, a=rome["id"])) == [(["addressId"], "Address does not exist")]
    show = "query($id: ID!) { customer(id: $id) { defaultAddress { city } } }"
    assert sim(show, id=made) == {"defaultAddress": {"city": "Milan"}}


def test_what_staff_may_not_do_is_said(sim: SimulatorHarness) -> None:
    sim.shop.staff_create(email="ada@example.com")
    with pytest.raises(ValueError, match="Email has already been taken"):
        sim.shop.staff_create(email="ada@example.com")
    with pytest.raises(ValueError, match="there is no customer gid://shopify/Customer/404"):
        sim.shop.staff_edit(UNKNOWN, first_name="Ada")
    with pytest.raises(ValueError, match="Customer can't be found"):
        sim.shop.staff_delete(UNKNOWN)
    with pytest.raises(ValueError, match="a customer has no field nickName"):
        sim.shop.staff_create(email="bob@example.com", nick_name="Bob")


def test_staff_edit_as_people_do(sim: SimulatorHarness) -> None:
    made = sim.shop.staff_create(email="ada@example.com", first_name="Ada", tags=["x"])
    sim.shop.staff_edit(made.id, last_name="Lovelace", first_name=None)
    sim.shop.staff_tag(made.id, "vip, gold")
    sim.shop.staff_untag(made.id, ["x"])
    sim.shop.staff_set_metafield(made.id, "custom", "size", "12", "number_integer")
    found = sim.find(id=made.id)
    assert (found["firstName"], found["lastName"], found["tags"]) == (None, "Lovelace", ["gold", "vip"])
    assert made["metafieldValues"] == {"custom.size": "12"}
    sim.shop.staff_delete_metafield(made.id, "custom", "size")
    assert made["metafieldValues"] == {}
    assert sim(METAFIELDS, m=[])["metafields"] == []
