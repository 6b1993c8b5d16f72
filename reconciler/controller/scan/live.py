"""Who has moved by the shop itself: each customer that was found equal is read now, and compared as a fingerprint.

The proof is that of the mirror (stream.py), with what the shop shows now in the place of a copy. Neither the row nor the
policy nor the customer has changed since it was decided that nothing was to be done, so nothing is decided again. All other
users are observed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from reconciler.controller.readers import Readers
from reconciler.controller.scan.stream import Moved, Watch, moved_by
from reconciler.core.fields.fingerprint import observed_fp
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.core.model.store import Store
from reconciler.errors import PartUnreadable, PermanentError
from reconciler.ports import CustomerReader, MappingReader, Pair, RowReader


def find_moved_live(
    store: Store, readers: Readers, rows: RowReader, *, progress: Callable[[int], None] | None
) -> Moved:
    """One pass for this store; memory grows with neither the rows nor those who have moved."""
    pairs = _PairsByShop(readers.mappings, readers.customers)

    def confirm(users: Sequence[ClerkUserId]) -> AbstractSet[ClerkUserId]:
        same = pairs.same_now(users)
        if progress is not None:
            progress(len(same))
        return same

    return moved_by([Watch(store, pairs, confirm=confirm)], rows)[0]


class _PairsByShop:
    """ports.RangeReader by what was found equal. `same_now` says which users the shop still shows so."""

    def __init__(self, mappings: MappingReader, customers: CustomerReader) -> None:
        self._mappings, self._customers = mappings, customers
        self._found: dict[ClerkUserId, tuple[CustomerId, int]] = {}  # of the last range

    def pairs(
        self, shop: ShopDomain, config: str, *, after: ClerkUserId | None, upto: ClerkUserId | None, limit: int
    ) -> list[Pair]:
        rows = self._mappings.found_equal(shop, config, after=after, upto=upto, limit=limit)
        self._found = {
            user: (customer, fp) for user, _, customer, fp in rows if customer is not None and fp is not None
        }
        return [(user, fp if user in self._found else None) for user, fp, _, _ in rows]

    def same_now(self, users: Sequence[ClerkUserId]) -> AbstractSet[ClerkUserId]:
        """Return the users of the last range that the shop still shows with the fingerprint they were found equal with.

        No user, if the shop refuses the question for one of them: those who are observed are read by smaller questions.
        """
        found = {user: self._found[user] for user in users}
        try:
            shown = self._customers.by_ids([customer for customer, _ in found.values()]) if found else {}
        except (PermanentError, PartUnreadable):
            return frozenset()
        now = {customer: observed_fp(each) for customer, each in shown.items()}
        return {user for user, (customer, fp) in found.items() if now.get(customer) == fp}

    def mapped_users(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[ClerkUserId]:
        return self._mappings.mapped_users(shop, after=after, limit=limit)
