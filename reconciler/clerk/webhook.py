"""Clerk's webhooks: verify the signature, and parse the event with its user.

Clerk sends through Svix: `svix-id`, `svix-timestamp` (seconds, of this attempt) and `svix-signature` sign the raw body
(Standard Webhooks; docs.svix.com, read 2026-11-23). The library that checks the signature does not know Svix's header
names, reads text only, and raises ValueError and binascii.Error for hostile input. Here, all errors are Unauthentic (401)
or NotAnEvent (400). The signature covers bytes: a body that is not text may be authentic, and is not an event.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Never

from pydantic import BaseModel, ConfigDict, Field
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import ConfigError, NotAnEvent, Unauthentic
from reconciler.outbound.reading import pause_collection

USER_TYPES: Final = frozenset({"user.created", "user.updated", "user.deleted"})
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  a prefix, no secret
SIGNATURES_MAX: Final = 32  # Svix signs with up to 11 keys while old ones run out
DIGEST_BYTES: Final = 32
SECONDS_MAX: Final = 100_000_000_000  # a timestamp above this is in milliseconds: year 5138 otherwise
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_USER_ID = re.compile(r"[\x21-\x7e]{1,255}")
_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class ClerkEvent(BaseModel):
    """An authentic webhook: the user to reconcile, and the minimum `updated_at` of the profile.

    `user_id` is None for other events, and nothing of their body is kept: email and SMS events contain one-time codes.
    `foreign`: another Clerk instance than the configured one sent it. `user` is Clerk's user object, for
    `clerk.upsert_profiles`; it is personal data and not in the repr.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    type: str
    user_id: ClerkUserId | None = None
    updated_at: datetime | None = None
    deleted: bool = False
    foreign: bool = False
    sent_at: datetime | None = None
    user: Mapping[str, Any] | None = Field(default=None, repr=False)


class ClerkWebhooks:
    """Reads Clerk's webhooks with any of several secrets (for rotation, both are configured for a while).

    The time of a message may differ by five minutes. ConfigError for an invalid secret.
    """

    def __init__(self, secrets: Sequence[str], *, instance_id: str | None = None) -> None:
        self._keys = tuple(_key_of(secret, place) for place, secret in enumerate(secrets))
        if not self._keys:
            raise ConfigError(
                "clerk.webhook_secrets is empty, so no webhook of Clerk can be verified",
                hint="copy the signing secret (whsec_…) of the endpoint from Clerk's dashboard, Webhooks",
            )
        self._instance_id = instance_id

    def follow(self, other: ClerkWebhooks) -> None:
        """Use the secrets of `other` from now on."""
        self._keys = other._keys

    def read(self, headers: Mapping[str, str], body: bytes) -> ClerkEvent:
        """The event in this request. Raises only Unauthentic or NotAnEvent, for any input."""
        message_id = self._verified(headers, body)
        return _event(message_id, _parsed(body), self._instance_id)

    def _verified(self, headers: Mapping[str, str], body: bytes) -> str:
        """The message's id, after checking that one of the secrets signed this body."""
        given = {name.lower(): value for name, value in headers.items()}
        message_id, timestamp, signatures = (
            given.get(f"svix-{part}") or given.get(f"webhook-{part}") or "" for part in ("id", "timestamp", "signature")
        )
        if not (message_id and timestamp and signatures):
            raise Unauthentic("a webhook without svix-id, svix-timestamp and svix-signature")
        if not _TIMESTAMP.fullmatch(timestamp):
            raise Unauthentic("svix-timestamp is not a number of seconds")
        usable = _usable(signatures)
        if not usable:
            raise Unauthentic("svix-signature holds no v1 signature")
        standard = {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": usable}
        refusal = "no secret fits"
        for key in self._keys:
            try:
                _verify(key, standard, body)
            except (WebhookVerificationError, ValueError) as error:  # ValueError: headers that are no text
                refusal = str(error) if isinstance(error, WebhookVerificationError) else "its headers are no text"
            else:
                return message_id
        raise Unauthentic(
            f"a webhook at /webhooks/clerk is not signed by Clerk: {refusal}",
            hint="compare clerk.webhook_secrets with the endpoint's signing secret, and this machine's clock",
        )


def _verify(key: bytes, headers: Mapping[str, str], body: bytes) -> None:
    """Raise WebhookVerificationError unless this key signed this body recently."""
    try:
        Webhook(key).verify(body, dict(headers), json_parse=False)
    except UnicodeDecodeError:
        # The bytes are compared here; the library checks the time, on an empty text that is signed for it.
        message_id, seconds = headers["webhook-id"], int(headers["webhook-timestamp"])
        signed = b"v1," + base64.b64encode(hmac.digest(key, f"{message_id}.{seconds}.".encode() + body, "sha256"))
        fits = [hmac.compare_digest(signed, given.encode()) for given in headers["webhook-signature"].split(" ")]
        if not any(fits):
            raise WebhookVerificationError("No matching signature found") from None
        empty = Webhook(key).sign(message_id, EPOCH + timedelta(seconds=min(seconds, SECONDS_MAX)), "")
        Webhook(key).verify("", {**headers, "webhook-signature": empty}, json_parse=False)


def _key_of(secret: str, place: int) -> bytes:
    """The key in a `whsec_…` secret. ConfigError for a secret that the library would misinterpret."""
    text = secret.strip().removeprefix(SECRET_PREFIX)
    unpadded = text.rstrip("=")
    try:
        key = base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigError(
            f"clerk.webhook_secrets[{place}] is not a signing secret: whsec_ must be followed by base64",
            hint="copy the signing secret of the endpoint from Clerk's dashboard, Webhooks",
        )
    return key


def _usable(signatures: str) -> str:
    """The v1 signatures of the header, without malformed ones, on which the library would fail."""
    kept = []
    for entry in signatures.split(" ", SIGNATURES_MAX)[:SIGNATURES_MAX]:
        version, _, text = entry.partition(",")
        try:
            digest = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if version == "v1" and len(digest) == DIGEST_BYTES:
            kept.append(entry)
    return " ".join(kept)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        with pause_collection():
            parsed = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NotAnEvent("a signed webhook of Clerk's is not JSON") from error
    if not isinstance(parsed, dict):
        raise NotAnEvent("a signed webhook of Clerk's is not a JSON object")
    return parsed


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _event(message_id: str, body: Mapping[str, Any], instance_id: str | None) -> ClerkEvent:
    kind, data = body.get("type"), body.get("data")
    if body.get("object", "event") != "event" or not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise NotAnEvent("a signed webhook of Clerk's has no type: it is not an event")
    if not isinstance(data, dict):
        raise NotAnEvent("a signed webhook of Clerk's has no data: it is not an event")
    sent_at = time_from_number(body.get("timestamp"))
    foreign = instance_id is not None and body.get("instance_id") != instance_id
    if kind not in USER_TYPES or foreign:
        return ClerkEvent(id=message_id, type=kind, foreign=foreign, sent_at=sent_at)
    deleted = kind == "user.deleted"
    user_id = data.get("id")
    if user_id is None and deleted:  # optional in Clerk's schema; the next scan finds the user
        return ClerkEvent(id=message_id, type=kind, deleted=True, sent_at=sent_at)
    if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id):
        raise NotAnEvent(f"a signed {kind} of Clerk's does not say which user")
    return ClerkEvent(
        id=message_id,
        type=kind,
        user_id=ClerkUserId(user_id),
        updated_at=None if deleted else time_from_number(data.get("updated_at")),
        deleted=deleted,
        sent_at=sent_at,
        user=None if deleted else data,
    )


def time_from_number(value: object) -> datetime | None:
    """The time from a number of seconds or milliseconds (Clerk documents both); None for other values."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return None
    try:
        return EPOCH + (timedelta(milliseconds=value) if value >= SECONDS_MAX else timedelta(seconds=value))
    except OverflowError:
        return None
