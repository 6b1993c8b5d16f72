"""What mypy does not see: `Any`, copies with fields by name as text, and ignored errors."""

from __future__ import annotations

import re

from tests.standards.stats import any_in_core, ignored_types, product, untyped_copies
from tests.standards.tree import ROOT

IGNORED_MAX = 8


def test_the_core_has_no_any() -> None:
    assert any_in_core() == 0


def test_a_misspelt_field_in_the_core_is_an_error_of_mypy() -> None:
    assert untyped_copies() == 0


def test_no_field_of_a_value_is_set_past_mypy() -> None:
    """`frozen` stops no assignment when the program runs."""
    past = re.compile(r"(?<![\w.])(?:setattr|delattr|vars)\(|__(?:setattr|delattr|dict)__")
    names = [name for name in product() if past.search((ROOT / name).read_text(encoding="utf-8"))]
    assert names == ["reconciler/core/model/frozen.py", "reconciler/core/model/scalars.py"], "one makes, one reads"


def test_few_errors_of_types_are_ignored_and_each_for_a_reason() -> None:
    assert ignored_types() <= IGNORED_MAX
    lines = [line for name in product() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    ignored = [line.strip() for line in lines if "# type: ignore" in line]
    assert [line for line in ignored if not re.search(r"# type: ignore\[[\w-]+\]  # \w", line)] == []


def test_values_with_slots_are_declared_by_frozen() -> None:
    """`dataclass` takes four times as long for each class; the simulator and the errors know nothing of the core."""
    own = [name for name in product() if not name.startswith(("reconciler/simulator/", "reconciler/errors.py"))]
    lines = [line.strip() for name in own for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    assert "@frozen" in lines
    assert [line for line in lines if line.startswith("@dataclass(") and "frozen" in line and "slots" in line] == []
