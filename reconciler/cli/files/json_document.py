"""A JSON document, read piece by piece in whatever way it is set out: what is long in it is never held whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

BLOCK = 1 << 16  # characters
ENDS = tuple(",:]} \t\r\n")  # what a value may be followed by


class Document:
    """Walks through one document from front to back; ValueError where that is no JSON, or not what is asked for."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder()

    def value(self) -> Any:
        """The value that stands here, whole."""
        self._next()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if self._text[end : end + 1] in ENDS or not self._more():  # else it may be the first half of a number
                self._at = end
                return found

    def members(self) -> Iterator[str]:
        """Names in the object that stands here; what belongs to each is to be read before the next is asked for."""
        for _ in self._each("{", "}"):
            if self._next() != '"':
                raise ValueError("a name was expected")
            name = self.value()
            self._take(":")
            yield name

    def items(self) -> Iterator[None]:
        """Stops at each item of the list that stands here, which is then to be read."""
        yield from self._each("[", "]")

    def end(self) -> None:
        """Nothing follows."""
        if self._next():
            raise ValueError("more follows than one document")

    def _each(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self._next() == closing:
            self._at += 1
            return
        while True:
            yield
            if self._take("," + closing) == closing:
                return

    def _take(self, one_of: str) -> str:
        found = self._next()
        if not found or found not in one_of:
            raise ValueError(f"one of {one_of} was expected, not {found!r}")
        self._at += 1
        return found

    def _next(self) -> str:
        """The character that comes next, white space left out; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read on, the further the longer what stands here turns out to be."""
        left = self._text[self._at :]
        new = self._file.read(max(BLOCK, len(left)))
        self._text, self._at = left + new, 0
        return bool(new)
