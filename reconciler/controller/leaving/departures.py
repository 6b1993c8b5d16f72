"""Which users have left a store, and which users may adopt the customers of those who leave. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from datetime import datetime
from functools import reduce

from reconciler.controller.readers import Readers
from reconciler.core.decide.leaving.absence import is_living
from reconciler.core.decide.leaving.succession import claimants_of, email_keys_of, has_left, is_left_behind
from reconciler.core.decide.record import new_row
from reconciler.core.fields import normalise
from reconciler.core.fields.consent import last_consents, with_former
from reconciler.core.fields.desired import is_wanted
from reconciler.core.model.consent import field_of
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Applied, Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.spec import Spec
from reconciler.core.model.store import DESTRUCTIVE, Store
from reconciler.core.model.view import Subject


@frozen
class Departures:
    """As of one moment. Nothing is read where no other user's customer is met and no user leaves.

    Where an operator assigns customers, a user that neither the state nor the table knows has left as well.
    """

    store: Store
    readers: Readers
    now: datetime

    def formers(self, owners: Collection[ClerkUserId]) -> dict[ClerkUserId, Mapping]:
        """Those of these owners of customers who have left, with their mappings."""
        rows = self.readers.mappings.get(self.store.shop, sorted(owners)) if owners else {}
        if self.readers.assigned:
            unknown = {owner: new_row(owner, self.store, now=self.now) for owner in owners if owner not in rows}
            rows |= {user: replace(row, status="released") for user, row in unknown.items()}
        if not rows:
            return {}
        profiles = self.readers.profiles.get(list(rows))
        return {
            user: row
            for user, row in rows.items()
            if has_left(profiles.get(user), row, self.store, self.readers.absence, self.now)
        }

    def claimants(
        self, subjects: Sequence[Subject], current: MappingOf[ClerkUserId, Customer | None]
    ) -> dict[ClerkUserId, tuple[ClerkUserId, ...]]:
        """Who may adopt the customers of those of these users who leave, or are missing; where several are, none may yet."""
        leaving = {
            s.user: customer
            for s in subjects
            if is_living(s.mapping) and (customer := current.get(s.user)) is not None and self._leaves(s.profile)
        }
        mappings = {s.user: s.mapping for s in subjects}
        keys = {user: email_keys_of(customer, mappings[user]) for user, customer in leaving.items()}
        asked = frozenset[str]().union(*keys.values())
        written = _by_address(self.readers.profiles.sharing_email(asked) if asked else ())
        unwritten = _by_address(self._unwritten(asked))
        names = {p.clerk_user_id for found in (written, unwritten) for profiles in found.values() for p in profiles}
        rows = self.readers.mappings.get(self.store.shop, sorted(names)) if names else {}
        found: dict[ClerkUserId, tuple[ClerkUserId, ...]] = {}
        for user, customer in leaving.items():
            theirs, coming = ([p for key in keys[user] for p in each[key]] for each in (written, unwritten))
            claimants = claimants_of(user, keys[user], theirs, rows, self.store, unwritten=coming)
            if claimants and not is_left_behind(customer, None):
                found[user] = claimants
        return found

    def consents(
        self, subjects: Sequence[Subject], specs: MappingOf[ClerkUserId, Spec]
    ) -> dict[ClerkUserId, MappingOf[str, Applied]]:
        """The last consents of users who had the email of one of these users and left, by the user who has it now.

        Only a user with a yes that would be the first known consent is looked up. A customer tells of its former user
        only as long as it is there, and a yes that was copied from before must not subscribe who has unsubscribed since. A
        row that is missing counts as left: this can only forbid a grant.
        """
        asked = {s.user: key for s in subjects if (key := _asks(s, specs.get(s.user))) is not None}
        found = self.readers.mappings.by_emails(self.store.shop, sorted({*asked.values()})) if asked else {}
        users = {user for users in found.values() for user in users} - asked.keys()
        rows = self.readers.mappings.get(self.store.shop, sorted(users)) if users else {}
        rows = {user: row for user, row in rows.items() if row.status != "erased" and last_consents(row.applied)}
        profiles = self.readers.profiles.get(list(rows)) if rows else {}
        left = {
            user: row.applied
            for user, row in rows.items()
            if (profile := profiles.get(user)) is None
            or has_left(profile, row, self.store, self.readers.absence, self.now)
        }
        theirs = {
            user: [left[former] for former in found.get(key, ()) if former in left] for user, key in asked.items()
        }
        nothing: MappingOf[str, Applied] = {}
        return {user: reduce(with_former, formers, nothing) for user, formers in theirs.items() if formers}

    def _unwritten(self, keys: Collection[str]) -> Iterable[Profile]:
        """What Clerk says of users with these addresses and is not written yet; asked where a customer may be deleted."""
        if not keys or self.readers.unwritten is None or self.store.on_leave not in DESTRUCTIVE:
            return ()
        return self.readers.unwritten.unwritten(keys)

    def _leaves(self, profile: Profile | None) -> bool:
        return is_wanted(profile, self.store) is False


def _asks(subject: Subject, spec: Spec | None) -> str | None:
    """The email of a user with a yes that would be the first consent that is known of them; None of others."""
    said = spec.consents if spec is not None else {}
    known = subject.mapping.applied if subject.mapping is not None else {}
    if subject.profile is None or not any(each.granted and field_of(of) not in known for of, each in said.items()):
        return None
    return normalise.email_key(subject.profile.email)


def _by_address(profiles: Iterable[Profile]) -> defaultdict[str | None, list[Profile]]:
    found: defaultdict[str | None, list[Profile]] = defaultdict(list)
    for profile in profiles:
        found[normalise.email_key(profile.email)].append(profile)
    return found
