"""JSON from others: parsed strictly, with a bound on its number of values."""

from __future__ import annotations

import codecs
import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

import msgspec

PARTS_MAX: Final = 400_000  # values of one reply: each takes much more memory than its text
_MARK: Final = codecs.BOM_UTF8  # a parser may ignore it (RFC 8259, 8.1)
_HALF: Final = re.compile("[\ud800-\udfff]")
_PAUSING: Final = Lock()


class MalformedError(ValueError):
    """A reply has an unexpected form. The message says where, without values."""


@contextmanager
def pause_collection() -> Iterator[None]:
    """Collect no garbage while a parser may be deep in the stack.

    A parser recurses for each level of its text. At the last levels, the finalizers of garbage would have no stack left:
    each would end with a RecursionError that no caller sees, and what it was to close would stay open.
    """
    with _PAUSING:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


def decode_json(body: bytes | bytearray, *, with_surrogates: bool = False) -> object:
    """The JSON of a body. MalformedError if it is invalid (including NaN and lone surrogates) or has too many values.

    `with_surrogates`: escaped lone surrogates become U+0000, which no database stores either, so that the caller can
    refuse a single value instead of the whole body.
    """
    parts = body.count(b",") + body.count(b"[") + body.count(b"{")
    if parts > PARTS_MAX:
        raise MalformedError(f"it contains more than {PARTS_MAX:,} values")
    try:
        with pause_collection():
            return msgspec.json.decode(body.removeprefix(_MARK))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if with_surrogates and b"\\ud" in body.lower():
            return _lenient(body)
        raise MalformedError("it is no whole JSON") from error


def _lenient(body: bytes | bytearray) -> object:
    try:
        with pause_collection():
            text = json.dumps(json.loads(body.removeprefix(_MARK)), ensure_ascii=False)
            return msgspec.json.decode(_HALF.sub(r"\\u0000", text).encode())
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise MalformedError("it is no whole JSON") from error


def words_of(text: object, *, length_max: int) -> str:
    """A sender's text for our messages, cut at `length_max` characters."""
    return str(text).replace("\0", "\ufffd")[:length_max]


def is_storable(text: str | None) -> bool:
    """Whether a database can store the text: Postgres accepts no U+0000."""
    return text is None or "\0" not in text
