"""Store: the policy of one shop from stores.yaml. Holds no secret and no URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Literal, Self, TypedDict, TypeVar, Unpack

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)

from reconciler.core.model.act import Pause
from reconciler.core.model.consent import ConsentRules
from reconciler.core.model.countries import COUNTRIES
from reconciler.core.model.customer import TRACE_KEY
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.scalars import SCALARS, FieldPolicies, Policy

Switch = Literal["auto", "hold"]
TrustEmail = Literal["verified", "always", "never"]

SHOP_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")
OnLeave = Literal["keep", "tag", "delete", "erase"]
DESTRUCTIVE = frozenset({"delete", "erase"})  # values of `on_leave` that can't be reverted
TAGS_MAX = 250  # of one customer, Shopify's own limit
METAFIELD_PATTERN = re.compile(r"metafields\.[!-~]{1,255}\.[!-~]{1,64}")  # a field, as plans name it
NAMESPACE_LENGTHS, KEY_LENGTHS = range(3, 256), range(2, 65)  # of a metafield


def _known_country(code: str) -> str:
    if code not in COUNTRIES:
        raise ValueError(f"'{code}' is not a country's code of ISO 3166, such as GB for the United Kingdom")
    return code


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Backlink(_Part):
    """The metafield that carries the Clerk user id; its definition is of type `id`."""

    namespace: Annotated[str, StringConstraints(min_length=3, max_length=255)] = "clerk"
    key: Annotated[str, StringConstraints(min_length=2, max_length=64)] = "user_id"

    @property
    def name(self) -> str:
        """`NAMESPACE.KEY`."""
        return f"{self.namespace}.{self.key}"


class MetafieldRule(_Part):
    """One metafield that we manage: the source of its value, its Shopify type and its policy."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str = Field(alias="from", description="image_url, locale, … or metadata.a.b")
    type: str = Field(default="single_line_text_field", description="Shopify's type of the metafield")
    policy: Policy = Field(default="enforce", description="as in `fields`")

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        known = (*SCALARS, "image_url", "clerk_user_id")
        if source not in known and not source.startswith("metadata."):
            raise ValueError(f"'{source}' is not a field of a profile: use one of {', '.join(known)} or metadata.…")
        return source


class Ceiling(_Part):
    """How many actions of one kind may be executed; both bounds apply."""

    max: int = Field(ge=0, description="a count")
    percent: float | None = Field(default=None, ge=0, le=100, description="of the store's mappings")


class Guards(_Part):
    """Ceilings for one plan, and for one hour of `run`."""

    create: Ceiling = Ceiling(max=1000)
    adopt: Ceiling = Ceiling(max=500)
    update: Ceiling = Ceiling(max=500, percent=30)
    relink: Ceiling = Ceiling(max=25, percent=5)
    merge: Ceiling = Ceiling(max=5, percent=1)
    release: Ceiling = Ceiling(max=25, percent=5)
    consent: Ceiling = Ceiling(max=500)


class Accepted(_Part):
    """Accepted drift: until a date, these fields of this user stay as they were edited in Shopify."""

    user: Annotated[ClerkUserId, StringConstraints(min_length=1, max_length=255)] = Field(
        description="the Clerk user id"
    )
    fields: tuple[str, ...] = Field(min_length=1, description="our names: email, tags, metafields.NAMESPACE.KEY, …")
    until: date | datetime = Field(description="the last day, or the moment; after it the difference is drift again")
    why: Annotated[str, StringConstraints(min_length=1)] = Field(description="the reason, for later readers")

    @field_validator("fields")
    @classmethod
    def _known(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        return check_fields(fields)

    def holds_at(self, now: datetime) -> bool:
        """Whether the acceptance has not expired: a day lasts until its end (UTC)."""
        if isinstance(self.until, datetime):
            return now < self.ends_at
        return now <= datetime.combine(self.until, time.max, UTC)

    @property
    def ends_at(self) -> datetime:
        """The last second of the day, or the moment."""
        if isinstance(self.until, datetime):
            return self.until if self.until.tzinfo else self.until.replace(tzinfo=UTC)
        return end_of_day(self.until)


def check_fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    """These names of fields. ValueError if one can't drift."""
    known = (*SCALARS, "tags", "backlink")
    for name in fields:
        if name not in known and not METAFIELD_PATTERN.fullmatch(name):
            raise ValueError(f"'{name}' is not a field: use {', '.join(known)} or metafields.NAMESPACE.KEY")
    return fields


def end_of_day(day: date) -> datetime:
    """The last second of this day (UTC)."""
    return datetime.combine(day, time(23, 59, 59), UTC)


class PolicyChange(TypedDict, total=False):
    """Keys of a store that reach the stores wave by wave."""

    where: Mapping[str, object]
    backlink: Backlink
    fields: FieldPolicies
    tags: tuple[str, ...]
    metafields: Mapping[str, MetafieldRule]
    consent: ConsentRules
    country: str | None
    require_email: bool
    on_leave: OnLeave
    leave_tag: str
    on_email_conflict: Literal["relink", "merge", "hold"]
    on_missing: Literal["recreate", "hold"]
    trust_email: TrustEmail


class StoreChange(PolicyChange, total=False):
    """Keys of a store that this program changes while it runs."""

    shop: ShopDomain
    heal_drift: Switch
    roll_out: Switch
    paused: bool


@frozen
class HeldBack:
    """Why the policy of stores.yaml waits for a later wave: `words`.

    `target` is the store with that policy, and `columns` the mapping of columns by which the present one is read. Without a
    target the store has no policy that is known, and every action is held; `is_first`: it was never synced.
    """

    words: str
    target: Store | None = None
    columns: Mapping[str, str] | None = None
    is_first: bool = False


class Store(_Part):
    """The policy of one store: which users it wants, which fields we own there, and which actions need approval."""

    name: Annotated[StoreName, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)] = Field(
        description="the name of the store in commands, URLs and logs"
    )
    shop: ShopDomain = Field(description="the domain: acme.myshopify.com")
    where: Mapping[str, object] = Field(
        default_factory=dict, description="every line must match; a list means any of its values"
    )
    backlink: Backlink = Field(default=Backlink(), description="the metafield that carries the Clerk user id")
    fields: FieldPolicies = Field(
        default=FieldPolicies(),
        description="who owns each field: enforce (the profile), fill (the first value), create_only, ignore",
    )
    tags: tuple[Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)], ...] = Field(
        default=(), description="tags that every customer of ours gets (250 at most); other tags are not touched"
    )
    metafields: Mapping[str, MetafieldRule] = Field(
        default_factory=dict, description="NAMESPACE.KEY: the source of its value, its type and its policy"
    )
    consent: ConsentRules = Field(
        default=ConsentRules(),
        description="marketing consent that is taken from the profiles; without it none is written",
    )
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), AfterValidator(_known_country)] | None = Field(
        default=None, description="for phones without a country code; if not set, such phones are held"
    )
    require_email: bool = Field(
        default=True, description="false: users without an email are created by their back-link alone"
    )
    on_leave: OnLeave = Field(
        default="keep", description="what happens to the customer of a user who has left or is not wanted any more"
    )
    leave_tag: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        default="clerk-left", description="the tag of `on_leave: tag`"
    )
    on_email_conflict: Literal["relink", "merge", "hold"] = Field(
        default="relink", description="what to do if the new email is on a customer that no user owns"
    )
    on_missing: Literal["recreate", "hold"] = Field(
        default="recreate", description="what to do if the customer was deleted in Shopify"
    )
    heal_drift: Switch = Field(default="auto", description="hold: edits made in Shopify are shown and left")
    roll_out: Switch = Field(default="auto", description="hold: changes of profiles or config are shown and wait")
    guards: Guards = Field(
        default=Guards(), description="ceilings for each kind of action, in one plan and in one hour of `run`"
    )
    accept: tuple[Accepted, ...] = Field(default=(), description="drift that is accepted until a day")
    paused: bool = Field(default=False, description="true: observe and decide, but write nothing")
    wave: int = Field(
        default=1,
        ge=1,
        exclude=True,
        description="a change of policy reaches the stores of wave 1 first, then those of 2, …",
    )
    trust_email: TrustEmail = Field(default="verified", exclude=True, description="set by profiles.trust_email")
    _domain: ShopDomain | None = PrivateAttr(default=None)
    _pause: Pause | None = PrivateAttr(default=None)
    _held_back: HeldBack | None = PrivateAttr(default=None)

    @property
    def domain(self) -> ShopDomain:
        """The shop's domain in stores.yaml. `shop` is its key in the state, which a renamed shop keeps."""
        return self._domain or self.shop

    def changed(self, **values: Unpack[StoreChange]) -> Self:
        """This store with other values of these keys."""
        return self.model_copy(update={**values})

    def kept_under(self, key: ShopDomain) -> Self:
        """This store with another key of its shop in the state."""
        if key == self.shop:
            return self
        kept = self.changed(shop=key)
        kept._domain = self.domain  # noqa: SLF001  its own
        return kept

    @property
    def pause(self) -> Pause | None:
        """The pause in the state; None without one, also where stores.yaml pauses the store."""
        return self._pause

    @property
    def pause_words(self) -> str:
        """Who paused the store and since when, or that stores.yaml does; empty where it is not paused."""
        if self._pause is not None:
            return self._pause.words
        return "paused in stores.yaml" if self.paused else ""

    def with_pause(self, pause: Pause | None) -> Self:
        """This store with a pause that is set in the state."""
        if pause is None:
            return self
        paused = self.changed(paused=True)
        paused._pause = pause  # noqa: SLF001  its own
        return paused

    @property
    def held_back(self) -> HeldBack | None:
        """Why the policy of stores.yaml is not in force here; None where it is."""
        return self._held_back

    def held_back_by(self, held_back: HeldBack | None) -> Self:
        """This store, while the policy of stores.yaml waits for its wave."""
        waiting = self.changed()
        waiting._held_back = held_back  # noqa: SLF001  its own
        return waiting

    @field_validator("shop")
    @classmethod
    def _bare_shop(cls, shop: ShopDomain) -> ShopDomain:
        if not SHOP_PATTERN.fullmatch(shop):
            raise ValueError(f"'{shop}' is not a shop domain such as acme.myshopify.com")
        return shop

    def accepts(self, user: ClerkUserId, now: datetime) -> dict[str, datetime]:
        """The fields of this user of which `accept` agrees to drift at this time, each with the end."""
        found: dict[str, datetime] = {}
        for each in self.accept:
            if each.user == user and each.holds_at(now):
                found |= {name: max(each.ends_at, found.get(name, each.ends_at)) for name in each.fields}
        return found

    @field_validator("tags")
    @classmethod
    def _single_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if "," in tag:
                raise ValueError(f"'{tag}' contains a comma, at which Shopify splits tags: write a list of two tags")
        if len(tags) > TAGS_MAX:
            raise ValueError(f"{len(tags)} tags: a customer can have {TAGS_MAX} at most")
        if len({t.casefold() for t in tags}) != len(tags):
            raise ValueError("a tag is listed twice (Shopify ignores case)")
        return tags

    @field_validator("leave_tag")
    @classmethod
    def _one_tag(cls, tag: str) -> str:
        if "," in tag:
            raise ValueError(f"'{tag}' contains a comma, at which Shopify splits tags")
        return tag

    @model_validator(mode="after")
    def _backlink_has_no_rule(self) -> Self:
        own, trace = self.backlink.name, f"{self.backlink.namespace}.{TRACE_KEY}"
        if own == trace:
            raise ValueError(f"backlink.key can't be {TRACE_KEY}, which a re-link writes beside the back-link")
        if own in self.metafields:
            raise ValueError(f"metafields.{own} is the back-link, which can't have a rule: remove it from metafields")
        if trace in self.metafields:
            raise ValueError(f"metafields.{trace} is what a re-link leaves, and can't have a rule: choose another key")
        if self.leave_tag.casefold() in {t.casefold() for t in self.tags}:
            raise ValueError(f"leave_tag '{self.leave_tag}' is also in tags: choose a tag that only released users get")
        return self

    @field_validator("metafields")
    @classmethod
    def _full_keys(cls, rules: Mapping[str, MetafieldRule]) -> Mapping[str, MetafieldRule]:
        for name in rules:
            namespace, _, key = name.rpartition(".")
            if len(namespace) not in NAMESPACE_LENGTHS or len(key) not in KEY_LENGTHS:
                raise ValueError(f"'{name}' is not NAMESPACE.KEY (3 to 255 and 2 to 64 characters)")
        if len(rules) > 24:  # noqa: PLR2004  metafieldsSet takes 25, one is the back-link's
            raise ValueError("more than 24 metafields: Shopify sets 25 in one call, one of them the back-link")
        return rules


StoreT = TypeVar("StoreT", bound=Store)
