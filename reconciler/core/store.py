"""Store: the policy of one shop, as decided in stores.yaml. Holds no secret and no address to call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from reconciler.core.ids import ClerkUserId, ShopDomain, StoreName

Policy = Literal["enforce", "fill", "create_only", "ignore"]
Switch = Literal["auto", "hold"]
TrustEmail = Literal["verified", "always", "never"]

SHOP_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")
OWN_FIELDS = ("email", "first_name", "last_name", "phone", "locale", "note")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Backlink(_Part):
    """The metafield that carries the Clerk user id; its definition is of type `id`."""

    namespace: Annotated[str, StringConstraints(min_length=3, max_length=255)] = "clerk"
    key: Annotated[str, StringConstraints(min_length=2, max_length=64)] = "user_id"


class FieldPolicies(_Part):
    """Who owns each field of a customer."""

    email: Policy = "enforce"
    first_name: Policy = "enforce"
    last_name: Policy = "enforce"
    phone: Policy = "fill"
    locale: Policy = "ignore"
    note: Policy = "ignore"


class MetafieldRule(_Part):
    """One metafield of ours: where its value comes from, its Shopify type and who owns it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str = Field(alias="from", description="image_url, locale, … or metadata.a.b")
    type: str = "single_line_text_field"
    policy: Policy = "enforce"

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        known = (*OWN_FIELDS, "image_url", "clerk_user_id")
        if source not in known and not source.startswith("metadata."):
            raise ValueError(f"'{source}' is no field of a profile: use one of {', '.join(known)} or metadata.…")
        return source


class Ceiling(_Part):
    """How many actions of one kind may pass; both bounds hold."""

    max: int = Field(ge=0)
    percent: float | None = Field(default=None, ge=0, le=100)


class Guards(_Part):
    """Ceilings for one plan, and for one hour of `run`."""

    create: Ceiling = Ceiling(max=1000)
    adopt: Ceiling = Ceiling(max=500)
    update: Ceiling = Ceiling(max=500, percent=30)
    relink: Ceiling = Ceiling(max=25, percent=5)
    merge: Ceiling = Ceiling(max=5, percent=1)
    release: Ceiling = Ceiling(max=25, percent=5)


class Accepted(_Part):
    """Drift that somebody has agreed to for a time: these fields of this user stay as they were edited in Shopify."""

    user: Annotated[ClerkUserId, StringConstraints(min_length=1, max_length=255)]
    fields: tuple[str, ...] = Field(min_length=1)
    until: date | datetime = Field(description="the last day, or the moment; from then on it is drift again")
    why: Annotated[str, StringConstraints(min_length=1)]

    @field_validator("fields")
    @classmethod
    def _known(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        known = (*OWN_FIELDS, "tags", "backlink")
        for name in fields:
            if name not in known and not name.startswith("metafields."):
                raise ValueError(f"'{name}' is no field: use {', '.join(known)} or metafields.NAMESPACE.KEY")
        return fields

    def holds_at(self, now: datetime) -> bool:
        """Whether it has not expired: a day lasts to its end (UTC)."""
        if isinstance(self.until, datetime):
            moment = self.until if self.until.tzinfo else self.until.replace(tzinfo=UTC)
            return now < moment
        return now <= datetime.combine(self.until, time.max, UTC)


class Store(_Part):
    """The policy of one store: whom it wants, which fields we own there, and what may happen by itself."""

    name: Annotated[StoreName, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
    shop: ShopDomain
    where: Mapping[str, Any] = Field(default_factory=dict, description="all must match; a list means any of these")
    backlink: Backlink = Backlink()
    fields: FieldPolicies = FieldPolicies()
    tags: tuple[Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)], ...] = ()
    metafields: Mapping[str, MetafieldRule] = Field(default_factory=dict)
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    require_email: bool = True
    on_leave: Literal["keep", "tag", "delete", "erase"] = "keep"
    leave_tag: Annotated[str, StringConstraints(min_length=1, max_length=255)] = "clerk-left"
    on_email_conflict: Literal["relink", "merge", "hold"] = "relink"
    on_missing: Literal["recreate", "hold"] = "recreate"
    heal_drift: Switch = "auto"
    roll_out: Switch = "auto"
    guards: Guards = Guards()
    accept: tuple[Accepted, ...] = Field(default=(), description="drift that is agreed to, each with an end")
    paused: bool = False
    trust_email: TrustEmail = Field(default="verified", exclude=True, description="set by profiles.trust_email")

    @field_validator("shop")
    @classmethod
    def _bare_shop(cls, shop: ShopDomain) -> ShopDomain:
        if not SHOP_PATTERN.fullmatch(shop):
            raise ValueError(f"'{shop}' is not a bare shop name such as acme.myshopify.com")
        return shop

    def accepts(self, user: ClerkUserId, now: datetime) -> frozenset[str]:
        """The fields of this user whose drift is agreed to now."""
        return frozenset(f for a in self.accept if a.user == user and a.holds_at(now) for f in a.fields)

    @field_validator("tags")
    @classmethod
    def _single_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if "," in tag:
                raise ValueError(f"'{tag}' has a comma: Shopify would split it; write a list of two tags")
        if len({t.casefold() for t in tags}) != len(tags):
            raise ValueError("the same tag stands here twice (Shopify ignores case)")
        return tags

    @field_validator("metafields")
    @classmethod
    def _full_keys(cls, rules: Mapping[str, MetafieldRule]) -> Mapping[str, MetafieldRule]:
        for name in rules:
            namespace, _, key = name.rpartition(".")
            if len(namespace) < 3 or len(key) < 2:  # noqa: PLR2004  Shopify's own limits
                raise ValueError(f"'{name}' is not NAMESPACE.KEY (3 and 2 characters at least)")
        if len(rules) > 24:  # noqa: PLR2004  metafieldsSet takes 25, one is the back-link's
            raise ValueError("more than 24 metafields: Shopify sets 25 in one call, and one is the back-link")
        return rules
