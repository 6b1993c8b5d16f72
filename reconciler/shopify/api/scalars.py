"""The scalar fields of a customer (core/model/scalars.py) in Shopify's names: selections, members of replies, values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from reconciler.core.model.scalars import FIELDS

OURS_READ: Final[Mapping[str, str]] = {field.place[0]: name for name, field in FIELDS.items()}
"""The member of a customer in a read: our name."""
OURS_WRITTEN: Final[Mapping[str, str]] = {field.shopify: name for name, field in FIELDS.items()}
"""The name in an input, in a refusal and in the response to a write: our name."""

READ_SELECTION: Final = " ".join(" { ".join(field.place) + " }" * (len(field.place) - 1) for field in FIELDS.values())
WRITTEN_SELECTION: Final = " ".join(OURS_WRITTEN)
POINTS: Final = sum(len(field.place) - 1 for field in FIELDS.values())
"""What the selection of a read costs: one for each object in it."""

NO_MORE: Final[Mapping[str, Sequence[tuple[Any, ...]]]] = {}

_outer: Final[Callable[[object], tuple[Any, ...]]] = attrgetter(*OURS_READ)
_inner: Final = tuple(
    (index, attrgetter(".".join(field.place[1:]))) for index, field in enumerate(FIELDS.values()) if field.place[1:]
)


def members(
    text: Any, *, optional: bool = False, more: Mapping[str, Sequence[tuple[Any, ...]]] = NO_MORE
) -> list[tuple[Any, ...]]:
    """The members of a customer in a read, as of msgspec.defstruct; `text` is the type of a value.

    `optional`: in a hot loop over lines that may lack members; the structs are then not collected as garbage in cycles.
    `more`: further members of an object in which a value is.
    """
    default = (None,) if optional else ()
    found = []
    for field in FIELDS.values():
        type_ = text
        for name in reversed(field.place[1:]):
            inner = [(name, type_, *default), *more.get(field.place[0], ())]
            type_ = msgspec.defstruct(field.place[0], inner, frozen=True, gc=not optional)
        found.append((field.place[0], type_ | None, *default))
    return found


def values_in(node: object) -> list[str | None]:
    """The values in a shape with these `members`, in the order of `SCALARS`."""
    values = [*_outer(node)]
    for index, inner in _inner:
        if values[index] is not None:
            values[index] = inner(values[index])
    return values
