"""Mapping: which customer is which user's in which shop, and what we last agreed on there."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.model.ids import UNIQUE, ClerkUserId, CustomerId, ShopDomain, StoreName

BACKLINK = "backlink"  # in `Mapping.applied`: `config` names the metafield that carries the user id
RELEASE = "release"  # the kind of the intent of a user who is being released: no other user may have the customer yet
SUCCESSION = "succession"  # the kind of the intent of a user who has left, and whose customer another user is to adopt
PARK = "park"  # the kind of the intent of a user whose values are parked: by field, in `parked`
Status = Literal["in_sync", "pending", "held", "released", "erased"]
NO_WAITS: Final[MappingOf[str, None]] = {
    "waits_for_email": None, "waits_for_phone": None, "waits_at_email": None, "waits_at_phone": None,
}  # fmt: skip
NO_FINGERPRINTS: Final[MappingOf[str, None]] = {"profile_fp": None, "observed_fp": None}


class Heal(BaseModel):
    """A value that somebody wrote over ours, and when we saw it."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    value: str


class Applied(BaseModel):
    """What a field was when spec and customer last agreed.

    `value` is what the spec said (for tags: the list of those we added); `ours` says that we wrote it (only then may it
    be cleared); `config` is the digest of the rule that shaped it, so that a change of rule can be told from a change
    of profile.
    `respelt`: the shop shows `shown` for it, which no rule of ours makes of `value`. `heals`: what others wrote over it
    lately (core/decide/contested.py).
    """

    model_config = ConfigDict(frozen=True)

    value: Any = None
    ours: bool = False
    config: str = ""
    respelt: bool = False
    shown: str | None = None
    heals: tuple[Heal, ...] = ()


class RefusedValue(BaseModel):
    """A value Shopify refused: digest of the value, its words, and whether it was a person's command that tried it.

    `profile`: the digest of the row it was decided on, where the refusal ends as soon as that row moves.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    code: str = ""
    message: str = ""
    asked: bool = False
    profile: str = ""


class Mapping(BaseModel):
    """One row of the mapping table. A held user may have no customer; a released or erased one is a tombstone.

    `intent` says what an action of several steps is in the middle of, so that a crash is finished by the next look;
    `waits_for_email` and `waits_for_phone` are the values (email_key and phone_key form) that another customer still has,
    `waits_at_email` and `waits_at_phone` that customer, where it is known. The three fingerprints
    (core/fields/fingerprint.py) are those of the row, the policy and the customer when the pair was last found equal; any
    other write clears them, so that a pair is passed over only while nothing at all has moved.

    `profile_digest` is that of the row at the last look at which there was one, `wanted_digest` that of the row when the
    store last wanted it. `absent_since`: when the row was first seen missing (core/decide/absence.py); None
    as soon as it is there.
    `left_row_at`: the time of the row that was there when the user was released; None where none was, or is any more.
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
        """The keys of the values that this user waits for."""
        return tuple(key for key in (self.waits_for_email, self.waits_for_phone) if key is not None)

    @property
    def awaited_at(self) -> tuple[CustomerId, ...]:
        """The customers that have them."""
        return tuple(at for at in (self.waits_at_email, self.waits_at_phone) if at is not None)

    @property
    def parked(self) -> dict[str, str]:
        """The values that this user's customer is without for a moment, so that a circle turns."""
        intent = self.intent if self.intent is not None else {}
        beside = intent if intent.get("kind") == PARK else {}  # where an earlier version wrote them
        found = intent.get("parked", beside)
        return {field: found[field] for field in UNIQUE if found.get(field) is not None}

    def named(self, shop: ShopDomain) -> Mapping:
        """The same row with this name of its shop, to be shown."""
        return self.model_copy(update={"shop": shop})
