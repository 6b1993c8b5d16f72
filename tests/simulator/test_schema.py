"""The excerpt is true to Shopify's own schemas, where those are at hand."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    validate_schema,
)

from reconciler.simulator.graphql.documents import load_schema

OFFICIAL = Path(__file__).parents[3] / "shared" / "schema"
VERSIONS = ("2026-01", "2026-04", "2026-07", "2026-10")
BUILT_IN = {"String", "Int", "Float", "Boolean", "ID"}


def official(version: str) -> GraphQLSchema:
    path = OFFICIAL / f"admin_{version}.graphql.gz"
    if not path.exists():
        pytest.skip("Shopify's own schemas are not at hand")
    return build_schema(gzip.open(path, "rt", encoding="utf-8").read(), assume_valid=True)


def differences(ours: GraphQLNamedType, theirs: GraphQLNamedType | None) -> list[str]:
    """What of our type is not so in theirs."""
    if type(ours) is not type(theirs) or theirs is None:
        return [f"{ours.name} is not there, or of another kind"]
    if isinstance(ours, GraphQLEnumType) and isinstance(theirs, GraphQLEnumType):
        return [f"{ours.name}.{value}" for value in ours.values if value not in theirs.values]
    found: list[str] = []
    if isinstance(ours, GraphQLObjectType) and isinstance(theirs, GraphQLObjectType):
        implemented = {each.name for each in theirs.interfaces}
        found += [f"{ours.name} implements {each.name}" for each in ours.interfaces if each.name not in implemented]
    if isinstance(ours, GraphQLInputObjectType) and isinstance(theirs, GraphQLInputObjectType):
        found += input_differences(ours, theirs)
    if isinstance(ours, GraphQLObjectType | GraphQLInterfaceType):
        assert isinstance(theirs, GraphQLObjectType | GraphQLInterfaceType)
        for name, field in ours.fields.items():
            found += field_differences(f"{ours.name}.{name}", field, theirs.fields.get(name))
    return found


def input_differences(ours: GraphQLInputObjectType, theirs: GraphQLInputObjectType) -> list[str]:
    found = [] if ours.is_one_of == theirs.is_one_of else [f"{ours.name} @oneOf"]
    for name, field in ours.fields.items():
        other = theirs.fields.get(name)
        if other is None or str(other.type) != str(field.type) or other.default_value != field.default_value:
            found.append(f"{ours.name}.{name}")
    required = {name for name, field in theirs.fields.items() if str(field.type).endswith("!")}
    return found + [f"{ours.name} lacks {name}" for name in sorted(required - set(ours.fields))]


def field_differences(path: str, ours: Any, theirs: Any) -> list[str]:
    if theirs is None or str(ours.type) != str(theirs.type):
        return [path]
    found = [
        f"{path}({name}:)"
        for name, argument in ours.args.items()
        if name not in theirs.args
        or str(argument.type) != str(theirs.args[name].type)
        or argument.default_value != theirs.args[name].default_value
    ]
    required = {name for name, each in theirs.args.items() if str(each.type).endswith("!")}
    return found + [f"{path} lacks {name}" for name in sorted(required - set(ours.args))]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.slow
def test_the_excerpt_is_a_true_subset_of_the_official_schema(version: str) -> None:
    theirs = official(version).type_map
    ours = [each for name, each in load_schema().type_map.items() if not name.startswith("__") and name not in BUILT_IN]
    assert len(ours) > 100
    assert [found for each in ours for found in differences(each, theirs.get(each.name))] == []


def test_the_excerpt_is_a_valid_schema_with_shopifys_roots() -> None:
    schema = load_schema()
    assert validate_schema(schema) == []
    assert (str(schema.query_type), str(schema.mutation_type)) == ("QueryRoot", "Mutation")


def test_a_changed_type_would_be_noticed() -> None:
    ours = build_schema("type Query { customer(id: ID!): String! } enum E { A B }")
    theirs = build_schema("type Query { customer(id: ID, at: Int!): String } enum E { A }")
    assert differences(ours.type_map["Query"], theirs.type_map["Query"]) == ["Query.customer"]
    assert differences(ours.type_map["E"], theirs.type_map["E"]) == ["E.B"]
