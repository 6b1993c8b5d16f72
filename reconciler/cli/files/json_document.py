"""A streaming JSON reader: long lists are read item by item and never held in memory, in any layout of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

BLOCK = 1 << 16  # characters
ENDS = tuple(",:]} \t\r\n")  # the characters that may follow a value


class JsonReader:
    """Reads one document from start to end. ValueError if it is not JSON, or not the kind of value that is asked for."""

    def __init__(self, file: TextIO, *, block: int = BLOCK) -> None:
        self._file, self._block = file, block
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder()

    def value(self) -> Any:
        """Read the next value whole."""
        self._next()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if self._text[end : end + 1] in ENDS or not self._more():  # otherwise it may be a part of a number
                self._at = end
                return found

    def members(self) -> Iterator[str]:
        """The names in the next object. The caller must read each name's value before it asks for the next name."""
        for _ in self._each("{", "}"):
            if self._next() != '"':
                raise ValueError("expected a name")
            name = self.value()
            self._take(":")
            yield name

    def items(self) -> Iterator[None]:
        """Yield before each item of the next list. The caller must read the item before it continues."""
        yield from self._each("[", "]")

    def end(self) -> None:
        """ValueError if anything but white space follows."""
        if self._next():
            raise ValueError("text follows the document")

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
            raise ValueError(f"expected one of {one_of}, not {found!r}")
        self._at += 1
        return found

    def _next(self) -> str:
        """Skip white space and return the next character; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read at least as much as is left in the buffer. Returns whether there was more."""
        left = self._text[self._at :]
        new = self._file.read(max(self._block, len(left)))
        self._text, self._at = left + new, 0
        return bool(new)
