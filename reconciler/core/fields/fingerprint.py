"""Fingerprints: 64-bit digests of profile rows and observed customers, to detect changes.

Scans compare fingerprints instead of building models, so this module works on plain tuples, encoded by msgspec: a
fingerprint takes half a microsecond, a Profile twenty. Unlike Python's own `hash()`, a fingerprint is equal in every
process, on every machine and in every version of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from reconciler.core.model.consent import Channel, Consent, field_of
from reconciler.core.model.customer import Customer
from reconciler.core.model.scalars import SCALARS

VERSION: Final = "1"  # increase it when rows or customers are parsed differently: then every user is reconciled again

NO_CONSENTS: Final[Mapping[Channel, Consent]] = {}

_encode: Final = msgspec.msgpack.Encoder(enc_hook=repr).encode
_encode_json: Final = msgspec.json.Encoder(enc_hook=str).encode
_from_bytes: Final = int.from_bytes


def row_fingerprinter(shape: str) -> Callable[[Sequence[object]], int]:
    """A function that computes the fingerprint of a raw row. `shape` names table and columns, and changes the result."""
    begun = blake2b(_bytes(("row", VERSION, shape)), digest_size=8)

    def fingerprint(row: Sequence[object]) -> int:
        hashed = begun.copy()
        hashed.update(_bytes(row))
        return _from_bytes(hashed.digest(), "little", signed=True)

    return fingerprint


def values_fp(
    scalars: Sequence[str | None],
    tags: Iterable[str],
    backlink: str | None,
    metafields: Iterable[tuple[str, str, str]],
    consents: Mapping[Channel, Consent] = NO_CONSENTS,
) -> int:
    """The fingerprint of an observed customer, independent of how it was read.

    `scalars` are those of `Customer.scalars()`; `metafields` are name, value and type of those that exist. `can_delete`
    and `updated_at` are left out, because they do not affect equality.
    """
    parts = (*scalars, sorted(tags), backlink, sorted(metafields), *_consent_texts(consents))
    hashed = blake2b(_bytes(parts), digest_size=8, person=b"observed1")
    return _from_bytes(hashed.digest(), "little", signed=True)


def values_json(
    scalars: Sequence[str | None],
    tags: Sequence[str],
    backlink: str | None,
    metafields: Iterable[tuple[str, str, str]],
    consents: Mapping[Channel, Consent] = NO_CONSENTS,
) -> str:
    """The values of `values_fp` as compact JSON with our field names, without missing ones; for storage and display."""
    found: dict[str, object] = {name: value for name, value in zip(SCALARS, scalars, strict=True) if value is not None}
    if tags:
        found["tags"] = tags
    if backlink is not None:
        found["backlink"] = backlink
    for name, value, _ in metafields:
        found[f"metafields.{name}"] = value
    found |= _consent_texts(consents)
    return _encode_json(found).decode()


def _consent_texts(consents: Mapping[Channel, Consent]) -> list[tuple[str, str]]:
    return sorted((field_of(channel), str(consent)) for channel, consent in consents.items())


def metafields_of(customer: Customer) -> list[tuple[str, str, str]]:
    """Name, value and type of each metafield."""
    return [(name, found.value, found.type) for name, found in customer.metafields.items()]


def observed_fp(customer: Customer) -> int | None:
    """The fingerprint of a customer; None where Shopify did not return a field, since equality is unknown then."""
    if customer.unknown:
        return None
    return values_fp(customer.scalars(), customer.tags, customer.backlink, metafields_of(customer), customer.consents)


def _bytes(parts: Sequence[object]) -> bytes:
    try:
        return _encode(parts)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):  # a lone surrogate, or a number above 64 bits
        return repr(parts).encode("utf-8", "surrogatepass")
