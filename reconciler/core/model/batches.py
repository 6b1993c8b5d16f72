"""So many at a time: what is long is never held whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in their order, `size` at a time; the last ones are fewer, and none is empty."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
