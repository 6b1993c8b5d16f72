"""One claim, from the queue and back to it: only this module decides what becomes of the request.

Errors by who acts next: time (another attempt, later and later), a person or the profile (a long pause, no hot loop), the
store (suspended, the others continue), the profiles or our own database away (wait, decide nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

from reconciler.controller.context import StoreContext
from reconciler.controller.leaving.completeness import present_beside
from reconciler.controller.reconcile import ReconcileResult, reconcile
from reconciler.core.model.backoff import delay_s, fraction_of
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import ADDRESS, DELETED, Claim, Request
from reconciler.errors import (
    AccessError,
    ConfigError,
    LeaseLost,
    PermanentError,
    ReconcilerError,
    SourceError,
    TemporaryError,
)
from reconciler.ports import Budgets, Clock, RequestQueue

NEXT_HOUR_SPREAD_S = 60.0  # what an hour's budget held back comes again within the first minute of the next

Verdict = Literal[
    "in_sync", "applied", "held", "waiting", "early", "nothing",
    "temporary", "permanent", "access", "source", "lost",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds until the next reconcile of a user that needs more than one."""

    early_first_s: float = 1.0  # the row is older than the event: the next attempt, then later and later
    early_last_s: float = 120.0
    early_for_s: float = 600.0  # after this the row is taken as it is: the event's change may never reach it
    waiting_first_s: float = 60.0  # another user's customer has the address: by then, if no nudge comes before
    waiting_next_s: float = 300.0
    away_s: float = 5.0  # the profiles can't be read: the reconcile is put off, and counts no attempt
    permanent_first_s: float = 60.0  # a person or the profile must act: the first pause


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What became of one claim, for logs and counters. `retry_after_s` is None where the request is done."""

    claim: Claim
    verdict: Verdict
    result: ReconcileResult | None = None
    error: ReconcilerError | None = None
    retry_after_s: float | None = None


class StoreProvider(Protocol):
    """What the worker needs: each store's context, and what holds under one claim."""

    def store_context(self, claim: Claim) -> AbstractContextManager[StoreContext | None]:
        """The context of this claim's store, under the claim; None where the store is not configured any more."""

    def is_gone(self, user: ClerkUserId, present: Callable[[], Sequence[ClerkUserId]]) -> bool | None:
        """Whether Clerk has this user no more; None where it can't say. TemporaryError: ask again later.

        `present` gives mapped users that have rows: Clerk has them, if its answers are about our users at all.
        """


@dataclass(frozen=True, slots=True)
class Worker:
    """Works on claims, one at a time and any number side by side: it keeps nothing between them."""

    stores: StoreProvider
    queue: RequestQueue
    budgets: Budgets
    clock: Clock
    on_access_error: Callable[[StoreName, AccessError], None]
    pauses: Pauses = Pauses()

    def work(self, claim: Claim) -> WorkResult:
        """Reconcile, then tell the queue what becomes of the request."""
        try:
            with self.stores.store_context(claim) as context:
                if context is None:
                    self.queue.done([claim], self.clock.now())
                    return WorkResult(claim, "nothing")
                return self._reconcile(claim, context)
        except ConfigError as error:  # of this store alone: a way to its token that can't be gone
            return self._fail(claim, AccessError(error.message, hint=error.hint), None)

    def _reconcile(self, claim: Claim, context: StoreContext) -> WorkResult:
        try:
            result = reconcile(
                claim.clerk_user_id,
                self._after_deletion(claim, context),
                self.budgets,
                wants_updated_at=self._wanted(claim),
                is_gone=lambda user: self._is_gone_now(user, context),
            )
        except LeaseLost as lost:
            return WorkResult(claim, "lost", error=lost)
        except SourceError as away:
            return self._put_off(claim, "source", away)
        except (TemporaryError, PermanentError, AccessError) as error:
            return self._fail(claim, error, None)
        finally:
            self._nudge(claim, context.losers)
        if result.error is not None:
            return self._fail(claim, result.error, result)
        return self._finish(claim, result)

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

    def _finish(self, claim: Claim, result: ReconcileResult) -> WorkResult:
        now = self.clock.now()
        self._nudge(claim, result.nudge)
        if result.result == "failed":  # Shopify or the row changed during the reconcile: another one shows
            return self._retry(claim, "permanent", None, result, self.pauses.permanent_first_s)
        worked = WorkResult(claim, result.result, result)
        if result.early:
            return self._later(worked, self._early_s(claim, now), claim.reason)
        if result.again_s is not None:
            return self._later(worked, result.again_s, claim.reason)
        if result.result == "waiting":
            again = claim.reason == ADDRESS
            return self._later(worked, self.pauses.waiting_next_s if again else self.pauses.waiting_first_s, ADDRESS)
        if result.over_budget:
            return self._later(worked, next_hour_s(claim, now), claim.reason)
        return replace(worked, verdict="lost") if "lost" in self.queue.done([claim], now) else worked

    def _early_s(self, claim: Claim, now: datetime) -> float:
        """The older the event is, the longer."""
        age_s = (now - claim.wants_updated_at).total_seconds() if claim.wants_updated_at else 0.0
        return min(max(age_s / 2, self.pauses.early_first_s), self.pauses.early_last_s)

    def _fail(self, claim: Claim, error: ReconcilerError, result: ReconcileResult | None) -> WorkResult:
        if isinstance(error, AccessError):
            self.on_access_error(claim.store, error)
            return self._put_off(claim, "access", error)
        if isinstance(error, TemporaryError):
            return self._retry(claim, "temporary", error, result, None)
        return self._retry(claim, "permanent", error, result, self.pauses.permanent_first_s)

    def _retry(
        self,
        claim: Claim,
        verdict: Verdict,
        error: ReconcilerError | None,
        result: ReconcileResult | None,
        first_s: float | None,
    ) -> WorkResult:
        attempt = claim.attempts + 1
        fraction = fraction_of(claim.store, claim.clerk_user_id, attempt)
        pause_s = delay_s(attempt, fraction) if first_s is None else delay_s(attempt, fraction, base_s=first_s)
        if isinstance(error, TemporaryError) and error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        if not self.queue.retry(claim, self.clock.now(), delay_s=pause_s, reason=claim.reason):
            return WorkResult(claim, "lost", result, error)
        return WorkResult(claim, verdict, result, error, pause_s)

    def _put_off(self, claim: Claim, verdict: Verdict, error: ReconcilerError) -> WorkResult:
        return self._later(WorkResult(claim, verdict, error=error), self.pauses.away_s, claim.reason)

    def _later(self, worked: WorkResult, pause_s: float, reason: str) -> WorkResult:
        due_at = self.clock.now() + timedelta(seconds=pause_s)
        if not self.queue.postpone(worked.claim, due_at, reason=reason):
            return replace(worked, verdict="lost")
        return replace(worked, retry_after_s=pause_s)


def next_hour_s(claim: Claim, now: datetime) -> float:
    """Until the next hour's budget is there, and some seconds more, so that not all users come in one moment."""
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return (hour - now).total_seconds() + NEXT_HOUR_SPREAD_S * fraction_of(claim.store, claim.clerk_user_id)


def cap_of(workers: int, stores: int) -> int:
    """How many of one store's requests may be in work at the same time: one store never takes all workers.

    Half of them are enough for what a shop's bucket lets through: ten writes a second, of a third of a second each.
    """
    return workers if stores <= 1 else (workers + 1) // 2


__all__ = ["ADDRESS", "DELETED", "Pauses", "StoreProvider", "WorkResult", "Worker", "cap_of"]
