"""Writes the profile rows that are due: claimed in the state, written to the table, and settled in the state again.

A row that the table refuses is a hold, and is tried again later and later; one that could not be written for now is
tried again soon. The fencing number of a claim, and the time that is left of its lease when the row is locked, keep a
writer that was frozen from writing over a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from reconciler.core.decide.profile_rows.merge import Values, clerk_values
from reconciler.core.decide.profile_rows.write import ADDRESSES, ClerkChange, RowWritten, WriteClaim, unique_keys_of
from reconciler.core.model.backoff import delay_s, fraction_of
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import AccessError, ConfigError, LeaseLost, PermanentError, ReconcilerError, TemporaryError
from reconciler.ports import Clock
from reconciler.ports.profile_rows import ProfileRows, ProfileWriteRepository

LEASE_S: Final = 20.0  # of the 30 s that a claim lasts: what is left is enough for a transaction to end
REFUSED_FIRST_S: Final = 60.0
REFUSED_LAST_S: Final = 3600.0
AWAY_FIRST_S: Final = 1.0
AWAY_LAST_S: Final = 60.0
CIRCLE_MAX: Final = 10  # users who are followed to find a circle of addresses
SHORTEST: Final = 3  # a value with fewer letters is not hidden in a message: it says nothing, and is in every word

Result = Literal["written", "kept", "deleted", "refused", "restored", "later", "lost"]


@frozen
class RowDone:
    """What became of one claim. `message`: why the table refuses the row, or a part of it."""

    user: ClerkUserId
    result: Result
    deleted: bool = False
    profile: Profile | None = None
    message: str = ""


class RowWriter:
    """Thread-safe. `ask` gives what Clerk's API says of a user, None for one that is gone; without a key it is None.

    `nudge` enqueues the users of rows: it is called before the claims are settled, so that a crash in between repeats both.
    """

    def __init__(
        self,
        rows: Callable[[], ProfileRows],
        book: ProfileWriteRepository,
        clock: Clock,
        *,
        ask: Callable[[ClerkUserId], Profile | None] | None,
        nudge: Callable[[Sequence[RowDone]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows, self._book, self._clock = rows, book, clock
        self._ask, self._nudge, self._monotonic = ask, nudge, monotonic

    def claim(self, limit: int, users: Collection[ClerkUserId] | None = None) -> tuple[Sequence[WriteClaim], float]:
        """Writes that are due, and until when (monotonic) they may be made."""
        until = self._monotonic() + LEASE_S
        return self._book.claim(now=self._clock.now(), limit=limit, users=users), until

    def write(self, claim: WriteClaim, until: float) -> RowDone:
        """Write one row, and settle it. TemporaryError: it is due again later. StateError."""
        try:
            return self._written(claim, lambda: self._refuse_late(claim.user, until))
        except LeaseLost:
            return RowDone(claim.user, "lost")
        except TemporaryError as error:
            self._put_off(claim, error)
            raise
        except (PermanentError, ConfigError) as error:
            if isinstance(error, PermanentError) and (done := self._write_circle(claim, until)) is not None:
                return done
            message = without_values(_said(error), claim.profile)
            return self._record_refusal(claim, message, last=None, missing=self._is_missing(claim.user))

    def release(self, claims: Sequence[WriteClaim]) -> None:
        """Give claims back that were not tried: they are due as before."""
        for claim in claims:
            self._book.postpone(claim, due_at=claim.due_at, failed=False)

    def write_now(self, profiles: Sequence[Profile]) -> list[RowDone]:
        """Accept and write these rows in one transaction: all, or with the error none. For a backfill.

        One that is refused by itself is a hold. A user that another writer has at this moment is left to it.
        """
        until = self._monotonic() + LEASE_S
        told = [ClerkChange(p.clerk_user_id, at=p.updated_at, profile=p) for p in profiles]
        accepted = self._book.accept(told, now=self._clock.now())
        claims = self._book.claim(now=self._clock.now(), limit=len(profiles), users=accepted, due=False)
        if len(claims) == 1:
            return [self.write(claims[0], until)]
        ready = [(c, c.profile) for c in claims if c.profile is not None and c.deleted_at is None]
        self.release([c for c in claims if c.profile is None or c.deleted_at is not None])
        writes = [claim.row_write(profile) for claim, profile in ready]
        try:
            rows = self._rows().write_together(writes, still_ours=lambda: self._refuse_late(None, until))
        except ReconcilerError:
            self.release([claim for claim, _ in ready])
            raise
        return self._record_rows(ready, rows)

    # --- addresses that pass from one user to another -------------------------------------------------------------

    def _write_circle(self, claim: WriteClaim, until: float) -> RowDone | None:
        """Write the rows of users who take each other's addresses together; None where this user is not one of them.

        Where a table lets only one row have an address, none of these rows could be written before the others.
        """
        try:
            users = self._circle(claim.user)
        except (TemporaryError, PermanentError, ConfigError):
            return None
        if not users:
            return None
        theirs = [user for user in users if user != claim.user]
        others = self._book.claim(now=self._clock.now(), limit=len(theirs), users=theirs, due=False)
        circle = sorted([claim, *others], key=lambda one: users.index(one.user))
        ready = [(one, one.profile) for one in circle if one.profile is not None and one.deleted_at is None]
        if len(ready) < len(users):  # another process has one of them
            self.release(others)
            return None
        writes = [one.row_write(profile) for one, profile in ready]
        try:
            rows = self._rows().exchange_addresses(writes, still_ours=lambda: self._refuse_late(None, until))
        except (LeaseLost, TemporaryError, PermanentError, ConfigError):
            self.release(others)
            return None
        return next(done for done in self._record_rows(ready, rows) if done.user == claim.user)

    def _circle(self, first: ClerkUserId) -> list[ClerkUserId]:
        """The users of circles in which each takes an address of the one before, from this user back to this user.

        In an order in which their rows can be written once the first has given up what they take. Empty if there is no
        circle, or no such order.
        """
        givers: dict[ClerkUserId, set[ClerkUserId]] = {}
        followed = [first]
        for user in followed:  # those who take from them are followed, too
            for taker in self._takers(user):
                givers.setdefault(taker, set()).add(user)
                followed += [taker] if taker not in followed and len(followed) <= CIRCLE_MAX else []
        circle = [first]
        for user in circle:
            circle += sorted(givers.get(user, set()).difference(circle))
        orders = (in_order(each, givers, circle) for each in circle) if len(circle) > 1 else ()
        return next(filter(None, orders), [])

    def _takers(self, user: ClerkUserId) -> list[ClerkUserId]:
        """The users with pending rows who take an address of this user's row. Without those that several take."""
        found = []
        for name, key in self._addresses_in_table(user).items():
            takers = [profile.clerk_user_id for profile in self._book.unwritten([key], name)]
            found += takers if len(takers) == 1 and takers != [user] else []
        return found

    def _addresses_in_table(self, user: ClerkUserId) -> dict[str, str]:
        row = self._rows().read([user]).get(user)
        return unique_keys_of(row.values) if row is not None and not row.deleted else {}

    def _free(self, given_up: Collection[Mapping[str, str]]) -> None:
        """Make refused writes due that take one of these addresses, which rows have just given up."""
        for name in ADDRESSES:
            keys = [addresses[name] for addresses in given_up if name in addresses]
            for profile in self._book.unwritten(keys, name) if keys else ():
                self._book.make_due(profile.clerk_user_id, now=self._clock.now())

    # --- parts ---------------------------------------------------------------------------------------------------

    def _written(self, claim: WriteClaim, still_ours: Callable[[], None]) -> RowDone:
        if claim.deleted_at is not None:
            return self._delete_row(claim, claim.deleted_at, still_ours)
        profile = claim.profile or self._ask_clerk(claim.user)
        if profile is None:  # what was to be written was erased, and Clerk can't be asked
            self._book.settle([(claim, None)], now=self._clock.now())
            return RowDone(claim.user, "kept")
        (row,) = self._rows().write_together([claim.row_write(profile)], still_ours=still_ours)
        if row.held is not None:
            return self._record_refusal(claim, row.held, clerk_values(profile), written=row.outcome == "written")
        return self._settle_rows([(claim, profile, row)])[0]

    def _delete_row(self, claim: WriteClaim, at: datetime, still_ours: Callable[[], None]) -> RowDone:
        try:
            there = self._ask_clerk(claim.user)
        except TemporaryError as error:  # it is Clerk that does not answer, not the table
            self._put_off(claim, error)
            return RowDone(claim.user, "later", deleted=True)
        if there is not None:
            self._book.restore(claim, ClerkChange(claim.user, there.updated_at, there), now=self._clock.now())
            return RowDone(claim.user, "restored")
        given_up = self._addresses_in_table(claim.user)
        self._rows().delete(claim.user, at=at, still_ours=still_ours)
        done = RowDone(claim.user, "deleted", deleted=True)
        self._nudge([done])
        self._book.settle([(claim, None)], now=self._clock.now())
        self._free([given_up])
        return done

    def _record_rows(self, ready: Sequence[tuple[WriteClaim, Profile]], rows: Sequence[RowWritten]) -> list[RowDone]:
        """Record rows that were written together, and return what became of each."""
        written = [(c, profile, row) for (c, profile), row in zip(ready, rows, strict=True)]
        done = self._settle_rows([one for one in written if one[2].held is None])
        held = [
            self._record_refusal(c, row.held, clerk_values(profile), written=row.outcome == "written")
            for c, profile, row in written
            if row.held is not None
        ]
        return [*done, *held]

    def _settle_rows(self, written: Sequence[tuple[WriteClaim, Profile, RowWritten]]) -> list[RowDone]:
        done = [RowDone(claim.user, row.outcome, profile=profile) for claim, profile, row in written]
        if done:
            self._nudge(done)
            lasts = [(c, c.last if row.outcome == "deleted" else clerk_values(profile)) for c, profile, row in written]
            self._book.settle(lasts, now=self._clock.now())
            self._free([_given_up(claim, profile) for claim, profile, _ in written])
        return done

    def _record_refusal(
        self, claim: WriteClaim, message: str, last: Values | None, *, missing: bool = False, written: bool = False
    ) -> RowDone:
        done = RowDone(claim.user, "refused", claim.deleted_at is not None, claim.profile, message)
        if written or not claim.attempts:  # a reconcile has the write tried again: not each try asks for a reconcile
            self._nudge([done])
        now = self._clock.now()
        due_at = now + timedelta(seconds=_pause_s(claim, REFUSED_FIRST_S, REFUSED_LAST_S))
        self._book.refuse(claim, message, missing=missing, last=last, now=now, due_at=due_at)
        if written and claim.profile is not None:
            self._free([_given_up(claim, claim.profile)])
        return done

    def _ask_clerk(self, user: ClerkUserId) -> Profile | None:
        """Ask Clerk's API for the user; None where it has no such user, or can't say. TemporaryError: no answer now."""
        if self._ask is None:
            return None
        try:
            return self._ask(user)
        except (AccessError, PermanentError):
            return None

    def _is_missing(self, user: ClerkUserId) -> bool:
        try:
            return not self._rows().read([user])
        except (TemporaryError, PermanentError, ConfigError):
            return False

    def _put_off(self, claim: WriteClaim, error: TemporaryError) -> None:
        pause_s = max(_pause_s(claim, AWAY_FIRST_S, AWAY_LAST_S), error.retry_after_s or 0.0)
        self._book.postpone(claim, due_at=self._clock.now() + timedelta(seconds=pause_s))

    def _refuse_late(self, user: ClerkUserId | None, until: float) -> None:
        if self._monotonic() > until:
            raise LeaseLost(f"the lease on {user or 'these'} has run out: this late write of profile rows is dropped")


def in_order(
    first: ClerkUserId, givers: Mapping[ClerkUserId, Collection[ClerkUserId]], users: Collection[ClerkUserId]
) -> list[ClerkUserId]:
    """This user, then each other one after all other `givers` of what they take; empty if there is no such order."""
    ordered, left = [first], sorted(set(users) - {first})
    while left:
        ready = [user for user in left if not set(givers[user]).intersection(left)]
        if not ready:
            return []
        ordered += ready
        left = [user for user in left if user not in ready]
    return ordered


def _given_up(claim: WriteClaim, profile: Profile) -> dict[str, str]:
    """The addresses that the row had by the last write, where it has others now."""
    now = unique_keys_of(clerk_values(profile))
    return {name: key for name, key in unique_keys_of(claim.last or {}).items() if now.get(name) != key}


def _pause_s(claim: WriteClaim, first_s: float, last_s: float) -> float:
    attempt = claim.attempts + 1
    return delay_s(attempt, fraction_of("profile", claim.user, attempt), base_s=first_s, cap_s=last_s)


def _said(error: ReconcilerError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def without_values(message: str, profile: Profile | None) -> str:
    """The database's words without what the user's row was to hold: a trigger may quote it."""
    if profile is None:
        return message
    values = [v for v in clerk_values(profile).values() if isinstance(v, str) and len(v) >= SHORTEST]
    for value in sorted(values, key=len, reverse=True):
        message = message.replace(value, "…")
    return message
