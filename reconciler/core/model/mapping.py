"""Mapping: which customer belongs to which user in which shop, and the last-applied fields."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.ids import UNIQUE, ClerkUserId, CustomerId, ShopDomain, StoreName

BACKLINK = "backlink"  # a key of `Mapping.applied`: its `config` names the metafield that carries the user id
# Kinds of `Mapping.intent`:
RELEASE = "release"  # a release has begun: no other user may have the customer yet
SUCCESSION = "succession"  # the user has left, and another user is about to adopt the customer
PARK = "park"  # values are parked: by field, in `parked`
Status = Literal["in_sync", "pending", "held", "released", "erased"]
NO_WAITS: Final[MappingOf[str, None]] = {
    "waits_for_email": None, "waits_for_phone": None, "waits_at_email": None, "waits_at_phone": None,
}  # fmt: skip
NO_FINGERPRINTS: Final[MappingOf[str, None]] = {"profile_fp": None, "observed_fp": None}


class Heal(BaseModel):
    """A value that overwrote ours in Shopify, and when we observed it."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    value: str


class Applied(BaseModel):
    """A field as it was when spec and customer last agreed.

    `value` is that of the spec (for tags: the list of those we added). `ours`: we wrote it; only then may it be
    cleared. `config` is the digest of the field's rule, to distinguish a changed rule from a changed profile.
    `respelt`: Shopify returns `shown` for it, which our normalisation does not derive from `value`. `heals`: what
    others recently wrote over it (core/decide/contested.py).
    """

    model_config = ConfigDict(frozen=True)

    value: Any = None
    ours: bool = False
    config: str = ""
    respelt: bool = False
    shown: str | None = None
    heals: tuple[Heal, ...] = ()


class RefusedValue(BaseModel):
    """A value that Shopify refused: its digest, Shopify's code and message, and whether an operator's command tried it.

    `profile`: the digest of the row that it was decided on, where the refusal ends as soon as that row changes.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    code: str = ""
    message: str = ""
    asked: bool = False
    profile: str = ""


class Mapping(BaseModel):
    """One row of the mapping table. A held user may have no customer; a released or erased one is a tombstone.

    `intent` describes an action of several writes that has begun, so that the next reconcile can finish it after a
    crash. `waits_for_email` and `waits_for_phone` are values (email_key and phone_key form) that another customer still
    has; `waits_at_email` and `waits_at_phone` are that customer, where it is known. The fingerprints
    (core/fields/fingerprint.py) are those of the row and the customer when both were last found equal. Any other write
    clears them, so that a scan skips a pair only while nothing has changed.

    `profile_digest` is that of the row when it was last present, `wanted_digest` that of the row when the store last
    wanted it. `absent_since`: when the row was first found missing; None while it is present.
    `left_row_at`: `updated_at` of the row when the user was released; None without a row.
    """

    model_config = ConfigDict(frozen=True)

    clerk_user_id: ClerkUserId
    store: StoreName
    shop: ShopDomain
    customer_id: CustomerId | None = None
    email: str | None = None
    status: Status = "pending"
    reason: str | None = None
    message: str | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    left_at: datetime | None = None
    generation: int = 0
    applied: MappingOf[str, Applied] = Field(default_factory=dict)
    refused: MappingOf[str, RefusedValue] = Field(default_factory=dict)
    intent: MappingOf[str, Any] | None = None
    waits_for_email: str | None = None
    waits_for_phone: str | None = None
    waits_at_email: CustomerId | None = None
    waits_at_phone: CustomerId | None = None
    profile_digest: str = ""
    wanted_digest: str | None = None
    absent_since: datetime | None = None
    left_row_at: datetime | None = None
    config_digest: str = ""
    profile_fp: int | None = None
    observed_fp: int | None = None

    @property
    def awaited(self) -> tuple[str, ...]:
        """The keys of the email and phone that this user waits for."""
        return tuple(key for key in (self.waits_for_email, self.waits_for_phone) if key is not None)

    @property
    def awaited_at(self) -> tuple[CustomerId, ...]:
        """The customers that still have the awaited values."""
        return tuple(at for at in (self.waits_at_email, self.waits_at_phone) if at is not None)

    @property
    def parked(self) -> dict[str, str]:
        """The values that were cleared temporarily on this user's customer, by field."""
        intent = self.intent if self.intent is not None else {}
        beside = intent if intent.get("kind") == PARK else {}  # where an earlier version wrote them
        found = intent.get("parked", beside)
        return {field: found[field] for field in UNIQUE if found.get(field) is not None}

    def named(self, shop: ShopDomain) -> Mapping:
        """The same row with another name of its shop, for display."""
        return self.model_copy(update={"shop": shop})
