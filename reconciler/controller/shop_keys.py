"""Which shop each store has: by its gid, so that a renamed shop keeps all that the state stores of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from reconciler.core.decide.shop_identity import (
    KnownShop,
    check_key,
    check_single,
    claims_unseen,
    identify_shop,
    is_new_name,
    places,
)
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.store import Store
from reconciler.errors import AccessError
from reconciler.ports import Clock, CustomerReader, MappingReader, ShopRepository

SAMPLE = 20  # customers by which a shop is recognised if the state does not know its gid

S = TypeVar("S", bound=Store)


class ShopKeys(Generic[S]):
    """The stores of one reading of the files, each with the key of its shop in the state. Thread-safe."""

    def __init__(self, stores: tuple[S, ...], book: ShopRepository, clock: Clock) -> None:
        """StateError where the state can't be read."""
        self._book, self._clock = book, clock
        self._lock = threading.Lock()
        found = places([(store.name, store.domain) for store in stores], book.known_shops())
        self._stores = {store.name: store.kept_under(found[store.name].key) for store in stores}
        self.stores = tuple(self._stores.values())
        """As of now; replaced whole when a shop is identified."""
        self._unsure = {name for name, place in found.items() if not place.sure}

    def unsure(self) -> tuple[StoreName, ...]:
        """Stores that must not be worked on before their shop was asked for its gid."""
        with self._lock:
            return tuple(sorted(self._unsure))

    def identify(self, name: StoreName, gid: str, has_customers_of: Callable[[S], bool]) -> S:
        """The store with the right key, now that the gid of its shop is known; AccessError where it is another shop's.

        `has_customers_of` says whether the shop has the customers that the state keeps under a store's key.
        """
        with self._lock:
            store, others = self._stores[name], self._others(name)
        known = self._book.known_shops()
        named = (name, store.domain)
        row = identify_shop(named, gid, known, now=self._clock.now())
        former = claims_unseen(named, known)
        if former is not None and not any(r.gid == gid for r in known) and former.key not in others:
            was = store.kept_under(former.key)
            row = row.of(former.key) if has_customers_of(was) else row
        check_single(row, others)
        _note(row, row.key, self._book, self._clock)
        with self._lock:
            check_single(row, self._others(name))  # another may have been given it meanwhile
            self._stores[name] = store.kept_under(row.key)
            self.stores = tuple(self._stores.values())
            self._unsure.discard(name)
            return self._stores[name]

    def _others(self, name: StoreName) -> set[ShopDomain]:
        """The keys of all other stores that may be worked on."""
        return {other.shop for other in self._stores.values() if other.name not in {name, *self._unsure}}


def check_shop(store: Store, gid: str, *, book: ShopRepository, clock: Clock) -> None:
    """Make sure that the shop that answers is the one of this store, and note its gid; AccessError where it is not."""
    known = book.known_shops()
    named = (store.name, store.domain)
    row = identify_shop(named, gid, known, now=clock.now())
    if claims_unseen(named, known) is not None and not any(r.gid == gid for r in known):
        raise AccessError(
            f"{store.domain} is a new name of a shop, or another shop than store {store.name} had",
            hint="it is asked which shop it is before it is worked on: repeat the command",
        )
    check_key(row, store.shop, known)
    if is_new_name(row, known):
        _note(row, store.shop, book, clock)


def _note(row: KnownShop, key: ShopDomain, book: ShopRepository, clock: Clock) -> None:
    """Write that this shop has this name; AccessError where another store was first to give it another key."""
    if book.put_shop(row):
        return
    known = book.known_shops()
    check_key(identify_shop((row.store, row.name), row.gid, known, now=clock.now()), key, known)


def has_customers_of(store: Store, customers: CustomerReader, mappings: MappingReader) -> bool:
    """Whether customers are in the shop that the state maps to this store's users; true where it maps none.

    Ids of customers are Shopify's own and never given twice, and each has the back-link of its user.
    """
    users = mappings.mapped_users(store.shop, after=None, limit=SAMPLE)
    rows = mappings.get(store.shop, users)
    owners = {row.customer_id: user for user, row in rows.items() if row.customer_id is not None}
    if not owners:
        return True
    there = customers.by_ids(sorted(owners))
    return any(there[customer].backlink == user for customer, user in owners.items() if customer in there)
