"""Metafields of customers: unique ids, compare-and-set, definitions."""

from typing import Any

import pytest

from tests.simulator.harness import LINK, METAFIELDS, SimulatorHarness, by_link

REMOVE = """mutation($m: [MetafieldIdentifierInput!]!) {
  metafieldsDelete(metafields: $m) { deletedMetafields { ownerId namespace key } userErrors { field message } } }"""
DELETE = """mutation($i: MetafieldDefinitionIdentifierInput, $all: Boolean!) {
  metafieldDefinitionDelete(identifier: $i, deleteAllAssociatedMetafields: $all) {
    deletedDefinitionId userErrors { field message code } } }"""
IDENTIFIER = {**LINK, "ownerType": "CUSTOMER"}


def link(owner: str, value: str, **more: Any) -> dict[str, Any]:
    return {"ownerId": owner, "value": value, **LINK, **more}


def refusal(sim: SimulatorHarness, *metafields: dict[str, Any]) -> list[tuple[Any, str, int | None]]:
    done = sim(METAFIELDS, m=list(metafields))
    assert done["metafields"] == []
    return [(each["field"], each["code"], each["elementIndex"]) for each in done["userErrors"]]


def test_a_back_link_is_put_on_a_customer_who_is_there(sim: SimulatorHarness) -> None:
    sim.define()
    made = sim.set(email="ada@example.com")
    done = sim(METAFIELDS, m=[link(made["id"], "user_1")])["metafields"][0]
    assert (done["value"], done["type"]) == ("user_1", "id")
    assert sim.linked("user_1")["id"] == made["id"]
    again = sim(METAFIELDS, m=[link(made["id"], "user_2")])["metafields"][0]
    assert again["id"] == done["id"]
    assert sim.linked("user_1") is None


@pytest.mark.parametrize("code", ["TAKEN", "CAPABILITY_VIOLATION"])
def test_an_id_belongs_to_one_customer(sim: SimulatorHarness, code: Any) -> None:
    sim.shop.habits.unique_metafield_code = code
    sim.define()
    sim.set(by_link("user_1"), firstName="Ada")
    other = sim.set(firstName="Bob")["id"]
    third = sim.set(firstName="Cleo")["id"]
    assert refusal(sim, link(other, "user_1")) == [(["metafields", "0", "value"], code, None)]
    both = refusal(sim, link(other, "user_2"), link(third, "user_2"))
    assert both == [(["metafields", "1", "value"], code, None)]
    assert sim.linked("user_2") is None


def test_compare_digest_is_compare_and_set(sim: SimulatorHarness) -> None:
    sim.define()
    made = sim.set(firstName="Ada")["id"]
    stale = [(["metafields", "0"], "STALE_OBJECT", None)]
    assert sim(METAFIELDS, m=[link(made, "user_1", compareDigest=None)])["userErrors"] == []
    assert refusal(sim, link(made, "user_2", compareDigest=None)) == stale
    digest = sim.linked("user_1")["link"]["compareDigest"]
    assert sim(METAFIELDS, m=[link(made, "user_2", compareDigest=digest)])["userErrors"] == []
    assert refusal(sim, link(made, "user_3", compareDigest=digest)) == stale
    malformed = refusal(sim, link(made, "user_3", compareDigest="nonsense"))
    assert malformed == [(["metafields", "0", "compareDigest"], "INVALID_COMPARE_DIGEST", None)]


def test_all_are_written_or_none(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada")["id"]
    good = {"ownerId": made, "namespace": "custom", "key": "size", "type": "number_integer", "value": "12"}
    assert refusal(sim, good, good | {"key": "weight", "value": "heavy"}) == [
        (["metafields", "1", "value"], "INVALID_VALUE", None)
    ]
    shown = sim("query($id: ID!) { customer(id: $id) { metafields(first: 5) { nodes { key } } } }", id=made)
    assert shown["metafields"]["nodes"] == []


def test_what_can_not_be_written_is_said(sim: SimulatorHarness) -> None:
    made = sim.set(firstName="Ada")["id"]
    base = {"ownerId": made, "namespace": "custom", "key": "size", "type": "url", "value": "https://a.b"}
    unknown = refusal(sim, base | {"ownerId": "gid://shopify/Customer/404"})
    assert unknown == [(["metafields", "0", "ownerId"], "INVALID_VALUE", None)]
    done = sim(METAFIELDS, m=[base | {"ownerId": "gid://shopify/Customer/404"}])
    assert done["userErrors"][0]["message"] == "Owner does not exist."
    foreign = sim(METAFIELDS, m=[base | {"namespace": "app--99--theirs"}])["userErrors"][0]
    assert foreign["code"] == "APP_NOT_AUTHORIZED"
    assert foreign["message"] == "Access to this namespace and key on Metafields for this resource type is not allowed."
    for given, code in (
        ({"type": None}, "BLANK"),
        ({"type": "nonsense"}, "INCLUSION"),
        ({"value": ""}, "INVALID_VALUE"),
        ({"value": "no url"}, "INVALID_VALUE"),
        ({"key": "x"}, "TOO_SHORT"),
        ({"key": "x" * 65}, "TOO_LONG"),
        ({"namespace": "ab"}, "TOO_SHORT"),
    ):
        assert [each[1] for each in refusal(sim, base | given)] == [code]
    many = sim(METAFIELDS, m=[base | {"key": f"key{n}"} for n in range(26)])
    assert (many["metafields"], many["userErrors"][0]["field"]) == (None, ["metafields"])


def test_a_defined_type_is_kept(sim: SimulatorHarness) -> None:
    sim.define()
    made = sim.set(firstName="Ada")["id"]
    assert refusal(sim, link(made, "user_1", type="url")) == [(["metafields", "0", "type"], "INVALID_TYPE", None)]


def test_deleting_a_missing_metafield_is_no_error(sim: SimulatorHarness) -> None:
    sim.define()
    made = sim.set(by_link("user_1"), firstName="Ada")["id"]
    name = {"ownerId": made, **LINK}
    assert sim(REMOVE, m=[name]) == {"deletedMetafields": [name], "userErrors": []}
    assert sim(REMOVE, m=[name]) == {"deletedMetafields": [None], "userErrors": []}
    assert sim.linked("user_1") is None


@pytest.mark.parametrize("bumps", [True, False])
def test_a_metafield_write_bumps_updated_at_or_not(sim: SimulatorHarness, bumps: bool) -> None:  # noqa: FBT001 - a parameter
    sim.shop.habits.metafields_bump_updated_at = bumps
    made = sim.set(firstName="Ada")
    sim.clock.now += 60
    sim(METAFIELDS, m=[{"ownerId": made["id"], "namespace": "cust", "key": "url", "type": "url", "value": "tel:1"}])
    assert (sim.find(id=made["id"])["updatedAt"] > made["updatedAt"]) is bumps


def test_a_definition_of_type_id_is_unique_by_itself(sim: SimulatorHarness) -> None:
    done = sim.define(pin=True)
    assert done["createdDefinition"]["capabilities"] == {"uniqueValues": {"enabled": True}}
    assert done["createdDefinition"]["pinnedPosition"] == 1
    taken = sim.define()
    assert (taken["createdDefinition"], taken["userErrors"][0]["code"]) == (None, "TAKEN")
    assert taken["userErrors"][0]["field"] == ["definition", "key"]
    disabled = sim.define(key="other", capabilities={"uniqueValues": {"enabled": False}})["userErrors"][0]
    assert disabled["code"] == "CAPABILITY_REQUIRED_BUT_DISABLED"
    assert disabled["message"] == "Capability unique_values is required for type id but is disabled"
    admin = sim.define(key="other", access={"admin": "MERCHANT_READ"})["userErrors"][0]
    assert admin["code"] == "INVALID"
    assert sim.define(namespace="$app", access={"admin": "MERCHANT_READ"})["userErrors"] == []
    assert [each["code"] for each in sim.define(key="k")["userErrors"]] == ["TOO_SHORT"]
    assert [each["code"] for each in sim.define(key="other", type="nonsense")["userErrors"]] == ["INCLUSION"]


def test_values_that_are_there_and_not_unique_forbid_the_definition(sim: SimulatorHarness) -> None:
    text = {**LINK, "type": "single_line_text_field", "value": "same"}
    for name in ("Ada", "Bob"):
        sim(METAFIELDS, m=[{"ownerId": sim.set(firstName=name)["id"], **text}])
    assert sim.define()["userErrors"][0]["code"] == "UNSTRUCTURED_ALREADY_EXISTS"


def test_definitions_are_read_listed_changed_and_deleted(sim: SimulatorHarness) -> None:
    sim.define()
    sim.define(key="other", type="url", name="Other")
    made = sim.set(by_link("user_1"), firstName="Ada")["id"]
    one = "query($i: MetafieldDefinitionIdentifierInput) { metafieldDefinition(identifier: $i) { id key metafieldsCount type { name } } }"  # noqa: E501
    found = sim(one, i=IDENTIFIER)
    assert (found["key"], found["metafieldsCount"], found["type"]) == ("user_id", 1, {"name": "id"})
    listed = sim('query { metafieldDefinitions(first: 5, ownerType: CUSTOMER, namespace: "clerk") { nodes { key } } }')
    assert listed == {"nodes": [{"key": "user_id"}, {"key": "other"}]}
    change = "mutation($d: MetafieldDefinitionUpdateInput!) { metafieldDefinitionUpdate(definition: $d) { updatedDefinition { name pinnedPosition } userErrors { code } } }"  # noqa: E501
    assert sim(change, d={**IDENTIFIER, "name": "New", "pin": True}) == {
        "updatedDefinition": {"name": "New", "pinnedPosition": 1}, "userErrors": []
    }  # fmt: skip
    assert sim(change, d={**IDENTIFIER, "key": "none"})["userErrors"] == [{"code": "NOT_FOUND"}]
    assert sim(DELETE, i=IDENTIFIER, all=False)["userErrors"][0]["code"] == "ID_TYPE_DELETION_ERROR"
    assert sim(DELETE, i=IDENTIFIER, all=True)["deletedDefinitionId"] == found["id"]
    assert sim(one, i=IDENTIFIER) is None
    assert sim.find(id=made)["link"] is None
    assert sim(DELETE, i=IDENTIFIER, all=True)["userErrors"][0]["code"] == "NOT_FOUND"
