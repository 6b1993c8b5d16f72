"""A shop itself: which one it is, what `doctor` looks at, and what `bootstrap` makes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from reconciler.core.decide.shop_identity import KnownShop
from reconciler.core.model.ids import ShopDomain


@dataclass(frozen=True, slots=True)
class Definition:
    """A metafield definition of customers as the shop has it. `unique`: two customers can't carry one value."""

    id: str
    namespace: str
    key: str
    type: str
    unique: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook subscription of this app: the topic as in Shopify's enum, and where it goes."""

    id: str
    topic: str
    uri: str


@dataclass(frozen=True, slots=True)
class ShopFacts:
    """What a shop says of itself and of our app. `api_version` is the one that really answered.

    `server_time` was read by the shop between `asked_s` and `answered_s` of our monotonic clock.
    """

    name: str
    domain: ShopDomain
    scopes: frozenset[str]
    api_version: str
    supported_versions: tuple[str, ...]
    restore_rate: float
    server_time: datetime | None
    asked_s: float = 0.0
    answered_s: float = 0.0


class ShopReader(Protocol):
    """What `doctor` and `bootstrap` look at; changes nothing."""

    def facts(self) -> ShopFacts: ...

    def definition(self, namespace: str, key: str) -> Definition | None: ...

    def subscriptions(self) -> tuple[Subscription, ...]: ...


class ShopMaker(Protocol):
    """What `bootstrap` makes. Doing it twice does no harm: what is there already is success."""

    def create_definition(self, namespace: str, key: str) -> None:
        """The back-link's definition: owner CUSTOMER, type `id`, pinned unless Shopify's limit of pins is reached."""

    def subscribe(self, topic: str, uri: str) -> None: ...


class ShopRepository(Protocol):
    """Which shop had which name: by its gid the state finds what it keeps of a shop under another name."""

    def known_shops(self) -> tuple[KnownShop, ...]:
        """Each name of each shop that the state knows."""

    def put_shop(self, shop: KnownShop) -> bool:
        """This shop has this name, from now on; false, and nothing is written, where it has another key already."""
