"""The hostile mode: corrupts a shop's replies, while the shop itself works as before.

`app.py` and `storage.py` pass each reply through `Hostile(kind, seed)`. The same seed corrupts the same sequence of replies
in the same way. Shopify does none of this.
"""

import asyncio
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args

from starlette.responses import FileResponse, Response, StreamingResponse

HostileKind = Literal[
    "bomb",  # a small compressed reply that expands to `megabytes`
    "endless",  # a reply without an end, as fast as it is read
    "drip",  # a reply that comes byte by byte, slowly
    "headers",  # thousands of headers
    "packed",  # a reply with a compression that the client did not accept
    "nan",  # NaN and Infinity in throttleStatus, which is not JSON
    "numbers",  # numbers of all sizes and signs in costs and throttleStatus
    "shape",  # some values have another type, are null, or are missing
    "text",  # invalid texts
    "deep",  # a value nested thousands of times
    "twice",  # duplicate members
    "urls",  # invalid addresses for files
]
KINDS: Final[tuple[HostileKind, ...]] = get_args(HostileKind)
DRIP_S: Final = 0.2
PIECE: Final = b" " * 65_536
NUMBERS: Final = (
    "0", "-1", "1e308", "-1e308", "1e-308", "9" * 400, "-" + "9" * 400, "0.1", "1e400", "true", "null", '"1000"', "[]",
)  # fmt: skip
TEXTS: Final = (
    '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"a\\u0000b"', '"\\u202egnp.exe"', '"\\ufeff"', '"\\u001b[2J"',
    '"' + "a" * 70_000 + '"', '"\\n\\r\\t"', '"\\uffff"', '"<script>alert(1)</script>"', '""', '" "',
)  # fmt: skip
VALUES: Final = (
    "null", "true", "false", "0", "-1", "1.5", "9" * 400, "1e308", '""', '"x"', "[]", "{}", "[null]", '{"a": null}', "[[]]",
    '["x"]', '"\\ud800"', '"\\u0000"', '"gid://shopify/Customer/1"', '"2026-13-45T99:99:99Z"', '"9999-12-31T23:59:59-14:00"',
)  # fmt: skip
URLS: Final = (
    "http://[::1/", "https://127.0.0.1.evil/x", "https://[127.0.0.1].evil.com/x", "http://user:secret@127.0.0.1:1/x",
    "https://2130706433/x", "https://[::ffff:127.0.0.1]/x", "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/x",
    "file:///etc/passwd", "ftp://127.0.0.1/x", "//127.0.0.1/x", "", "x", "http://127.0.0.1:99999/x", "https://\u2460.example/x",
    "https://exa mple/x", "http://", "https://localhost./x", "javascript:alert(1)", "http://127.0.0.1:1/" + "a" * 20_000,
)  # fmt: skip


class Hostile:
    """How one shop corrupts its replies. `only`: replies to calls with this root field; default all."""

    def __init__(self, kind: HostileKind, seed: int = 0, *, megabytes: int = 64, only: str | None = None) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind}; known are {', '.join(KINDS)}")
        self.kind = kind
        self.only = only
        self._megabytes = megabytes
        self._random = random.Random(seed)  # noqa: S311  to be repeated, and no secret

    def spoilt(self, reply: Response, roots: tuple[str, ...] = ()) -> Response:
        """The reply to send instead of this one."""
        if self.only is not None and self.only not in roots:
            return reply
        media = reply.media_type or "application/json"
        match self.kind:
            case "bomb":
                return Response(_bomb(self._megabytes), media_type=media, headers={"Content-Encoding": "gzip"})
            case "endless":
                return StreamingResponse(_endless(), media_type=media)
            case "drip":
                return StreamingResponse(_drip(), media_type=media)
            case "headers":
                reply.raw_headers.extend((b"x-%d" % n, b"x" * 10) for n in range(5_000))
                return reply
            case "packed":
                reply.headers["Content-Encoding"] = self._random.choice(("br", "gzip", "gzip, gzip", "zstd"))
                return reply
            case _:
                return self._rewritten(reply, media)

    def _rewritten(self, reply: Response, media: str) -> Response:
        if isinstance(reply, FileResponse):
            lines = Path(reply.path).read_text("utf-8").splitlines()
            spoilt = [self.text_of(json.loads(line)) if self._chance(0.3) else line for line in lines]
            return Response("\n".join(spoilt), media_type=media)
        try:
            tree = json.loads(bytes(reply.body))
        except ValueError:
            return reply  # a page
        return Response(self.text_of(tree), reply.status_code, media_type=media)

    def text_of(self, tree: Any) -> str:
        """The JSON of a reply, corrupted."""
        spoil: dict[str, Callable[[Any], str]] = {
            "nan": lambda each: _written(each, dict.fromkeys(_costs(each), "NaN")),
            "numbers": lambda each: _written(each, {at: self._random.choice(NUMBERS) for at in _costs(each)}),
            "shape": lambda each: self._somewhere(each, VALUES, drops=True),
            "text": lambda each: self._somewhere(each, TEXTS, drops=False),
            "deep": lambda each: self._somewhere(each, ("[" * 5_000 + "]" * 5_000, '{"a":' * 300 + "1" + "}" * 300)),
            "twice": self._twice,
            "urls": lambda each: _written(
                each, {at: json.dumps(self._random.choice(URLS)) for at in _named(each, ("url", "partialDataUrl"))}
            ),
        }
        return spoil[self.kind](tree)

    def _somewhere(self, tree: Any, values: tuple[str, ...], *, drops: bool = False) -> str:
        places = list(_places(tree))
        chosen = self._random.sample(places, min(len(places), self._random.choice((1, 1, 2, 5))))
        put: dict[tuple[Any, ...], str | None] = {}
        for at in chosen:
            put[at] = None if drops and self._chance(0.25) else self._random.choice(values)
        return _written(tree, put)

    def _twice(self, tree: Any) -> str:
        text = _written(tree, {})
        key = self._random.choice(("data", "errors", "extensions", "id", "tags", "userErrors", "nodes"))
        value = self._random.choice(VALUES)
        first = f'"{key}":{value},' if self._chance(0.5) else ""
        return text.replace(f'"{key}":', f'{first}"{key}":') + ("{}" if self._chance(0.1) else "")

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


def _bomb(megabytes: int) -> bytes:
    packing = zlib.compressobj(1, wbits=31)
    blank = b" " * (1 << 20)
    return b"".join(packing.compress(blank) for _ in range(megabytes)) + packing.flush()


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield PIECE
        await asyncio.sleep(0)


async def _drip() -> AsyncIterator[bytes]:
    yield b"{"
    while True:
        await asyncio.sleep(DRIP_S)
        yield b" "


# --- trees ----------------------------------------------------------------------------------------------------------


def _places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each value of a tree except the root, by its path."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from _places(value, (*at, key))


def _costs(tree: Any) -> list[tuple[Any, ...]]:
    """The numbers in a reply's costs."""
    return [at for at in _places(tree) if at[:2] == ("extensions", "cost") and at[-1] not in {"cost", "throttleStatus"}]


def _named(tree: Any, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [at for at in _places(tree) if at[-1] in names]


def _written(tree: Any, put: dict[tuple[Any, ...], Any], at: tuple[Any, ...] = ()) -> str:
    """The tree as JSON, with these texts at these paths; None omits a member."""
    if at in put:
        return str(put[at])
    if isinstance(tree, dict):
        kept = [(key, value) for key, value in tree.items() if put.get((*at, key), "") is not None]
        return "{" + ",".join(f"{json.dumps(key)}:{_written(value, put, (*at, key))}" for key, value in kept) + "}"
    if isinstance(tree, list):
        kept = [(key, value) for key, value in enumerate(tree) if put.get((*at, key), "") is not None]
        return "[" + ",".join(_written(value, put, (*at, key)) for key, value in kept) + "]"
    return json.dumps(tree)
