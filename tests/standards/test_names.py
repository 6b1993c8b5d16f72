"""Rules on names: one thing has one name, and a name belongs to one thing."""

from __future__ import annotations

from tests.standards.stats import class_names


def test_no_two_classes_have_the_same_public_name() -> None:
    assert [name for name, count in class_names().items() if count > 1] == []
