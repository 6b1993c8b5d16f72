"""Batches of an iterable that is too long to hold in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in their order, `size` at a time. The last batch may be smaller; none is empty."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
