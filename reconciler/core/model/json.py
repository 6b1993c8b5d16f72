"""JSON, and the values of the core as JSON and back: pydantic reads their annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""A JSON value. For the annotations of functions; a field that pydantic reads has a narrower type."""

_adapters: Final[dict[type[object], TypeAdapter[object]]] = {}


def adapter_of(model: type[T]) -> TypeAdapter[T]:
    """The only adapter of this type; to build one takes as long as to parse hundreds of values."""
    found = _adapters.get(model)
    if found is None:
        found = _adapters[model] = TypeAdapter[object](model)
    return cast("TypeAdapter[T]", found)  # a dict has one type for all values


def json_of(value: object, exclude: Iterable[str] = ()) -> dict[str, Json]:
    """The fields of a dataclass as JSON values, in their order, without the excluded ones."""
    found: dict[str, Json] = adapter_of(type(value)).dump_python(value, mode="json", exclude=set(exclude))
    return found


def time_z(at: datetime | None) -> str | None:
    """`2026-11-23T09:00:00Z`."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
