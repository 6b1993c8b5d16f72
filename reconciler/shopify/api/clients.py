"""The clients of one process, one for each shop. They are shared, so that the state of a bucket survives a reload.

A holder is one load of the settings files. A client stays open while it has a holder. If the connection settings of a shop
change (a token, a version), there is another client with the same pace, as both use the same bucket.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.core.model.ids import ShopDomain
from reconciler.shopify.api.pace import Pace

if TYPE_CHECKING:
    from reconciler.shopify.api.client import ShopClient

Place = tuple[ShopDomain, str | None]
Open = Callable[[Pace], "ShopClient"]


@dataclass(slots=True)
class _Entry:
    place: Place
    connection: object
    client: ShopClient
    holders: set[Hashable] = field(default_factory=set)


class ShopClients:
    """The open clients. Thread-safe. `place` locates the shop; `connection` holds its other settings, for comparison."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: list[_Entry] = []

    def of(self, holder: Hashable, place: Place, connection: object, open_: Open) -> ShopClient:
        """The client of this shop with these settings, opened if there is none. Adds the holder."""
        with self._lock:
            same_place = [entry for entry in self._entries if entry.place == place]
            found = next((entry for entry in same_place if entry.connection == connection), None)
            if found is None:
                found = _Entry(place, connection, open_(same_place[-1].client.pace if same_place else Pace()))
                self._entries.append(found)
            found.holders.add(holder)
            return found.client

    def hold(self, holder: Hashable, place: Place, connection: object) -> None:
        """Add the holder to the client, if it is open."""
        with self._lock:
            for entry in self._entries:
                if (entry.place, entry.connection) == (place, connection):
                    entry.holders.add(holder)

    def release(self, holder: Hashable) -> None:
        """Remove the holder from every client, and close the clients that have no other."""
        with self._lock:
            for entry in self._entries:
                entry.holders.discard(holder)
            idle = [entry for entry in self._entries if not entry.holders]
            self._entries = [entry for entry in self._entries if entry.holders]
        for entry in idle:
            entry.client.close()

    def close(self) -> None:
        """Close all clients."""
        with self._lock:
            entries, self._entries = self._entries, []
        for each in entries:
            each.client.close()

    def points_left(self) -> dict[ShopDomain, float]:
        """The estimated points in each shop's bucket, for the shops that this process has called."""
        with self._lock:
            return {entry.place[0]: entry.client.pace.available() for entry in self._entries}
