"""A shop's identity, the facts that `doctor` checks, and the objects that `bootstrap` creates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Protocol

from reconciler.core.decide.shop_identity import KnownShop
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain


@frozen
class Definition:
    """A metafield definition of customers in the shop. `unique`: no two customers can have the same value.

    `limits`: the values that Shopify accepts, by the names of Shopify's validation options.
    """

    id: str
    namespace: str
    key: str
    type: str
    unique: bool
    pinned: bool
    limits: Mapping[str, str] = field(default_factory=dict)


@frozen
class Subscription:
    """A webhook subscription of this app: the topic as in Shopify's enum, and its target."""

    id: str
    topic: str
    uri: str


@frozen
class ShopFacts:
    """Facts about a shop and our app in it. `api_version` is the version that answered.

    `server_time` is the shop's time between `asked_s` and `answered_s` of our monotonic clock.
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
    """The reads of `doctor` and `bootstrap`; changes nothing."""

    def facts(self) -> ShopFacts: ...

    def definition(self, namespace: str, key: str) -> Definition | None: ...

    def subscriptions(self) -> tuple[Subscription, ...]: ...


class ShopMaker(Protocol):
    """The writes of `bootstrap`. All are idempotent: an existing object is success."""

    def create_definition(self, namespace: str, key: str) -> None:
        """Create the back-link's definition: owner CUSTOMER, type `id`, pinned unless the limit of pins is reached."""

    def subscribe(self, topic: str, uri: str) -> None: ...


class ShopRepository(Protocol):
    """The domains of each shop by gid, by which the state finds the key of a renamed shop."""

    def known_shops(self) -> tuple[KnownShop, ...]:
        """All known domains of all shops."""

    def put_shop(self, shop: KnownShop) -> bool:
        """Record the shop's domain; False, and nothing is written, if the shop already has another key."""
