"""A scalar field is declared in one place: no other module of the product names one that needs no rules of its own."""

from __future__ import annotations

import ast

import pytest

from tests.standards.tree import modules

TABLE = "reconciler/core/model/scalars.py"
PLAIN = ("locale", "note")  # email, phone and names have rules of their own
ALLOWED = {
    "reconciler/core/fields/normalise.py",  # functions by form
    "reconciler/shopify/api/refusals.py",  # a preview of a merge
}


@pytest.mark.parametrize("field", PLAIN)
def test_a_field_without_rules_of_its_own_is_named_in_the_table_only(field: str) -> None:
    found = {name for name, tree in modules().items() if any(_names(node, field) for node in ast.walk(tree))}
    found = {name for name in found if not name.startswith(("reconciler/simulator/", "reconciler/cli/commands/demo"))}
    assert TABLE in found
    assert found <= {TABLE, *ALLOWED}


def _names(node: ast.AST, field: str) -> bool:
    """Whether this is the field as a text, as an argument, or as an attribute with a type."""
    match node:
        case ast.Constant(value=value):
            return bool(value == field)
        case ast.keyword(arg=arg):
            return arg == field
        case ast.AnnAssign(target=ast.Name(id=name)):
            return name == field
        case _:
            return False
