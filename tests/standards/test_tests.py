"""Rules on the tests: each asserts something, and none reaches behind the product's public names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from tests.standards.stats import PATCHED, PRIVATE, files_of_tests, found
from tests.standards.tree import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef
CHECKS = ("check_", "assert_", "expect_")
"""How the name of a helper that asserts begins."""
ASSERTING = {
    *("raises", "warns"),  # pytest
    *("until", "settles"),  # the harnesses: they fail where it does not come true
    *("expect", "run_state_machine_as_test", "validate_response"),  # Playwright, Hypothesis and Schemathesis
}


def functions(tree: ast.Module, *prefixes: str) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and node.name.startswith(prefixes):
            yield node


def asserts(function: Function) -> bool:
    """Whether the function fails where something is not as it should be, by itself or by a helper named for it."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert | ast.Raise):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ASSERTING or name.startswith(CHECKS):
                return True
    return False


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in files_of_tests()}


def silent(*prefixes: str) -> list[str]:
    return [
        f"{name}:{each.lineno}: {each.name}"
        for name, tree in trees().items()
        for each in functions(tree, *prefixes)
        if not asserts(each)
    ]


def test_every_test_asserts_something() -> None:
    assert silent("test_") == []


def test_every_helper_that_is_named_a_check_asserts_something() -> None:
    assert silent(*CHECKS) == []


def test_no_test_reads_a_private_attribute() -> None:
    """What is worth a test of its own has a public name."""
    assert [name for name in files_of_tests() if found(PRIVATE, [name])] == []


def test_no_test_patches_an_attribute() -> None:
    """What a test varies is an argument, what it replaces is a fake at the widest seam."""
    assert [name for name in files_of_tests() if found(PATCHED, [name])] == []


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("assert made", True),
        ("with pytest.raises(ValueError): made()", True),
        ("story.settles()", True),
        ("check_rest(rig)", True),
        ("raise AssertionError(made)", True),
        ("made()", False),
        ("recheck(made)", False),
    ],
)
def test_what_asserts_is_known(body: str, answer: bool) -> None:  # noqa: FBT001  a case
    (function,) = functions(ast.parse(f"def test_it():\n    {body}"), "test_")
    assert asserts(function) is answer
