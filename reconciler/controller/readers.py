"""What may be read to decide about the users of one store: profiles, customers, mappings, and what proves an absence."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import field

from reconciler.core.decide.leaving.absence import PLANNED, Absence
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.ports import CustomerReader, MappingReader, PairReader, ProfileReader
from reconciler.ports.profile_rows import UnwrittenReader


@frozen
class Readers:
    """All that may be read to decide about users of one store.

    With `pairs`, a scan of all users passes over those that were equal and have not moved since, by the mirror. With
    `by_mirror`, the others are observed in the mirror first, and in the shop where that is not enough.
    `absence`: what proves that a user without a row has left; the default is for plans that a person reads. `assigned`: the
    customers that an operator names for users. `unwritten`: rows that are still to be written, of users who may come after
    one with a customer that is to be deleted.
    """

    profiles: ProfileReader
    customers: CustomerReader
    mappings: MappingReader
    pairs: PairReader | None = None
    by_mirror: CustomerReader | None = None
    absence: Absence = PLANNED
    assigned: MappingOf[ClerkUserId, CustomerId] = field(default_factory=dict)
    unwritten: UnwrittenReader | None = None
