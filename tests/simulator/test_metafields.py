"""Metafields of customers: unique ids, compare-and-set, definitions."""

from typing import Any

import pytest

from tests.simulator.desk import LINK, METAFIELDS, Desk, by_link

REMOVE = """mutation($m: [MetafieldIdentifierInput!]!) {
  metafieldsDelete(metafields: $m) { deletedMetafields { ownerId namespace key } userErrors { field message } } }"""
DELETE = """mutation($i: MetafieldDefinitionIdentifierInput, $all: Boolean!) {
  metafieldDefinitionDelete(identifier: $i, deleteAllAssociatedMetafields: $all) {
    deletedDefinitionId userErrors { field message code } } }"""
IDENTIFIER = {**LINK, "ownerType": "CUSTOMER"}


def link(owner: str, value: str, **more: Any) -> dict[str, Any]:
    return {"ownerId": owner, "value": value, **LINK, **more}


def refusal(desk: Desk, *metafields: dict[str, Any]) -> list[tuple[Any, str, int | None]]:
    done = desk(METAFIELDS, m=list(metafields))
    assert done["metafields"] == []
    return [(each["field"], each["code"], each["elementIndex"]) for each in done["userErrors"]]


def test_a_back_link_is_put_on_a_customer_who_is_there(desk: Desk) -> None:
    desk.define()
    made = desk.set(email="ada@example.com")
    done = desk(METAFIELDS, m=[link(made["id"], "user_1")])["metafields"][0]
    assert (done["value"], done["type"]) == ("user_1", "id")
    assert desk.linked("user_1")["id"] == made["id"]
    again = desk(METAFIELDS, m=[link(made["id"], "user_2")])["metafields"][0]
    assert again["id"] == done["id"]
    assert desk.linked("user_1") is None


@pytest.mark.parametrize("code", ["TAKEN", "CAPABILITY_VIOLATION"])
def test_an_id_belongs_to_one_customer(desk: Desk, code: Any) -> None:
    desk.shop.habits.unique_metafield_code = code
    desk.define()
    desk.set(by_link("user_1"), firstName="Ada")
    other = desk.set(firstName="Bob")["id"]
    third = desk.set(firstName="Cleo")["id"]
    assert refusal(desk, link(other, "user_1")) == [(["metafields", "0", "value"], code, None)]
    both = refusal(desk, link(other, "user_2"), link(third, "user_2"))
    assert both == [(["metafields", "1", "value"], code, None)]
    assert desk.linked("user_2") is None


def test_compare_digest_is_compare_and_set(desk: Desk) -> None:
    desk.define()
    made = desk.set(firstName="Ada")["id"]
    stale = [(["metafields", "0"], "STALE_OBJECT", None)]
    assert desk(METAFIELDS, m=[link(made, "user_1", compareDigest=None)])["userErrors"] == []
    assert refusal(desk, link(made, "user_2", compareDigest=None)) == stale
    digest = desk.linked("user_1")["link"]["compareDigest"]
    assert desk(METAFIELDS, m=[link(made, "user_2", compareDigest=digest)])["userErrors"] == []
    assert refusal(desk, link(made, "user_3", compareDigest=digest)) == stale
    malformed = refusal(desk, link(made, "user_3", compareDigest="nonsense"))
    assert malformed == [(["metafields", "0", "compareDigest"], "INVALID_COMPARE_DIGEST", None)]


def test_all_are_written_or_none(desk: Desk) -> None:
    made = desk.set(firstName="Ada")["id"]
    good = {"ownerId": made, "namespace": "custom", "key": "size", "type": "number_integer", "value": "12"}
    assert refusal(desk, good, good | {"key": "weight", "value": "heavy"}) == [
        (["metafields", "1", "value"], "INVALID_VALUE", None)
    ]
    shown = desk("query($id: ID!) { customer(id: $id) { metafields(first: 5) { nodes { key } } } }", id=made)
    assert shown["metafields"]["nodes"] == []


def test_what_can_not_be_written_is_said(desk: Desk) -> None:
    made = desk.set(firstName="Ada")["id"]
    base = {"ownerId": made, "namespace": "custom", "key": "size", "type": "url", "value": "https://a.b"}
    nobody = refusal(desk, base | {"ownerId": "gid://shopify/Customer/404"})
    assert nobody == [(["metafields", "0", "ownerId"], "INVALID_VALUE", None)]
    done = desk(METAFIELDS, m=[base | {"ownerId": "gid://shopify/Customer/404"}])
    assert done["userErrors"][0]["message"] == "Owner does not exist."
    foreign = desk(METAFIELDS, m=[base | {"namespace": "app--99--theirs"}])["userErrors"][0]
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
        assert [each[1] for each in refusal(desk, base | given)] == [code]
    many = desk(METAFIELDS, m=[base | {"key": f"key{n}"} for n in range(26)])
    assert (many["metafields"], many["userErrors"][0]["field"]) == (None, ["metafields"])


def test_a_defined_type_is_kept(desk: Desk) -> None:
    desk.define()
    made = desk.set(firstName="Ada")["id"]
    assert refusal(desk, link(made, "user_1", type="url")) == [(["metafields", "0", "type"], "INVALID_TYPE", None)]


def test_deleting_a_missing_metafield_is_no_error(desk: Desk) -> None:
    desk.define()
    made = desk.set(by_link("user_1"), firstName="Ada")["id"]
    name = {"ownerId": made, **LINK}
    assert desk(REMOVE, m=[name]) == {"deletedMetafields": [name], "userErrors": []}
    assert desk(REMOVE, m=[name]) == {"deletedMetafields": [None], "userErrors": []}
    assert desk.linked("user_1") is None


@pytest.mark.parametrize("bumps", [True, False])
def test_a_metafield_write_bumps_updated_at_or_not(desk: Desk, bumps: bool) -> None:  # noqa: FBT001 - a parameter
    desk.shop.habits.metafields_bump_updated_at = bumps
    made = desk.set(firstName="Ada")
    desk.clock.now += 60
    desk(METAFIELDS, m=[{"ownerId": made["id"], "namespace": "cust", "key": "url", "type": "url", "value": "tel:1"}])
    assert (desk.find(id=made["id"])["updatedAt"] > made["updatedAt"]) is bumps


def test_a_definition_of_type_id_is_unique_by_itself(desk: Desk) -> None:
    done = desk.define(pin=True)
    assert done["createdDefinition"]["capabilities"] == {"uniqueValues": {"enabled": True}}
    assert done["createdDefinition"]["pinnedPosition"] == 1
    taken = desk.define()
    assert (taken["createdDefinition"], taken["userErrors"][0]["code"]) == (None, "TAKEN")
    assert taken["userErrors"][0]["field"] == ["definition", "key"]
    disabled = desk.define(key="other", capabilities={"uniqueValues": {"enabled": False}})["userErrors"][0]
    assert disabled["code"] == "CAPABILITY_REQUIRED_BUT_DISABLED"
    assert disabled["message"] == "Capability unique_values is required for type id but is disabled"
    admin = desk.define(key="other", access={"admin": "MERCHANT_READ"})["userErrors"][0]
    assert admin["code"] == "INVALID"
    assert desk.define(namespace="$app", access={"admin": "MERCHANT_READ"})["userErrors"] == []
    assert [each["code"] for each in desk.define(key="k")["userErrors"]] == ["TOO_SHORT"]
    assert [each["code"] for each in desk.define(key="other", type="nonsense")["userErrors"]] == ["INCLUSION"]


def test_values_that_are_there_and_not_unique_forbid_the_definition(desk: Desk) -> None:
    text = {**LINK, "type": "single_line_text_field", "value": "same"}
    for name in ("Ada", "Bob"):
        desk(METAFIELDS, m=[{"ownerId": desk.set(firstName=name)["id"], **text}])
    assert desk.define()["userErrors"][0]["code"] == "UNSTRUCTURED_ALREADY_EXISTS"


def test_definitions_are_read_listed_changed_and_deleted(desk: Desk) -> None:
    desk.define()
    desk.define(key="other", type="url", name="Other")
    made = desk.set(by_link("user_1"), firstName="Ada")["id"]
    one = "query($i: MetafieldDefinitionIdentifierInput) { metafieldDefinition(identifier: $i) { id key metafieldsCount type { name } } }"  # noqa: E501
    found = desk(one, i=IDENTIFIER)
    assert (found["key"], found["metafieldsCount"], found["type"]) == ("user_id", 1, {"name": "id"})
    listed = desk('query { metafieldDefinitions(first: 5, ownerType: CUSTOMER, namespace: "clerk") { nodes { key } } }')
    assert listed == {"nodes": [{"key": "user_id"}, {"key": "other"}]}
    change = "mutation($d: MetafieldDefinitionUpdateInput!) { metafieldDefinitionUpdate(definition: $d) { updatedDefinition { name pinnedPosition } userErrors { code } } }"  # noqa: E501
    assert desk(change, d={**IDENTIFIER, "name": "New", "pin": True}) == {
        "updatedDefinition": {"name": "New", "pinnedPosition": 1}, "userErrors": []
    }  # fmt: skip
    assert desk(change, d={**IDENTIFIER, "key": "none"})["userErrors"] == [{"code": "NOT_FOUND"}]
    assert desk(DELETE, i=IDENTIFIER, all=False)["userErrors"][0]["code"] == "ID_TYPE_DELETION_ERROR"
    assert desk(DELETE, i=IDENTIFIER, all=True)["deletedDefinitionId"] == found["id"]
    assert desk(one, i=IDENTIFIER) is None
    assert desk.find(id=made)["link"] is None
    assert desk(DELETE, i=IDENTIFIER, all=True)["userErrors"][0]["code"] == "NOT_FOUND"
