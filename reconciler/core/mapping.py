"""Mapping: which customer is which user's in which shop, and what we last agreed on there."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.core.ids import ClerkUserId, CustomerId, ShopDomain, StoreName

BACKLINK = "backlink"  # in `Mapping.applied`: `config` names the metafield that carries the user id
Status = Literal["in_sync", "pending", "held", "released", "erased"]
NO_FINGERPRINTS: Final[MappingOf[str, None]] = {"profile_fp": None, "config_fp": None, "observed_fp": None}


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
    lately (core/contested.py).
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
    `waits_for_email` is the address (email_key form) that a customer of another user still has. The three fingerprints
    (core/fingerprint.py) are those of the row, the policy and the customer when the pair was last found equal; whatever
    else is written here clears them, so that a pair is passed over only while nothing at all has moved.

    `profile_digest` is that of the row at the last look at which there was one, `wanted_digest` that of the row when the
    store last wanted it. `absent_since`: when the row was first seen missing; None as soon as it is there.
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
    profile_digest: str = ""
    wanted_digest: str | None = None
    absent_since: datetime | None = None
    config_digest: str = ""
    profile_fp: int | None = None
    config_fp: int | None = None
    observed_fp: int | None = None
