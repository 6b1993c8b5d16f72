"""Clerk and Svix as they send: events of our own invention, signed by hand and not by the library under test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

KEY = bytes(range(24))
OLD_KEY = b"an older key, still held"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OLD_SECRET = "whsec_" + base64.b64encode(OLD_KEY).decode()
INSTANCE = "ins_2prodOfTheBakery"
USER = "user_2fJm0Tove"
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
UPDATED_MS = 1_795_424_399_250


def signature(body: bytes, *, key: bytes = KEY, message_id: str = "msg_1", seconds: int) -> str:
    signed = f"{message_id}.{seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers(
    body: bytes, *, key: bytes = KEY, message_id: str = "msg_1", at: datetime = NOW, family: str = "svix"
) -> dict[str, str]:
    seconds = int(at.timestamp())
    return {
        f"{family}-id": message_id,
        f"{family}-timestamp": str(seconds),
        f"{family}-signature": signature(body, key=key, message_id=message_id, seconds=seconds),
    }


def user(user_id: str = USER, **changes: Any) -> dict[str, Any]:
    """A user object: two addresses, the primary one last, so that taking the first is noticed."""
    return {
        "id": user_id,
        "object": "user",
        "first_name": "Tove",
        "last_name": "Ærø",
        "locale": "da-DK",
        "image_url": "https://img.example/tove.png",
        "primary_email_address_id": "idn_main",
        "primary_phone_number_id": "idn_phone",
        "email_addresses": [
            {"id": "idn_old", "email_address": "old@tove.example", "verification": {"status": "verified"}},
            {"id": "idn_main", "email_address": "tove@tove.example", "verification": {"status": "verified"}},
        ],
        "phone_numbers": [{"id": "idn_phone", "phone_number": "+4531415926", "verification": None}],
        "public_metadata": {"brand": "acme"},
        "private_metadata": None,
        "unsafe_metadata": {"brand": "someone else's"},
        "created_at": UPDATED_MS - 86_400_000,
        "updated_at": UPDATED_MS,
        **changes,
    }


def event(kind: str = "user.updated", data: Any = None, **changes: Any) -> bytes:
    if data is None:
        data = {"id": USER, "object": "user", "deleted": True} if kind == "user.deleted" else user()
    envelope = {
        "object": "event",
        "type": kind,
        "timestamp": UPDATED_MS,
        "instance_id": INSTANCE,
        "data": data,
        **changes,
    }
    return json.dumps(envelope, ensure_ascii=False).encode()
