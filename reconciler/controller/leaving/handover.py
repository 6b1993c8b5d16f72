"""Between a user who leaves and the one who adopts the customer: the state lets one of both act, never both.

A release is declared in the mapping of its user before its first call, and only where the mapping still holds the customer.
An adoption marks that mapping as released before its first call, and only where no release is declared there. The second
of both finds the mapping moved, and is decided again. Before a customer is deleted or erased, the profiles are read once
more for users who may adopt it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from reconciler.controller.leaving.departures import Departures
from reconciler.core.decide.leaving.absence import is_living
from reconciler.core.decide.leaving.succession import is_leaving
from reconciler.core.decide.record import tombstone_of
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId, ShopDomain
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.reasons import named
from reconciler.core.model.view import Subject
from reconciler.errors import TemporaryError
from reconciler.ports import Clock, MappingReader, MappingWriter

EACH = 100  # so many releases of a plan ask for themselves; the rest ask together, which spares the app's table
ASKED_FOR_S = 1.0  # how long an answer that was given to many is used


class Overtaken(TemporaryError):
    """Another user or process came first to this customer, or may adopt it: nothing was sent, observe again."""


def begin_release(row: Mapping, decided_on: Mapping | None, mappings: MappingReader, state: MappingWriter) -> None:
    """Write down that this user is about to be released: `row` names the customer. Overtaken where the user lost it.

    `decided_on`: the mapping as it was read. While it is the same, the customer that was found is the user's, whatever it
    names: the write that made the customer may not have been recorded.
    """
    user, customer = row.clerk_user_id, row.customer_id
    before = _row_of(user, row.shop, mappings)
    known = before is not None and (before.customer_id == customer or before == decided_on)
    if before is None or not is_living(before) or not known:
        raise Overtaken(f"{customer} is not the customer of {user} any more", hint="the next plan shows what is due")
    state.put_unchanged([(before, row)])
    after = _row_of(user, row.shop, mappings)
    if after is None or not is_leaving(after) or after.customer_id != customer:
        raise Overtaken(f"the mapping of {user} was written by another process meanwhile", hint="reconciler plan")


def end_former(
    user: ClerkUserId, shop: ShopDomain, state: MappingWriter, mappings: MappingReader, clock: Clock
) -> None:
    """Mark a user who left as released, just before another user adopts the customer; the row keeps it until then.

    Overtaken where the release of that user is under way.
    """
    row = _row_of(user, shop, mappings)
    if row is None or not is_living(row):
        return
    if is_leaving(row):
        raise Overtaken(f"{user} is being released, and {row.customer_id} with that user", hint="reconciler plan")
    state.put_unchanged([(row, tombstone_of(row, now=clock.now()))])
    after = _row_of(user, shop, mappings)
    if after is not None and is_living(after):
        raise Overtaken(f"the mapping of {user} was written by another process meanwhile", hint="reconciler plan")


def _row_of(user: ClerkUserId, shop: ShopDomain, mappings: MappingReader) -> Mapping | None:
    return mappings.get(shop, [user]).get(user)


@dataclass(slots=True)
class Successors:
    """Who may adopt the customers of users who are released now; asked of the profiles just before each is deleted.

    The first hundred releases ask one by one. After them users who were named together (`expect`) are one question; its
    answer is used for a second. `lock` is held while the profiles are asked: who else wants to know waits for the answer.
    """

    seconds: Callable[[], float] = time.monotonic
    lock: AbstractContextManager[object] = field(default_factory=threading.Lock)
    _expected: dict[ClerkUserId, tuple[Subject, Customer]] = field(default_factory=dict)
    _found: dict[ClerkUserId, tuple[ClerkUserId, ...]] = field(default_factory=dict)
    _asked_at: float = 0.0
    _questions: int = 0

    def expect(self, leaving: Sequence[tuple[Subject, Customer]]) -> None:
        """These are asked about together, as soon as the first of them is."""
        with self.lock:
            self._expected = {subject.user: (subject, customer) for subject, customer in leaving}
            self._found = {}

    def refuse_succeeded(self, subject: Subject, customer: Customer, departures: Departures) -> None:
        """Overtaken where another user may adopt this customer, as of now."""
        with self.lock:
            by_itself = self._questions < EACH
            is_old = self.seconds() - self._asked_at > ASKED_FOR_S
            if by_itself or is_old or subject.user not in self._found:
                self._ask({**({} if by_itself else self._expected), subject.user: (subject, customer)}, departures)
            self._expected.pop(subject.user, None)
            claimants = self._found[subject.user]
        if claimants:
            have = "has" if len(claimants) == 1 else "have"
            message = (
                f"{named(claimants)} {have} the same verified email, and may adopt {customer.id}: it is not deleted"
            )
            raise Overtaken(message, hint="the next plan shows the adoption")

    def _ask(self, asked: MappingOf[ClerkUserId, tuple[Subject, Customer]], departures: Departures) -> None:
        """One question for all of these."""
        self._asked_at = self.seconds()
        self._questions += 1
        found = departures.claimants([s for s, _ in asked.values()], {user: c for user, (_, c) in asked.items()})
        self._found = {user: found.get(user, ()) for user in asked}
