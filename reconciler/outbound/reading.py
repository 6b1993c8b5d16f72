"""The JSON that others send: read by JSON's own rules, and only as much of it as fits into memory many times over."""

from __future__ import annotations

import json
from typing import Final

import msgspec

PARTS_MAX: Final = 400_000  # values of one reply: each takes much more memory than it has letters


class MalformedError(ValueError):
    """A reply is not what its sender promises. The message says where, and holds no value of it."""


def decoded(body: bytes | bytearray, *, with_surrogates: bool = False) -> object:
    """The JSON of a body. MalformedError: it is none by JSON's rules (NaN, lone surrogates), or holds too many values.

    `with_surrogates`: halves of characters that JSON can spell and text can't hold are let through, so that whoever reads
    the values refuses one of them, and not all.
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
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError("it is no whole JSON") from error
