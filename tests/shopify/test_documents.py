"""Every document is one that Shopify takes, in each API version, and costs what its file says."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, build_ast_schema, build_schema, parse, validate
from graphql.language import FragmentDefinitionNode

from reconciler.shopify.api.document import (
    Document,
    Identifier,
    bulk_customers,
    customers_by,
    customers_by_ids,
    document,
    names,
    with_shop_id,
)
from reconciler.shopify.listing import NEWEST_FIRST, NEWEST_THEN
from reconciler.simulator.graphql.costs import CostModel

ROOT = Path(__file__).parents[2]
EXCERPT = ROOT / "reconciler" / "simulator" / "schema.graphql"
OFFICIAL = ROOT.parent / "shared" / "schema"
OLDEST, NEWEST = "2026-01", "2026-10"  # the oldest and the newest: nothing left the API in between to come back
ONE = (("clerk", "user_id"),)
MANY = (*ONE, ("clerk", "avatar_url"), ("$app:loyalty", "tier"), ('od"d', "k\\ey"))
IDENTIFIERS: tuple[Identifier, ...] = ("customId", "emailAddress", "phoneNumber")
LISTS = ("customers_newest", "customers_touched")
PARTS = ("customers_by_ids",)  # a file that needs the fragments to be whole
WHOLE = [
    *(document(name) for name in names() if name not in PARTS),
    customers_by_ids(ONE),
    customers_by_ids(MANY),
    *(customers_by(i, count, metafields) for i in IDENTIFIERS for count in (1, 50) for metafields in (ONE, MANY, None)),
]


@lru_cache(maxsize=1)
def excerpt() -> GraphQLSchema:
    return build_schema(EXCERPT.read_text("utf-8"))


@lru_cache(maxsize=1)
def official(version: str) -> GraphQLSchema:
    path = OFFICIAL / f"admin_{version}.graphql.gz"
    if not path.exists():
        pytest.skip("Shopify's own schemas are not at hand")
    text = gzip.decompress(path.read_bytes()).decode()
    return build_ast_schema(parse(text, no_location=True), assume_valid=True, assume_valid_sdl=True)


def faults(schema: GraphQLSchema, documents: list[Document]) -> list[str]:
    return [f"{each.name}: {error.message}" for each in documents for error in validate(schema, parse(each.text))]


def cost(each: Document, variables: dict[str, Any]) -> int:
    ast = parse(each.text)
    operation = next(node for node in ast.definitions if isinstance(node, OperationDefinitionNode))
    fragments = {node.name.value: node for node in ast.definitions if isinstance(node, FragmentDefinitionNode)}
    return CostModel(excerpt()).request_cost(operation, fragments, variables)


def test_every_file_is_a_document_or_a_part_of_one() -> None:
    files = {path.stem for path in (ROOT / "reconciler" / "shopify" / "documents").iterdir()}
    assert files == {*names(), "customer"}
    assert len(files) >= 18


def test_every_document_fits_the_excerpt() -> None:
    assert faults(excerpt(), WHOLE) == []


@pytest.mark.parametrize("version", [NEWEST, pytest.param(OLDEST, marks=pytest.mark.slow)])
def test_every_document_fits_shopifys_own_schema(version: str) -> None:
    assert faults(official(version), WHOLE) == []


@pytest.mark.parametrize("each", WHOLE, ids=lambda each: f"{each.name}-{each.points}")
def test_every_document_costs_what_it_says(each: Document) -> None:
    assert cost(each, {"first": NEWEST_THEN} if each.name == "customers_newest" else {}) == each.points


def test_whether_somebody_came_costs_eight_points() -> None:
    assert cost(document("customers_newest"), {"first": NEWEST_FIRST}) == 8


def test_a_mutation_costs_at_least_ten_points() -> None:
    mutations = [each for each in WHOLE if each.kind == "mutation"]
    assert len(mutations) >= 11
    dear = {each.name: cost(each, {}) for each in mutations if cost(each, {}) != 10}
    consents = {"customer_email_consent": 11, "customer_sms_consent": 11}
    assert dear == {"bulk_metafields_set": 11, "bulk_stage": 11, **consents}


def test_a_look_up_of_fifty_stays_below_the_ceiling_of_a_call() -> None:
    assert max(cost(customers_by(i, 50, ONE), {}) for i in IDENTIFIERS) == 200
    assert max(cost(customers_by(i, 50, None), {}) for i in IDENTIFIERS) == 50


def test_no_document_sends_what_is_not_ours_to_send() -> None:
    for each in WHOLE:
        for word in ("addresses", "multipass", "taxExempt"):
            assert word not in each.text
        assert ("Consent" in each.text) is each.name.endswith("_consent")


def test_consent_is_read_only_where_a_store_manages_it_and_costs_nothing() -> None:
    for plain, more in [
        (customers_by_ids(ONE), customers_by_ids(ONE, ("email", "sms"))),
        (customers_by("customId", 3, ONE), customers_by("customId", 3, ONE, ("email", "sms"))),
    ]:
        assert "marketing" not in plain.text
        assert more.text.count("marketingState") == 2
        assert (more.points, cost(more, {"ids": []})) == (plain.points, cost(plain, {"ids": []}))
    assert "marketing" not in bulk_customers(ONE)
    assert bulk_customers(ONE, ("email",)).count("marketingUpdatedAt") == 1


def test_no_reconcile_of_a_user_needs_a_list_or_a_search() -> None:
    """Lists only name the customers that the mirror must read: who was touched, who came, and how many there are."""
    for each in WHOLE:
        if each.kind == "query" and not each.name.startswith("bulk") and each.name not in LISTS:
            assert "customers(" not in each.text
            assert "customers {" not in each.text


def test_messages_name_a_call_as_shopify_does() -> None:
    asking = with_shop_id(document("customers_newest"))
    named = [customers_by_ids(MANY), document("customer_set"), document("bulk_stage"), asking]
    assert [each.operation for each in named] == [
        "query nodes",
        "mutation customerSet",
        "mutation stagedUploadsCreate",
        "query customers",
    ]
