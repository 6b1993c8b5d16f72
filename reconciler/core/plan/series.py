"""Series: the sorted values of a plan, which may be larger than memory, as a Collection.

A small series is a tuple. `NewSeries`, which the caller passes in, decides where large ones are stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import fields, is_dataclass
from heapq import merge
from itertools import chain, groupby
from operator import not_
from typing import Annotated, Final, Generic, Protocol, TypeVar, get_args, get_type_hints, runtime_checkable

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema, to_jsonable_python

from reconciler.core.model.json import json_of

M = TypeVar("M")
SortKey = tuple[str | int, ...]
Key = Callable[[M], SortKey]

_compact = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class SeriesBuilder(Protocol[M]):
    """Builds a series from values in any order."""

    def add(self, value: M) -> None:
        """Add a value."""

    def whole(self) -> Collection[M]:
        """All values, sorted; call `add` no more."""

    def __len__(self) -> int: ...


class NewSeries(Protocol):
    """Creates builders of series."""

    def __call__(self, model: type[M], key: Key[M] | None = None) -> SeriesBuilder[M]:
        """An empty builder for values of this model, sorted by this key, or unsorted without one."""


@runtime_checkable
class HasLines(Protocol):
    """A series that stores its values as canonical JSON."""

    def lines(self) -> Iterator[str]:
        """A line for each value, without its end."""


class ListBuilder(Generic[M]):
    """Builds a series in memory."""

    def __init__(self, model: type[M], key: Key[M] | None = None) -> None:  # noqa: ARG002  other builders use it
        self._key = key
        self._values: list[M] = []

    def add(self, value: M) -> None:
        self._values.append(value)

    def whole(self) -> Collection[M]:
        return tuple(self._values if self._key is None else sorted(self._values, key=self._key))

    def __len__(self) -> int:
        return len(self._values)


class _View(Collection[M]):
    """A view of other series, which copies no values."""

    def __contains__(self, value: object) -> bool:
        return any(each == value for each in self)


class _Chained(_View[M]):
    def __init__(self, parts: tuple[Collection[M], ...]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[M]:
        return chain.from_iterable(self._parts)

    def lines(self) -> Iterator[str]:
        return chain.from_iterable(map(lines_of, self._parts))


class _Merged(_View[M]):
    def __init__(self, parts: tuple[Collection[M], ...], key: Key[M]) -> None:
        self._parts, self._key = parts, key

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[M]:
        return merge(*self._parts, key=self._key)


class _Counted(_View[M]):
    """A series with a length that is known after the first pass."""

    _count: int | None = None

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self)
        return self._count


class _Kept(_Counted[M]):
    def __init__(self, values: Collection[M], keep: Callable[[M], bool]) -> None:
        self._values, self._keep = values, keep

    def __iter__(self) -> Iterator[M]:
        return filter(self._keep, self._values)


class _Last(_Counted[M]):
    def __init__(self, values: Collection[M], key: Key[M]) -> None:
        self._values, self._key = values, key

    def __iter__(self) -> Iterator[M]:
        return _last_of_each(self._values, self._key)


class _Mapped(_View[M]):
    def __init__(self, values: Collection[M], change: Callable[[M], M]) -> None:
        self._values, self._change = values, change

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[M]:
        return map(self._change, self._values)


def chain_of(parts: Iterable[Collection[M]]) -> Collection[M]:
    """The series one after the other."""
    filled = tuple(part for part in parts if part)
    if all(isinstance(part, tuple) for part in filled):
        return tuple(chain.from_iterable(filled))
    return filled[0] if len(filled) == 1 else _Chained(filled)


def merge_of(parts: Iterable[Collection[M]], key: Key[M]) -> Collection[M]:
    """Sorted series merged into one."""
    filled = tuple(part for part in parts if part)
    if all(isinstance(part, tuple) for part in filled):
        return tuple(merge(*filled, key=key))
    return filled[0] if len(filled) == 1 else _Merged(filled, key)


def kept(values: Collection[M], keep: Callable[[M], bool]) -> Collection[M]:
    """The values for which `keep` is true. The first `len` iterates over all."""
    return tuple(filter(keep, values)) if isinstance(values, tuple) else _Kept(values, keep)


def last_of_each(values: Collection[M], key: Key[M]) -> Collection[M]:
    """Of sorted values with the same key, the last one. The first `len` iterates over all."""
    return tuple(_last_of_each(values, key)) if isinstance(values, tuple) else _Last(values, key)


def _last_of_each(values: Iterable[M], key: Key[M]) -> Iterator[M]:
    for _, same in groupby(values, key=key):
        *_, last = same
        yield last


def with_each(values: Collection[M], change: Callable[[M], M]) -> Collection[M]:
    """The values, each changed when it is read."""
    return _Mapped(values, change)


# --- as JSON ---------------------------------------------------------------------------------------------------------


def canonical(value: object) -> str:
    """The value as JSON on one line: sorted keys, no blanks, no escaped letters."""
    return _compact(json_of(value))


def lines_of(values: Collection[object]) -> Iterator[str]:
    """Each value as canonical JSON."""
    return values.lines() if isinstance(values, HasLines) else map(canonical, values)


def canonical_parts(value: object) -> Iterator[str]:
    """Dicts and lists with series as parts of one canonical JSON text."""
    if isinstance(value, dict):
        opening = "{"
        for name in sorted(value):
            yield f"{opening}{_compact(name)}:"
            yield from canonical_parts(value[name])
            opening = ","
        yield "{}" if opening == "{" else "}"
    elif isinstance(value, list):
        opening = "["
        for item in value:
            yield opening
            yield from canonical_parts(item)
            opening = ","
        yield "[]" if opening == "[" else "]"
    elif isinstance(value, Collection) and not isinstance(value, str):
        opening = "["
        for line in lines_of(value):
            yield opening + line
            opening = ","
        yield "[]" if opening == "[" else "]"
    else:
        yield _compact(value)


# --- in models -------------------------------------------------------------------------------------------------------


class _SeriesSchema:
    """The pydantic schema of a series: views and stored series unchanged, others as a tuple; dumped as a list."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        (model,) = get_args(source)
        whole = handler.generate_schema(tuple.__class_getitem__((model, ...)))
        return core_schema.no_info_wrap_validator_function(
            lambda value, validated: value if isinstance(value, _View | HasLines) else validated(value),
            whole,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, dumped: dumped(tuple(value)), schema=whole
            ),
        )


_left_out: Final[dict[type[object], frozenset[str]]] = {}
Series = Annotated[Collection[M], _SeriesSchema()]


def dump_around(value: object, new_series: MappingOf[str, Collection[object]]) -> dict[str, object]:
    """The value as JSON values in the order of its fields, with these series unchanged.

    Without an adapter, which takes longer to build than such a value to dump. As with one, a field with `exclude_if=not_`
    is left out if it is empty.
    """
    left_out = _left_out_if_empty(type(value))
    assert is_dataclass(value)
    return {
        each.name: new_series[each.name] if each.name in new_series else to_jsonable_python(getattr(value, each.name))
        for each in fields(value)
        if getattr(value, each.name) or each.name not in left_out
    }


def _left_out_if_empty(kind: type[object]) -> frozenset[str]:
    """The fields of this class with `exclude_if=not_`."""
    if kind not in _left_out:
        _left_out[kind] = frozenset(
            name
            for name, hint in get_type_hints(kind, include_extras=True).items()
            for info in getattr(hint, "__metadata__", ())
            if isinstance(info, FieldInfo) and info.exclude_if is not_
        )
    return _left_out[kind]
