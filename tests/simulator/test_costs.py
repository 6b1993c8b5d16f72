"""The price of documents as measured at Shopify, and the bucket that pays."""

import pytest

from reconciler.simulator.graphql.costs import Bucket, CostModel, page_weight
from reconciler.simulator.graphql.documents import ParsedDocument, load_schema, prepare
from tests.simulator.domain import Clock


def requested(text: str, *, charge_per_id: bool = False, **variables: object) -> int:
    document = prepare(text)
    assert isinstance(document, ParsedDocument), document
    model = CostModel(load_schema(), charge_per_id=charge_per_id)
    return model.request_cost(document.operation, document.fragments, variables)


def actual(text: str, data: dict[str, object]) -> int:
    document = prepare(text)
    assert isinstance(document, ParsedDocument), document
    return CostModel(load_schema()).actual(document.operation, document.fragments, {}, data)


@pytest.mark.parametrize(
    ("size", "points"), [(0, 2), (1, 3), (2, 3), (5, 5), (10, 6), (20, 7), (50, 9), (100, 11), (250, 13)]
)
def test_a_connection_of_ids_costs_what_was_measured(size: int, points: int) -> None:
    assert 2 + page_weight(size) == points
    assert requested("query($n: Int) { customers(first: $n) { nodes { id } } }", n=size) == points
    assert (
        requested(f"{{ customers(last: {size}) {{ edges {{ cursor node {{ id }} }} pageInfo {{ endCursor }} }} }}")
        == points
    )


def test_three_nested_objects_on_a_full_page_cost_46() -> None:
    text = (
        "{ customers(first: 250) { nodes { id defaultEmailAddress { emailAddress } defaultPhoneNumber { phoneNumber } "
        'metafield(namespace: "clerk", key: "user_id") { value } amountSpent { amount } } pageInfo { hasNextPage } } }'
    )
    assert requested(text) == 46


def test_edges_and_nodes_together_cost_double() -> None:
    assert requested("{ customers(first: 250) { nodes { id } edges { node { id } } } }") == 2 + 2 * 11


def test_a_write_of_scalars_costs_the_minimum_of_ten() -> None:
    text = "mutation($i: CustomerSetInput!) { customerSet(input: $i) { customer { id email } userErrors { code } } }"
    assert requested(text) == 10
    nested = 'mutation($i: CustomerSetInput!) { customerSet(input: $i) { customer { id metafield(key: "k") { id } } } }'
    assert requested(nested) == 11
    assert (
        requested(
            "mutation($c: ID!) { a: tagsAdd(id: $c, tags: []) { node { id } } b: tagsAdd(id: $c, tags: []) { node { id } } }"
        )
        == 20
    )


def test_point_reads_are_cheap_and_ids_are_flat_unless_the_world_is_harder() -> None:
    by_id = (
        "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Customer { email defaultEmailAddress { emailAddress } } } }"
    )
    assert requested('{ customer(id: "gid://shopify/Customer/1") { id } }') == 1
    assert requested('{ customerByIdentifier(identifier: {id: "gid://shopify/Customer/1"}) { id email } }') == 1
    assert requested(by_id, ids=["gid://shopify/Customer/1"] * 250) == 2
    assert requested(by_id, ids=["gid://shopify/Customer/1"] * 250, charge_per_id=True) == 251
    assert (
        requested('{ nodes(ids: ["gid://shopify/Customer/1", "gid://shopify/Customer/2"]) { id } }', charge_per_id=True)
        == 2
    )


def test_counts_cost_ten_and_a_union_its_dearest_member() -> None:
    assert requested("{ customersCount { count } }") == 10
    text = (
        'query($c: ID!) { node(id: $c) { id ... on Customer { a: metafield(key: "a") { id } b: metafield(key: "b") { id } } '
        "... on Shop { primaryDomain { url } } } }"
    )
    assert requested(text) == 3


@pytest.mark.parametrize(("rows", "points"), [(0, 2), (1, 2), (2, 2), (5, 3), (250, 24)])
def test_a_page_that_is_partly_full_costs_its_share(rows: int, points: int) -> None:
    text = '{ customers(first: 250) { edges { node { id metafield(key: "k") { id } } } } }'
    assert requested(text) == 24
    row = {"node": {"id": "gid://shopify/Customer/1", "metafield": {"id": "gid://shopify/Metafield/1"}}}
    assert actual(text, {"customers": {"edges": [row] * rows}}) == points


def test_an_empty_page_of_nodes_gives_back_only_what_is_nested() -> None:
    text = '{ customers(first: 250) { nodes { id metafield(key: "k") { id } } } }'
    assert requested(text) == 24
    assert actual(text, {"customers": {"nodes": []}}) == 13


def test_fragments_cost_what_they_hold() -> None:
    text = (
        'query($c: ID!) { customer(id: $c) { ...parts } } fragment parts on Customer { id metafield(key: "k") { id } }'
    )
    assert requested(text) == 2


def test_a_bucket_refuses_what_it_does_not_hold_and_refills_by_the_clock() -> None:
    clock = Clock()
    bucket = Bucket(clock, size=100, restore_rate=10)
    assert bucket.take(90)
    assert not bucket.take(20)
    assert bucket.throttled == 1
    clock.now += 1
    assert bucket.take(20)
    bucket.refund(15)
    assert bucket.status() == {"maximumAvailable": 100.0, "currentlyAvailable": 15, "restoreRate": 10.0}
    assert bucket.spent == 95
    clock.now += 1000
    assert bucket.status()["currentlyAvailable"] == 100


def test_a_neighbour_eats_the_same_bucket() -> None:
    clock = Clock()
    bucket = Bucket(clock, size=100, restore_rate=10)
    bucket.neighbour(30)
    clock.now += 2
    assert bucket.status()["currentlyAvailable"] == 60
    clock.now += 100
    assert bucket.status()["currentlyAvailable"] == 0
    bucket.neighbour(0)
    clock.now += 1
    assert bucket.status()["currentlyAvailable"] == 10
    bucket.drain()
    assert not bucket.take(1)
