"""Merging customers: who wins, what moves, what forbids it, and that it takes time."""

from typing import Any

import pytest

from tests.simulator.harness import METAFIELDS, SimulatorHarness, by_link

MERGE = """mutation($a: ID!, $b: ID!, $o: CustomerMergeOverrideFields) {
  customerMerge(customerOneId: $a, customerTwoId: $b, overrideFields: $o) {
    resultingCustomerId job { id done } userErrors { field message code } } }"""
PREVIEW = """query($a: ID!, $b: ID!, $o: CustomerMergeOverrideFields) {
  customerMergePreview(customerOneId: $a, customerTwoId: $b, overrideFields: $o) {
    resultingCustomerId customerMergeErrors { errorFields message } blockingFields { tags note }
    defaultFields { email { emailAddress } firstName tags note displayName }
    alternateFields { email { emailAddress } firstName } } }"""
STATUS = """query($j: ID!) {
  customerMergeJobStatus(jobId: $j) { status resultingCustomerId customerMergeErrors { message } } }"""


def merge(sim: SimulatorHarness, one: str, two: str, **overrides: Any) -> str:
    """Merge to the end; the id of who is left."""
    done = sim(MERGE, a=one, b=two, o=overrides or None)
    assert done["userErrors"] == []
    preview = done["resultingCustomerId"]
    assert [sim(STATUS, j=done["job"]["id"])["status"] for _ in range(2)] == ["IN_PROGRESS", "COMPLETED"]
    return str(preview)


def test_a_merge_takes_time_and_then_the_loser_is_gone(sim: SimulatorHarness) -> None:
    one = sim.set(email="one@example.com", firstName="Ada", tags=["a"], note="first")["id"]
    two = sim.set(email="two@example.com", lastName="Lovelace", tags=["b"], note="second")["id"]
    done = sim(MERGE, a=one, b=two)
    assert (done["resultingCustomerId"], done["job"]["done"]) == (two, False)
    assert sim.find(id=one)["email"] == "one@example.com"
    show = "query($id: ID!) { customer(id: $id) { mergeable { isMergeable mergeInProgress { status } } } }"
    assert sim(show, id=one)["mergeable"]["mergeInProgress"] == {"status": "REQUESTED"}
    sim.clock.now += sim.shop.habits.merge_s
    assert sim.find(id=one) is None
    assert sim.find(emailAddress="one@example.com") is None
    left = sim.find(id=two)
    assert (left["firstName"], left["lastName"], left["tags"]) == ("Ada", "Lovelace", ["a", "b"])
    assert left["note"] == "second\nfirst"
    assert sim(STATUS, j=done["job"]["id"])["status"] == "COMPLETED"
    assert sim("query($j: ID!) { job(id: $j) { done } }", j=done["job"]["id"]) == {"done": True}
    assert sim(STATUS, j="gid://shopify/Job/404") is None


def test_the_winner_is_not_the_first_argument(sim: SimulatorHarness) -> None:
    def pair(one: dict[str, Any], two: dict[str, Any]) -> tuple[str, str]:
        number = len(sim.shop.people)
        made = []
        for index, fields in enumerate((one, two)):
            mail = fields.pop("mail", True)
            state, consent = fields.pop("state", None), fields.pop("consent", None)
            who = sim.shop.staff_create(first_name="A", email=f"p{number}-{index}@example.com" if mail else None)
            if state:
                sim.shop.staff_state(who.id, state)
            if consent:
                given = {"marketingState": consent, "marketingOptInLevel": "CONFIRMED_OPT_IN"}
                sim.shop.customer_email_marketing_consent_update(
                    input={"customerId": who.id, "emailMarketingConsent": given}
                )
            made.append(who.id)
        return made[0], made[1]

    def winner(one: dict[str, Any], two: dict[str, Any], *, keep: int | None = None) -> int:
        ids = pair(one, two)
        overrides = {} if keep is None else {"customerIdOfEmailToKeep": ids[keep]}
        return ids.index(merge(sim, *ids, **overrides))

    assert winner({}, {}) == 1
    assert winner({}, {}, keep=0) == 0
    assert winner({}, {"mail": False}) == 0
    assert winner({"state": "ENABLED"}, {}) == 0
    assert winner({"state": "INVITED"}, {"state": "ENABLED"}) == 1
    assert winner({"state": "INVITED"}, {}) == 0
    assert winner({"consent": "SUBSCRIBED"}, {"state": "INVITED"}) == 0
    assert winner({"consent": "SUBSCRIBED"}, {}) == 0
    assert winner({"consent": "UNSUBSCRIBED"}, {"consent": "PENDING"}) == 1


def test_metafields_move_only_where_the_winner_has_none(sim: SimulatorHarness) -> None:
    sim.define()
    loser = sim.set(by_link("user_1"), email="one@example.com")["id"]
    winner = sim.set(email="two@example.com")["id"]
    size = {"namespace": "custom", "key": "size", "type": "number_integer"}
    sim(METAFIELDS, m=[{"ownerId": loser, **size, "value": "1"}, {"ownerId": winner, **size, "value": "2"}])
    old = sim.linked("user_1")["link"]["id"]
    merge(sim, loser, winner)
    moved = sim.linked("user_1")
    assert moved["id"] == winner
    assert moved["link"]["id"] != old
    shown = sim(
        'query($id: ID!) { customer(id: $id) { metafield(namespace: "custom", key: "size") { value } } }', id=winner
    )
    assert shown["metafield"]["value"] == "2"


def test_the_losers_back_link_vanishes_where_the_winner_has_one(sim: SimulatorHarness) -> None:
    sim.define()
    loser = sim.set(by_link("user_1"), email="one@example.com")["id"]
    winner = sim.set(by_link("user_2"), email="two@example.com")["id"]
    merge(sim, loser, winner)
    assert sim.linked("user_1") is None
    assert sim.linked("user_2")["id"] == winner


def test_overrides_decide_field_by_field(sim: SimulatorHarness) -> None:
    one = sim.set(email="one@example.com", firstName="Ada", tags=["a"], addresses=[{"city": "Rome"}])["id"]
    two = sim.set(email="two@example.com", firstName="Bob", tags=["b"], addresses=[{"city": "Oslo"}])["id"]
    preview = sim(PREVIEW, a=one, b=two, o=None)
    assert preview["resultingCustomerId"] == two
    assert preview["defaultFields"] == {
        "email": {"emailAddress": "two@example.com"}, "firstName": "Bob", "tags": ["a", "b"], "note": None,
        "displayName": "Bob",
    }  # fmt: skip
    assert preview["alternateFields"] == {"email": {"emailAddress": "one@example.com"}, "firstName": "Ada"}
    merge(sim, one, two, customerIdOfFirstNameToKeep=one, tags=["c"], note="told", customerIdOfDefaultAddressToKeep=one)
    left = sim.find(id=two)
    assert (left["firstName"], left["email"], left["tags"], left["note"]) == ("Ada", "two@example.com", ["c"], "told")
    shown = sim("query($id: ID!) { customer(id: $id) { defaultAddress { city } } }", id=two)
    assert shown == {"defaultAddress": {"city": "Rome"}}


def test_what_forbids_a_merge(sim: SimulatorHarness) -> None:
    one = sim.set(email="one@example.com", tags=[",".join(f"a{n}" for n in range(200))])["id"]
    two = sim.set(email="two@example.com", tags=[",".join(f"b{n}" for n in range(200))])["id"]
    assert sim(MERGE, a=one, b=two)["userErrors"][0]["message"] == "Customers must have 250 tags or less."
    preview = sim(PREVIEW, a=one, b=two, o=None)
    assert (len(preview["blockingFields"]["tags"]), preview["resultingCustomerId"]) == (400, None)
    three = sim.set(firstName="Cleo")["id"]
    sim.shop.staff_block_merge(three, ["GIFT_CARDS"])
    assert sim(MERGE, a=one, b=three)["job"] is None
    assert sim(MERGE, a=one, b=three)["userErrors"] == [
        {"field": ["customerTwoId"], "message": "Cleo has gift cards and can’t be merged.", "code": "INVALID_CUSTOMER"}
    ]
    assert sim(PREVIEW, a=one, b=three, o=None)["customerMergeErrors"][0]["errorFields"] == ["GIFT_CARDS"]
    four = sim.set(firstName="Dora", note="x" * 3000)["id"]
    five = sim.set(firstName="Emil", note="y" * 3000)["id"]
    assert "5,000" in sim(MERGE, a=four, b=five)["userErrors"][0]["message"]
    assert sim(MERGE, a=four, b=four)["userErrors"] == [
        {"field": None, "message": "Customers IDs should not match", "code": "INVALID_CUSTOMER_ID"}
    ]
    unknown = sim(MERGE, a=four, b="gid://shopify/Customer/404")["userErrors"][0]
    assert (unknown["field"], unknown["code"]) == (["customerTwoId"], "INVALID_CUSTOMER_ID")
    stranger = sim(MERGE, a=four, b=five, o={"customerIdOfEmailToKeep": one, "note": ""})["userErrors"][0]
    assert stranger["code"] == "OVERRIDE_ATTRIBUTE_INVALID"


@pytest.mark.parametrize("state", ["erasure", "redacted", "merging"])
def test_who_is_being_erased_or_merged_is_not_mergeable(sim: SimulatorHarness, state: str) -> None:
    one, two, three = (sim.set(firstName=name)["id"] for name in ("Ada", "Bob", "Cleo"))
    if state == "erasure":
        sim.shop.customer_request_data_erasure(customer_id=one)
    elif state == "redacted":
        sim.shop.staff_redact(one)
    else:
        sim(MERGE, a=one, b=three)
    assert sim(MERGE, a=one, b=two)["userErrors"][0]["code"] == "INVALID_CUSTOMER"
    shown = sim("query($id: ID!) { customer(id: $id) { mergeable { isMergeable errorFields } } }", id=one)
    expected = {"erasure": "PENDING_DATA_REQUEST", "redacted": "REDACTED_AT", "merging": "MERGE_IN_PROGRESS"}[state]
    assert shown["mergeable"] == {"isMergeable": False, "errorFields": [expected]}


def test_a_merge_can_fail_on_its_way_and_leaves_both(sim: SimulatorHarness) -> None:
    one, two = (sim.set(firstName=name)["id"] for name in ("Ada", "Bob"))
    sim.shop.failing_merges = 1
    job = sim(MERGE, a=one, b=two)["job"]["id"]
    sim(STATUS, j=job)
    ended = sim(STATUS, j=job)
    assert (ended["status"], len(ended["customerMergeErrors"])) == ("FAILED", 1)
    assert {sim.find(id=each)["firstName"] for each in (one, two)} == {"Ada", "Bob"}
    assert merge(sim, one, two) == two


def test_staff_choose_who_stays(sim: SimulatorHarness) -> None:
    sim.define()
    mine = sim.set(by_link("user_1"), email="one@example.com")["id"]
    guest = sim.shop.staff_guest_checkout("two@example.com").id
    sim.shop.staff_merge(guest, mine)
    assert sim.linked("user_1")["id"] == guest
    with pytest.raises(ValueError, match="IDs should not match"):
        sim.shop.staff_merge(guest, guest)
