"""The clients of one process, one a shop, shared by whoever holds them: what is known of a bucket outlives a reload.

A holder is one reading of the files. While any holds a client, it stays open; where the way to a shop has changed (a token,
a version), there is another client, on the same pace, since the bucket is the same and calls under way still draw on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from reconciler.core.model.ids import ShopDomain
from reconciler.shopify.client import ShopClient
from reconciler.shopify.pace import Pace

Place = tuple[ShopDomain, str | None]
Open = Callable[[Pace], ShopClient]


@dataclass(slots=True)
class _Kept:
    place: Place
    way: object
    client: ShopClient
    holders: set[Hashable] = field(default_factory=set)


class ShopClients:
    """Thread-safe. `place` is where the shop is, `way` all else that the connection is made of, to be compared."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: list[_Kept] = []

    def of(self, holder: Hashable, place: Place, way: object, open_: Open) -> ShopClient:
        """The client for this way to this shop, opened where there is none; the holder holds it from now on."""
        with self._lock:
            here = [kept for kept in self._kept if kept.place == place]
            found = next((kept for kept in here if kept.way == way), None)
            if found is None:
                found = _Kept(place, way, open_(here[-1].client.pace if here else Pace()))
                self._kept.append(found)
            found.holders.add(holder)
            return found.client

    def hold(self, holder: Hashable, place: Place, way: object) -> None:
        """Hold it as well, if it is there."""
        with self._lock:
            for kept in self._kept:
                if (kept.place, kept.way) == (place, way):
                    kept.holders.add(holder)

    def release(self, holder: Hashable) -> None:
        """Close what nobody else holds."""
        with self._lock:
            for kept in self._kept:
                kept.holders.discard(holder)
            idle = [kept for kept in self._kept if not kept.holders]
            self._kept = [kept for kept in self._kept if kept.holders]
        for kept in idle:
            kept.client.close()

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            kept, self._kept = self._kept, []
        for each in kept:
            each.client.close()

    def points_left(self) -> dict[ShopDomain, float]:
        """What each shop's bucket should hold now, of shops that have been asked by this process."""
        with self._lock:
            return {kept.place[0]: kept.client.pace.available() for kept in self._kept}
