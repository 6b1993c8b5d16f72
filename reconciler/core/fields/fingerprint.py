"""Fingerprints: eight bytes that say whether a profile row or an observed customer is what it was.

Whole-shop loops compare these instead of building values, so everything here works on plain tuples (msgspec encodes them;
a fingerprint costs half a microsecond, a Profile twenty). Two processes, two machines and two versions of Python give the
same number: Python's own `hash()` would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from reconciler.core.fields.desired import SCALARS
from reconciler.core.model.customer import Customer

VERSION: Final = "1"  # goes up when a row or a customer is read in another way: then everything is looked at once more

_encode: Final = msgspec.msgpack.Encoder(enc_hook=repr).encode
_encode_json: Final = msgspec.json.Encoder(enc_hook=str).encode
_from_bytes: Final = int.from_bytes


def row_fingerprinter(shape: str) -> Callable[[Sequence[Any]], int]:
    """The function that gives a raw row's fingerprint. `shape` names table and columns: other columns, other numbers."""
    begun = blake2b(_bytes(("row", VERSION, shape)), digest_size=8)

    def fingerprint(row: Sequence[Any]) -> int:
        hashed = begun.copy()
        hashed.update(_bytes(row))
        return _from_bytes(hashed.digest(), "little", signed=True)

    return fingerprint


def values_fp(
    scalars: Sequence[str | None], tags: Iterable[str], backlink: str | None, metafields: Iterable[tuple[str, str, str]]
) -> int:
    """Of what a shop shows of one customer, whichever way it was read.

    `scalars` are email, first_name, last_name, phone, locale and note; `metafields` name, value and type of those that
    exist. Whether she can be deleted and when she was touched last don't count: no equal pair becomes unequal by them.
    """
    parts = (*scalars, sorted(tags), backlink, sorted(metafields))
    hashed = blake2b(_bytes(parts), digest_size=8, person=b"observed1")
    return _from_bytes(hashed.digest(), "little", signed=True)


def values_json(
    scalars: Sequence[str | None], tags: Sequence[str], backlink: str | None, metafields: Iterable[tuple[str, str, str]]
) -> str:
    """The same values as compact JSON in our names, what is not there left out: to be read by people, and kept."""
    found: dict[str, Any] = {name: value for name, value in zip(SCALARS, scalars, strict=True) if value is not None}
    if tags:
        found["tags"] = tags
    if backlink is not None:
        found["backlink"] = backlink
    found |= {f"metafields.{name}": value for name, value, _ in metafields}
    return _encode_json(found).decode()


def scalars_of(customer: Customer) -> tuple[str | None, ...]:
    """Her plain fields in the order of `values_fp`."""
    c = customer
    return (c.email, c.first_name, c.last_name, c.phone, c.locale, c.note)


def metafields_of(customer: Customer) -> list[tuple[str, str, str]]:
    """Name, value and type of each."""
    return [(name, found.value, found.type) for name, found in customer.metafields.items()]


def observed_fp(customer: Customer) -> int | None:
    """The same of a customer; None where something was not shown to us: then nothing can be said to be equal."""
    if customer.unknown:
        return None
    return values_fp(scalars_of(customer), customer.tags, customer.backlink, metafields_of(customer))


def _bytes(parts: Sequence[Any]) -> bytes:
    try:
        return _encode(parts)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):  # half a character, or a number beyond 64 bits
        return repr(parts).encode("utf-8", "surrogatepass")
