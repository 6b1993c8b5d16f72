"""Which shop is which: by its gid, which never changes, while its myshopify name may.

The state keeps everything of a shop under one key, the name by which it met the shop first. Whatever the shop is called
later, in stores.yaml or by Shopify, leads to that key through its gid (decision 0024).
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.errors import AccessError

UNSEEN = ""  # the gid of a shop that the state has known since before gids were noted
Named = tuple[StoreName, ShopDomain]
"""A store of stores.yaml, and the name of its shop there."""


@dataclass(frozen=True, slots=True)
class KnownShop:
    """A name that a shop had: `gid` answered to `name` when the config of `store` led there, since `named_at`."""

    name: ShopDomain
    gid: str
    key: ShopDomain
    store: StoreName
    named_at: datetime

    def of(self, key: ShopDomain) -> KnownShop:
        """The same name of a shop that is kept under this key."""
        return replace(self, key=key)


@dataclass(frozen=True, slots=True)
class Place:
    """Under which key the state keeps a store's shop. Where it is not `sure`, the shop must be asked for its gid first."""

    key: ShopDomain
    sure: bool


def places(stores: Iterable[Named], known: Collection[KnownShop]) -> dict[StoreName, Place]:
    """Where the state keeps the shop of each store, as far as can be told without asking the shops."""
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
    place({n: last.get(n[0]) for n in left}, sure=False)  # the store's shop has another name
    place({n: holders.get(n[1]) for n in left}, sure=False)  # the store has another name, or the name another shop
    keys, taken = {row.key for row in known}, {each.key for each in found.values()}
    for store, name in left:
        met = name in keys
        found[store] = Place(ShopDomain(f"{name}#") if met else name, not met and keys <= taken)
    return found


def identified(named: Named, gid: str, known: Collection[KnownShop], *, now: datetime) -> KnownShop:
    """The shop with this gid, which answered to this name; AccessError where the name is known as that of another shop.

    Two known shops may have swapped names: that is so where the store's own shop answered.
    """
    store, name = named
    holder, own = _by_name(known).get(name), _by_store(known).get(store)
    rows = [row for row in known if row.gid == gid]
    is_own = own is not None and own.gid == gid
    if holder is not None and holder.gid not in {UNSEEN, gid} and not is_own and not _has_moved(holder, known):
        raise AccessError(
            f"{name} is known to the state as the shop {holder.gid} of store {holder.store}, and {gid} answers now: "
            "that is another shop",
            hint="correct shop, admin_url or auth of the store in stores.yaml; if the former shop was renamed, name its"
            " new shop there as well",
        )
    if rows:
        key = rows[0].key
    elif holder is not None and holder.gid == UNSEEN:
        key = holder.key
    else:
        key = ShopDomain(gid) if any(row.key == name for row in known) else name
    latest = max((row.named_at for row in known), default=now)
    return KnownShop(name, gid, key, store, max(now, latest + timedelta(microseconds=1)))


def is_news(row: KnownShop, known: Collection[KnownShop]) -> bool:
    """Whether this says more than the state knows: another name, or another store that leads there."""
    last = max((r for r in known if r.gid == row.gid), key=lambda r: r.named_at, default=None)
    return last is None or (last.name, last.key, last.store) != (row.name, row.key, row.store)


def check_key(row: KnownShop, key: ShopDomain, known: Collection[KnownShop]) -> None:
    """AccessError where a store was taken for another shop than it is."""
    if row.key == key:
        return
    others = sorted({f"{r.store} ({r.name})" for r in known if r.key == row.key and r.store != row.store})
    if others:
        raise AccessError(
            f"{row.name} is the same shop as that of store {', '.join(others)}: {row.gid}",
            hint="name each shop once in stores.yaml; a store that is renamed keeps what is known of its shop",
        )
    raise AccessError(
        f"{row.name} is the shop {row.gid}, and not the one that store {row.store} had until now",
        hint="it is asked again which shop it is: repeat the command",
    )


def claims_unseen(named: Named, known: Collection[KnownShop]) -> KnownShop | None:
    """The shop that the store had before gids were noted, where stores.yaml gives it another name now."""
    own = _by_store(known).get(named[0])
    return own if own is not None and own.gid == UNSEEN and own.name != named[1] else None


def check_single(row: KnownShop, taken: Container[ShopDomain]) -> None:
    """AccessError where another store of the same file has this shop."""
    if row.key in taken:
        raise AccessError(
            f"{row.name} is a shop that another store in stores.yaml has already: {row.gid}",
            hint="name each shop once in stores.yaml",
        )


def _by_name(known: Iterable[KnownShop]) -> dict[ShopDomain, KnownShop]:
    """Who answered last to each name."""
    return {row.name: row for row in sorted(known, key=lambda row: row.named_at)}


def _by_store(known: Iterable[KnownShop]) -> dict[StoreName, KnownShop]:
    """The shop that each store led to last."""
    return {row.store: row for row in sorted(known, key=lambda row: row.named_at)}


def _has_moved(holder: KnownShop, known: Iterable[KnownShop]) -> bool:
    """Whether this shop was seen under another name since."""
    return any(r.gid == holder.gid and r.name != holder.name and r.named_at > holder.named_at for r in known)
