"""One claim, from the queue and back to it: only this module decides what becomes of the request.

Errors by who acts next:

- time: another attempt, after growing pauses;
- a person or the profile: a long pause, no hot loop;
- the store: suspended, the others continue;
- the profiles or our own database do not answer: wait, decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from reconciler.controller.context import StoreContext
from reconciler.controller.leaving.completeness import present_beside
from reconciler.controller.reconcile import reconcile
from reconciler.controller.step import ReconcileResult, verdict_of
from reconciler.core.model.backoff import delay_s, fraction_of
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import ADDRESS, DELETED, Claim, Request
from reconciler.errors import AccessError, CallError, ConfigError, LeaseLost, SourceError, TemporaryError
from reconciler.ports import Budgets, Clock, RequestQueue

NEXT_HOUR_SPREAD_S = 60.0  # what an hour's budget held back comes again within the first minute of the next


@frozen
class Pauses:
    """Seconds until the next reconcile of a user that needs more than one."""

    early_first_s: float = 1.0  # the row is older than the event: the next attempt, then later and later
    early_last_s: float = 120.0
    early_for_s: float = 600.0  # after this the row is taken as it is: the event's change may never reach it
    waiting_first_s: float = 60.0  # another user's customer has the address: by then, if no nudge comes before
    waiting_next_s: float = 300.0
    away_s: float = 5.0  # the profiles can't be read: the reconcile is put off, and counts no attempt
    permanent_first_s: float = 60.0  # a person or the profile must act: the first pause


class StoreProvider(Protocol):
    """What the worker needs: each store's context, and what holds under one claim."""

    def store_context(self, claim: Claim) -> AbstractContextManager[StoreContext | None]:
        """The context of this claim's store, under the claim; None where the store is not configured any more."""

    def is_gone(self, user: ClerkUserId, present: Callable[[], Sequence[ClerkUserId]]) -> bool | None:
        """Whether Clerk has this user no more; None where it can't say. TemporaryError: ask again later.

        `present` gives mapped users that have rows: Clerk has them, if its answers are about our users at all.
        """


@frozen
class Worker:
    """Works on claims, one at a time and any number side by side: it keeps nothing between them."""

    stores: StoreProvider
    queue: RequestQueue
    budgets: Budgets
    clock: Clock
    on_access_error: Callable[[StoreName, AccessError], None]
    pauses: Pauses = Pauses()

    def work(self, claim: Claim) -> ReconcileResult:
        """Reconcile, then tell the queue what becomes of the request."""
        try:
            with self.stores.store_context(claim) as context:
                if context is None:
                    self.queue.done([claim], self.clock.now())
                    return ReconcileResult("nothing")
                return self._end(claim, self._reconcile(claim, context))
        except ConfigError as error:  # of this store alone: a way to its token that can't be gone
            return self._end(claim, ReconcileResult("access", error=AccessError(error.message, hint=error.hint)))

    def _reconcile(self, claim: Claim, context: StoreContext) -> ReconcileResult:
        try:
            return reconcile(
                claim.clerk_user_id,
                self._after_deletion(claim, context),
                self.budgets,
                wants_updated_at=self._wanted(claim),
                is_gone=lambda user: self._is_gone_now(user, context),
            )
        except (LeaseLost, SourceError, CallError) as error:
            return ReconcileResult(verdict_of(error), error=error)
        finally:
            self._nudge(claim, context.losers)

    def _nudge(self, claim: Claim, users: Collection[ClerkUserId]) -> None:
        if users:
            self.queue.add([Request(claim.store, u) for u in sorted(users)], self.clock.now(), reason=ADDRESS)

    def _after_deletion(self, claim: Claim, context: StoreContext) -> StoreContext:
        """The same context, or what it is after a deletion that Clerk reported.

        The report is proof if the row is gone as well, or if Clerk's API no longer has the user.
        """
        user, readers = claim.clerk_user_id, context.readers
        if claim.reason != DELETED:
            return context
        row_stays = bool(readers.profiles.get([user]))
        if row_stays and not self.stores.is_gone(user, lambda: present_beside(user, context.store, readers)):
            return context
        return context.after_deletion(user, row_stays=row_stays)

    def _is_gone_now(self, user: ClerkUserId, context: StoreContext) -> bool | None:
        """What Clerk's API says of a user without a row, if it can be asked now: time proves it as well."""
        try:
            return self.stores.is_gone(user, lambda: present_beside(user, context.store, context.readers))
        except TemporaryError:
            return None

    def _wanted(self, claim: Claim) -> datetime | None:
        """How new the row must be; an event that is long past asks for nothing any more."""
        wanted = claim.wants_updated_at
        if wanted is None or claim.reason == DELETED:
            return None
        return wanted if self.clock.now() - wanted < timedelta(seconds=self.pauses.early_for_s) else None

    def _end(self, claim: Claim, result: ReconcileResult) -> ReconcileResult:
        """Tell the queue: done, or again after a pause. What an error ended nudges no other user."""
        if result.error is None:
            self._nudge(claim, result.nudge)
        match result.result:
            case "lost":
                return result
            case "source" | "access":
                if isinstance(result.error, AccessError):
                    self.on_access_error(claim.store, result.error)
                put_off = ReconcileResult(result.result, error=result.error)
                return self._later(claim, put_off, self.pauses.away_s, claim.reason)
            case "temporary" | "permanent":
                return self._retry(claim, result)
            case _:
                return self._end_without_error(claim, result)

    def _end_without_error(self, claim: Claim, result: ReconcileResult) -> ReconcileResult:
        now = self.clock.now()
        if result.early:
            return self._later(claim, result, self._early_s(claim, now), claim.reason)
        if result.again_s is not None:
            return self._later(claim, result, result.again_s, claim.reason)
        if result.result == "waiting":
            again = claim.reason == ADDRESS
            pause_s = self.pauses.waiting_next_s if again else self.pauses.waiting_first_s
            return self._later(claim, result, pause_s, ADDRESS)
        if result.over_budget:
            return self._later(claim, result, next_hour_s(claim, now), claim.reason)
        return replace(result, result="lost") if "lost" in self.queue.done([claim], now) else result

    def _early_s(self, claim: Claim, now: datetime) -> float:
        """The older the event is, the longer."""
        age_s = (now - claim.wants_updated_at).total_seconds() if claim.wants_updated_at else 0.0
        return min(max(age_s / 2, self.pauses.early_first_s), self.pauses.early_last_s)

    def _retry(self, claim: Claim, result: ReconcileResult) -> ReconcileResult:
        """Another attempt, later and later; what a person or the profile must mend begins with a longer pause."""
        attempt, error = claim.attempts + 1, result.error
        fraction = fraction_of(claim.store, claim.clerk_user_id, attempt)
        if result.result == "permanent":
            pause_s = delay_s(attempt, fraction, base_s=self.pauses.permanent_first_s)
        else:
            pause_s = delay_s(attempt, fraction)
        if isinstance(error, TemporaryError) and error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        if not self.queue.retry(claim, self.clock.now(), delay_s=pause_s, reason=claim.reason):
            return replace(result, result="lost", again_s=None)
        return replace(result, again_s=pause_s)

    def _later(self, claim: Claim, result: ReconcileResult, pause_s: float, reason: str) -> ReconcileResult:
        """Again after this pause, which counts as no attempt."""
        if not self.queue.postpone(claim, self.clock.now() + timedelta(seconds=pause_s), reason=reason):
            return replace(result, result="lost", again_s=None)
        return replace(result, again_s=pause_s)


def next_hour_s(claim: Claim, now: datetime) -> float:
    """Until the next hour's budget is there, and some seconds more, so that not all users come in one moment."""
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return (hour - now).total_seconds() + NEXT_HOUR_SPREAD_S * fraction_of(claim.store, claim.clerk_user_id)


def cap_of(workers: int, stores: int) -> int:
    """How many of one store's requests may be in progress at the same time: one store never takes all workers.

    Half of them are enough for what a shop's bucket lets through: ten writes a second, of a third of a second each.
    """
    return workers if stores <= 1 else (workers + 1) // 2
