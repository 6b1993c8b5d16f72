"""Mapping: which customer belongs to which user in which shop, and the last-applied fields."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import field, replace
from datetime import datetime
from operator import not_
from typing import Annotated, Final, Literal, TypedDict

from pydantic import Field

from reconciler.core.model.act import Acceptance
from reconciler.core.model.action import Change
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName

BACKLINK = "backlink"  # a key of `Mapping.applied`: its `config` names the metafield that carries the user id
# Kinds of `Mapping.intent`:
RELEASE = "release"  # a release has begun: no other user may have the customer yet
SUCCESSION = "succession"  # the user has left, and another user is about to adopt the customer
PARK = "park"  # values are parked: by field, in `parked`
Status = Literal["in_sync", "pending", "held", "released", "erased"]


class Waits(TypedDict):
    """The fields of a mapping for the values that its user waits for."""

    waits_for_email: str | None
    waits_for_phone: str | None
    waits_at_email: CustomerId | None
    waits_at_phone: CustomerId | None


class Fingerprints(TypedDict):
    """The fields of a mapping for the pair that was last found equal."""

    profile_fp: int | None
    observed_fp: int | None


class Person(TypedDict):
    """The fields of a mapping by which people are found: those of the profile, the phone as E.164 where it is one."""

    profile_name: str | None
    profile_email: str | None
    profile_phone: str | None


NO_PERSON: Final = Person(profile_name=None, profile_email=None, profile_phone=None)
NO_WAITS: Final = Waits(waits_for_email=None, waits_for_phone=None, waits_at_email=None, waits_at_phone=None)
NO_FINGERPRINTS: Final = Fingerprints(profile_fp=None, observed_fp=None)


@frozen(kw_only=True)
class Heal:
    """A value that overwrote ours in Shopify, and when we observed it."""

    at: datetime
    value: str


@frozen(kw_only=True)
class AgreedTags:
    """The tags of a customer as they were when spec and customer last agreed.

    `owned` are those that we added, `agreed` those of the spec. `respelt`: by the key of a tag that we sent, the tag that
    Shopify returns for it, where no rule predicts it; None: no tag.
    """

    owned: tuple[str, ...] = ()
    agreed: tuple[str, ...] = ()
    respelt: Annotated[MappingOf[str, str | None], Field(exclude_if=not_)] = field(default_factory=dict)


NO_TAGS = AgreedTags()


@frozen(kw_only=True)
class Applied:
    """A field as it was when spec and customer last agreed.

    `value` is that of the spec. `ours`: we wrote it; only then may it be
    cleared. `config` is the digest of the field's rule, to distinguish a changed rule from a changed profile.
    `respelt`: Shopify returns `shown` for it, which our normalisation does not derive from `value`. `heals`: what
    others recently wrote over it (core/decide/contested.py).
    """

    value: str | AgreedTags | None = None
    ours: bool = False
    config: str = ""
    respelt: bool = False
    shown: str | None = None
    heals: tuple[Heal, ...] = ()

    @property
    def text(self) -> str | None:
        """The value of a field other than tags."""
        assert not isinstance(self.value, AgreedTags), "tags are no text"
        return self.value

    @property
    def tags(self) -> AgreedTags:
        """The value of tags."""
        assert not isinstance(self.value, str), "a text is no tags"
        return self.value or NO_TAGS


def text_in(base: Applied | None) -> str | None:
    """The last-applied value of a field other than tags; None where there is none."""
    return base.text if base is not None else None


def tags_in(base: Applied | None) -> AgreedTags:
    """The last-applied tags; empty where there are none."""
    return base.tags if base is not None else NO_TAGS


@frozen(kw_only=True)
class RefusedValue:
    """A value that Shopify refused: its digest, Shopify's code and message, and whether an operator's command tried it.

    `profile`: the digest of the row that it was decided on, where the refusal ends as soon as that row changes.
    """

    digest: str
    code: str = ""
    message: str = ""
    asked: bool = False
    profile: str = ""


@frozen(kw_only=True)
class Intent:
    """What is about to be written, recorded first, so that the next reconcile can finish it after a crash.

    `kind` is one of those above, the kind of an action, or "write" where an observation without any of the changes may
    drop the intent. `changes` are those of the action, from `from_customer_id` to the customer `to`; None where there is
    no action. `to` of a succession is the user who adopts the customer. `parked` are the values that were cleared
    temporarily on this user's customer, by field.
    """

    kind: str
    from_customer_id: CustomerId | None = None
    to: str | None = None
    changes: tuple[Change, ...] | None = None
    parked: MappingOf[str, str] = field(default_factory=dict)


@frozen(kw_only=True)
class Mapping:
    """One row of the mapping table. A held user may have no customer; a released or erased one is a tombstone.

    `intent`: an action of several writes has begun. `waits_for_email` and `waits_for_phone` are values (email_key and
    phone_key form) that another customer still has; `waits_at_email` and `waits_at_phone` are that customer, where it is
    known. The fingerprints (core/fields/fingerprint.py) are those of the row and the customer when both were last found
    equal. Each other write clears them, so that a scan skips a pair only while nothing has changed.

    `profile_digest` is that of the row when it was last present, `wanted_digest` that of the row when the store last
    wanted it, and `wanted_row_at` the `updated_at` with which that content was first read. `absent_since`: when the row
    was first found missing; None while it is present.
    `left_row_at`: `updated_at` of the row when the user was released; None without a row. `reason_since`: since when the
    user has this reason. `accepted`: drift that an operator has accepted, which only acts write. `profile_name`,
    `profile_email` and `profile_phone` are those of the profile, so that a user without a customer can be found.
    """

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
    applied: MappingOf[str, Applied] = field(default_factory=dict)
    refused: MappingOf[str, RefusedValue] = field(default_factory=dict)
    intent: Intent | None = None
    waits_for_email: str | None = None
    waits_for_phone: str | None = None
    waits_at_email: CustomerId | None = None
    waits_at_phone: CustomerId | None = None
    profile_digest: str = ""
    wanted_digest: str | None = None
    wanted_row_at: datetime | None = None
    absent_since: datetime | None = None
    left_row_at: datetime | None = None
    config_digest: str = ""
    profile_fp: int | None = None
    observed_fp: int | None = None
    reason_since: datetime | None = None
    profile_name: str | None = None
    profile_email: str | None = None
    profile_phone: str | None = None
    accepted: Acceptance | None = None

    @property
    def awaited_keys(self) -> tuple[str, ...]:
        """The keys of the email and phone that this user waits for."""
        return tuple(key for key in (self.waits_for_email, self.waits_for_phone) if key is not None)

    @property
    def awaited_customers(self) -> tuple[CustomerId, ...]:
        """The customers that still have the awaited values."""
        return tuple(at for at in (self.waits_at_email, self.waits_at_phone) if at is not None)

    @property
    def parked_values(self) -> dict[str, str]:
        """The values that were cleared temporarily on this user's customer, by field."""
        return dict(self.intent.parked) if self.intent is not None else {}

    def with_shop(self, shop: ShopDomain) -> Mapping:
        """The same row with another name of its shop, for display."""
        return replace(self, shop=shop)
