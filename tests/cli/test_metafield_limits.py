"""`doctor` knows which values the definitions of metafields refuse, and holds a hostile definition for none."""

from __future__ import annotations

import pytest

from reconciler.cli.checks.metafield_limits import broken_limit


@pytest.mark.parametrize(
    ("type_", "name", "limit", "kept", "refused"),
    [
        ("single_line_text_field", "choices", '["gold"]', "gold", "lead"),
        ("single_line_text_field", "max", "3", "abc", "abcd"),
        ("multi_line_text_field", "min", "2", "ab", "a"),
        ("number_integer", "max", "10", "9", "11"),
        ("number_decimal", "min", "-1.5", "-1", "-2"),
        ("number_decimal", "max_precision", "2", "1.25", "1.255"),
        ("date", "min", "2026-01-01", "2026-01-01", "2025-12-31"),
        ("list.number_integer", "max", "10", "[1, 2]", "[1, 11]"),
        ("list.single_line_text_field", "list.max", "1", '["a"]', '["a", "b"]'),
        ("list.single_line_text_field", "list.min", "1", '["a"]', "[]"),
    ],
)
def test_a_limit_is_broken_or_kept(type_: str, name: str, limit: str, kept: str, refused: str) -> None:
    assert broken_limit(kept, type_, {name: limit}) is None
    assert broken_limit(refused, type_, {name: limit}) == name


@pytest.mark.parametrize(
    ("type_", "name", "limit", "value"),
    [
        ("single_line_text_field", "choices", "nonsense", "x"),
        ("single_line_text_field", "choices", "[" * 100_000, "x"),
        ("single_line_text_field", "regex", "(a+)+$", "a" * 100 + "!"),
        ("number_integer", "max", "NaN", "1"),
        ("number_integer", "max", "10", "many"),
        ("list.number_integer", "list.max", "x", "[1]"),
        ("list.number_integer", "max", "1", "{}"),
        ("dimension", "max", "7", '{"value": 9, "unit": "cm"}'),
        ("single_line_text_field", "of a later version", "", "x"),
    ],
)
def test_a_limit_that_is_not_understood_is_no_error(type_: str, name: str, limit: str, value: str) -> None:
    assert broken_limit(value, type_, {name: limit}) is None
