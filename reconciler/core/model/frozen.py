"""`frozen`: the decorator of values. A command imports more than a hundred of them, so to declare one has to be cheap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from operator import attrgetter
from typing import TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def frozen(kind: type[T], /) -> type[T]: ...


@overload
def frozen(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: type[T] | None = None, /, *, kw_only: bool = False) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class a dataclass with slots, compared, hashed and shown by its fields. mypy refuses to assign to them.

    `dataclass(frozen=True, slots=True)` compiles six methods for each class, in 0.45 ms: a tenth of the CPU of `status`.
    This one compiles none until the first value is made, and then `__init__` only: a command makes values of few of the
    classes that it imports. Nothing refuses an assignment when the program runs, so a new value sets its fields faster, too.
    """
    return _frozen(kind, kw_only=False) if kind is not None else lambda kind: _frozen(kind, kw_only=kw_only)


def _frozen(kind: type[T], *, kw_only: bool) -> type[T]:
    own = set(vars(kind))
    made = dataclass(init=False, eq=False, repr=False, slots=True, kw_only=kw_only)(kind)
    assert is_dataclass(made)
    compared = [each.name for each in fields(made) if each.compare]
    shown = [each.name for each in fields(made) if each.repr]
    values: Callable[[object], object] = attrgetter(*compared) if compared else lambda _: ()

    def __init__(self: object, *args: object, **given: object) -> None:  # noqa: N807  becomes the method, until it is called
        made.__init__ = _init_of(made)  # type: ignore[method-assign]  # from now on
        made.__init__(self, *args, **given)

    def __eq__(self: object, other: object) -> bool:  # noqa: N807  becomes the method
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807  as above
        return hash(values(self))

    def __repr__(self: object) -> str:  # noqa: N807  as above
        named = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({named})"

    for method in (__init__, __eq__, __hash__, __repr__):
        if method.__name__ not in own:
            setattr(made, method.__name__, method)
    return made


def _init_of(kind: type[object]) -> Callable[..., None]:
    """Compile the `__init__` of a dataclass that has none: a dataclass derived from it inherits the fields."""
    subclass = type(kind.__name__, (kind,), {"__doc__": kind.__doc__, "__module__": kind.__module__})
    made: Callable[..., None] = vars(dataclass(eq=False, repr=False)(subclass))["__init__"]
    made.__qualname__ = f"{kind.__qualname__}.__init__"
    return made
