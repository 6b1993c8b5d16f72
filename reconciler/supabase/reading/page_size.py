"""How many rows are read together: many, but of wide rows fewer.

An app may keep pictures in a column that is mapped. A page of thousands of such rows would need more memory than a process
has, and more time than a statement gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

PAGE_BYTES: Final = 8_000_000
FIRST: Final = 500  # rows of a page while their width is not known
SAMPLE: Final = 64


class PageSize:
    """The size of the next page of one scan: it learns from each page how wide rows are."""

    def __init__(self) -> None:
        self._fit = FIRST

    def rows(self, most: int) -> int:
        """How many rows to read next: `most`, or as many as fit."""
        return min(most, self._fit)

    def learn(self, rows: Sequence[Sequence[Any]]) -> None:
        """Note the width of these rows, by a few of them."""
        found = rows[:: len(rows) // SAMPLE + 1]
        if found:
            width = sum(len(value) for row in found for value in row if isinstance(value, str | bytes)) / len(found)
            self._fit = max(1, int(PAGE_BYTES / max(width, 1.0)))
