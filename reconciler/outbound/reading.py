"""The JSON that others send: read by JSON's own rules, and only as much of it as fits into memory many times over."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

PARTS_MAX: Final = 400_000  # values of one reply: each takes much more memory than it has letters
_HALF: Final = re.compile("[\ud800-\udfff]")


class MalformedError(ValueError):
    """A reply is not what its sender promises. The message says where, and holds no value of it."""


def decoded(body: bytes | bytearray, *, with_surrogates: bool = False) -> object:
    """The JSON of a body. MalformedError: it is none by JSON's rules (NaN, lone surrogates), or holds too many values.

    `with_surrogates`: halves of characters that JSON can spell and text can't hold are read as U+0000, which no database
    keeps either: so that whoever reads the values refuses one of them, and not all.
    """
    parts = body.count(b",") + body.count(b"[") + body.count(b"{")
    if parts > PARTS_MAX:
        raise MalformedError(f"it holds more than {PARTS_MAX:,} values")
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if with_surrogates and b"\\ud" in body.lower():
            return _lenient(body)
        raise MalformedError("it is no whole JSON") from error


def _lenient(body: bytes | bytearray) -> object:
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
        return msgspec.json.decode(_HALF.sub(r"\\u0000", text).encode())
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise MalformedError("it is no whole JSON") from error


def words_of(text: object, *, length_max: int) -> str:
    """What a sender says, so much of it, as a message of ours may hold it."""
    return str(text).replace("\0", "\ufffd")[:length_max]


def is_storable(text: str | None) -> bool:
    """Whether a database can hold it: Postgres has no text with U+0000."""
    return text is None or "\0" not in text
