"""The identity of shops: by gid, which never changes, while the myshopify domain may.

The state stores a shop under one key, its first known domain. The gid leads from any later domain of the shop to that key
(decision 0024).
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.errors import AccessError

UNSEEN = ""  # the gid of a shop that was recorded by a version without gids
Named = tuple[StoreName, ShopDomain]
"""A store of stores.yaml, and the domain of its shop there."""


@frozen
class KnownShop:
    """A domain that a shop has or had: `gid` answered at `name` for the config of `store`, first at `named_at`."""

    name: ShopDomain
    gid: str
    key: ShopDomain
    store: StoreName
    named_at: datetime

    def of(self, key: ShopDomain) -> KnownShop:
        """The same record with another key of the shop."""
        return replace(self, key=key)


@frozen
class Place:
    """The key of a store's shop in the state. If it is not `sure`, the shop must be queried for its gid first."""

    key: ShopDomain
    sure: bool


def places(stores: Iterable[Named], known: Collection[KnownShop]) -> dict[StoreName, Place]:
    """The place of each store's shop in the state, as far as it is known without querying the shops."""
    holders, last = _by_name(known), _by_store(known)
    left, found = list(stores), dict[StoreName, Place]()

    def place(candidates: Mapping[Named, KnownShop | None], *, sure: bool) -> None:
        taken = {each.key for each in found.values()}
        for (store, name), row in candidates.items():
            if row is not None and row.key not in taken:
                taken.add(row.key)
                found[store] = Place(row.key, sure)
                left.remove((store, name))

    place({n: r if (r := holders.get(n[1])) and r.store == n[0] else None for n in left}, sure=True)
    place({n: last.get(n[0]) for n in left}, sure=False)  # the shop may be renamed
    place({n: holders.get(n[1]) for n in left}, sure=False)  # the store may be renamed, or the domain reused
    keys, taken = {row.key for row in known}, {each.key for each in found.values()}
    for store, name in left:
        met = name in keys
        found[store] = Place(ShopDomain(f"{name}#") if met else name, not met and keys <= taken)
    return found


def identify_shop(named: Named, gid: str, known: Collection[KnownShop], *, now: datetime) -> KnownShop:
    """The record of the shop with this gid that answered at this domain.

    AccessError if the domain is known as that of another shop, unless the store's own shop answered: two known shops may
    have swapped domains.
    """
    store, name = named
    holder, own = _by_name(known).get(name), _by_store(known).get(store)
    rows = [row for row in known if row.gid == gid]
    is_own = own is not None and own.gid == gid
    if holder is not None and holder.gid not in {UNSEEN, gid} and not is_own and not _has_moved(holder, known):
        raise AccessError(
            f"{name} was the shop {holder.gid} of store {holder.store}, but another shop answers now: {gid}",
            hint="correct shop, admin_url or auth of the store in stores.yaml; if the former shop was renamed, set its"
            " new domain there as well",
        )
    if rows:
        key = rows[0].key
    elif holder is not None and holder.gid == UNSEEN:
        key = holder.key
    else:
        key = ShopDomain(gid) if any(row.key == name for row in known) else name
    latest = max((row.named_at for row in known), default=now)
    return KnownShop(name, gid, key, store, max(now, latest + timedelta(microseconds=1)))


def is_new_name(row: KnownShop, known: Collection[KnownShop]) -> bool:
    """Whether this record is new: the shop has another domain, or another store leads to it."""
    last = max((r for r in known if r.gid == row.gid), key=lambda r: r.named_at, default=None)
    return last is None or (last.name, last.key, last.store) != (row.name, row.key, row.store)


def check_key(row: KnownShop, key: ShopDomain, known: Collection[KnownShop]) -> None:
    """Raise AccessError if the record has another key than was assumed for the store."""
    if row.key == key:
        return
    others = sorted({f"{r.store} ({r.name})" for r in known if r.key == row.key and r.store != row.store})
    if others:
        raise AccessError(
            f"{row.name} is the same shop as that of store {', '.join(others)}: {row.gid}",
            hint="list each shop once in stores.yaml; a renamed store keeps the state of its shop",
        )
    raise AccessError(
        f"{row.name} is the shop {row.gid}, not the former shop of store {row.store}",
        hint="repeat the command: it queries the identity of the shop again",
    )


def claims_unseen(named: Named, known: Collection[KnownShop]) -> KnownShop | None:
    """The store's shop from a version without gids, where stores.yaml has another domain now; None otherwise."""
    own = _by_store(known).get(named[0])
    return own if own is not None and own.gid == UNSEEN and own.name != named[1] else None


def check_single(row: KnownShop, taken: Container[ShopDomain]) -> None:
    """Raise AccessError if another store of the same file has this shop."""
    if row.key in taken:
        raise AccessError(
            f"{row.name} is already the shop of another store in stores.yaml: {row.gid}",
            hint="list each shop once in stores.yaml",
        )


def _by_name(known: Iterable[KnownShop]) -> dict[ShopDomain, KnownShop]:
    """The shop that last answered at each domain."""
    return {row.name: row for row in sorted(known, key=lambda row: row.named_at)}


def _by_store(known: Iterable[KnownShop]) -> dict[StoreName, KnownShop]:
    """The last known shop of each store."""
    return {row.store: row for row in sorted(known, key=lambda row: row.named_at)}


def _has_moved(holder: KnownShop, known: Iterable[KnownShop]) -> bool:
    """Whether this shop has since answered at another domain."""
    return any(r.gid == holder.gid and r.name != holder.name and r.named_at > holder.named_at for r in known)
