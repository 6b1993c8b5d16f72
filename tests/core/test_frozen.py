"""`frozen` gives a class what `dataclass(frozen=True, slots=True)` gives it, but for the refusal when the program runs."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, dataclass, field, fields, replace

import pytest

from reconciler.core.model.frozen import frozen
from reconciler.core.model.json import adapter_of, json_of


@frozen(kw_only=True)
class Point:
    x: int
    y: int = 0
    seen: tuple[str, ...] = field(default=(), compare=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    x: int
    y: int = 0
    seen: tuple[str, ...] = field(default=(), compare=False)
    token: str = field(default="", repr=False)


@frozen
class Empty:
    pass


@frozen
class Folded:
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folded) and other.name.casefold() == self.name.casefold()

    def __hash__(self) -> int:
        return hash(self.name.casefold())

    def __repr__(self) -> str:
        return f"<{self.name}>"


def test_values_are_equal_by_the_fields_that_are_compared() -> None:
    assert Point(x=1, seen=("a",)) == Point(x=1, seen=("b",))
    assert hash(Point(x=1, seen=("a",))) == hash(Point(x=1, seen=("b",))) == hash(Model(x=1))
    assert Point(x=1) != Point(x=2)
    others: list[object] = [Point(x=2), Model(x=1), Empty()]
    assert Point(x=1) not in others
    assert Empty() in others


def test_a_value_is_shown_as_a_dataclass_is() -> None:
    assert repr(Point(x=1, y=2, token="t")) == repr(Model(x=1, y=2, token="t")).replace("Model", "Point")
    assert repr(Empty()) == "Empty()"


def test_methods_of_the_class_itself_are_kept() -> None:
    assert Folded("A") == Folded("a")
    assert {Folded("A"), Folded("a")} == {Folded("A")}
    assert repr(Folded("A")) == "<A>"


def test_a_value_has_slots_and_takes_keywords_only_where_it_says_so() -> None:
    assert not hasattr(Point(x=1), "__dict__")
    assert [each.name for each in fields(Point)] == ["x", "y", "seen", "token"]
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]  # what mypy refuses fails as well


def test_a_value_is_replaced_copied_and_dumped_as_a_dataclass_is() -> None:
    value = Point(x=1, y=2, seen=("a",))
    assert replace(value, y=3) == Point(x=1, y=3)
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    assert asdict(value) == {"x": 1, "y": 2, "seen": ("a",), "token": ""}
    assert json_of(value) == {"x": 1, "y": 2, "seen": ["a"], "token": ""}
    assert adapter_of(Point).validate_json('{"x": 1, "y": 2}') == value
