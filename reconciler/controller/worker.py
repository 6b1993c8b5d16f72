"""One claim worked on, from the queue and back to it: what becomes of the request is decided here, and nowhere else.

Errors by who acts next: time (another look, later and later), a person or the profile (a long pause, no hot loop), the
store (suspended, the others go on), the profiles or our own database away (wait, decide nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

from reconciler.controller.fenced import FencedWriter
from reconciler.controller.hands import Hands
from reconciler.controller.hidden import WithoutUsers
from reconciler.controller.reconcile import Reconciled, reconcile
from reconciler.core.backoff import delay_s, fraction_of
from reconciler.core.ids import ClerkUserId, StoreName
from reconciler.core.request import Claim, Request
from reconciler.errors import AccessError, LeaseLost, PermanentError, ReconcilerError, SourceError, TemporaryError
from reconciler.ports import Budgets, Clock, MappingWriter, RequestQueue

EARLY_FIRST_S = 1.0  # the row is older than the event: the next look, then later and later
EARLY_LAST_S = 30.0
EARLY_FOR_S = 600.0  # after this the row is taken as it is: the event's change may never reach it
WAITING_S = 60.0  # another user's customer has the address: looked at again by then, if nobody nudges before
AWAY_S = 5.0  # the profiles can't be read: the look is put off, and counts no attempt
PERMANENT_FIRST_S = 60.0  # a person or the profile must act: the first pause
DELETED = "user.deleted"  # the reason by which a request says that Clerk may not have her any more

Verdict = Literal[
    "in_sync", "applied", "held", "waiting", "early", "nothing",
    "temporary", "permanent", "access", "source", "lost",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Worked:
    """What became of one claim, for logs and counters. `retry_after_s` is None where the request is done."""

    claim: Claim
    verdict: Verdict
    result: Reconciled | None = None
    error: ReconcilerError | None = None
    retry_after_s: float | None = None


class Crew(Protocol):
    """What the worker is given: each store's hands, and what holds under one claim."""

    def hands(self, store: StoreName) -> AbstractContextManager[Hands | None]:
        """None where the store is not configured any more; good until the context ends."""

    def mappings_under(self, claim: Claim) -> MappingWriter:
        """Writes that raise LeaseLost where the claim no longer holds."""

    def is_gone(self, user: ClerkUserId) -> bool | None:
        """Whether Clerk has her no more; None where it can't be asked."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Works on claims, one at a time and any number side by side: it keeps nothing between them."""

    crew: Crew
    queue: RequestQueue
    budgets: Budgets
    clock: Clock
    on_access_error: Callable[[StoreName, AccessError], None]

    def work(self, claim: Claim) -> Worked:
        """Look, decide, act; then say to the queue what becomes of the request."""
        with self.crew.hands(claim.store) as hands:
            if hands is None:
                self.queue.done([claim], self.clock.now())
                return Worked(claim, "nothing")
            return self._looked(claim, hands)

    def _looked(self, claim: Claim, hands: Hands) -> Worked:
        try:
            result = reconcile(
                claim.clerk_user_id,
                self._under(claim, hands),
                self.budgets,
                wants_updated_at=self._wanted(claim),
            )
        except LeaseLost as lost:
            return Worked(claim, "lost", error=lost)
        except SourceError as away:
            return self._put_off(claim, "source", away, AWAY_S)
        except (TemporaryError, PermanentError, AccessError) as error:
            return self._failed(claim, error, None)
        if result.error is not None:
            return self._failed(claim, result.error, result)
        return self._ended(claim, result)

    def _under(self, claim: Claim, hands: Hands) -> Hands:
        """The hands that stop where the claim is lost, and that see what Clerk says of a deleted user."""

        def check() -> None:
            if not self.queue.still_mine(claim):
                raise LeaseLost(f"another replica has taken over {claim.clerk_user_id} in {claim.store}")

        readers = hands.readers
        if claim.reason == DELETED and self.crew.is_gone(claim.clerk_user_id):
            readers = replace(readers, profiles=WithoutUsers(readers.profiles, frozenset({claim.clerk_user_id})))
        return replace(
            hands,
            readers=readers,
            writer=FencedWriter(hands.writer, check),
            state=self.crew.mappings_under(claim),
            explicit=claim.explicit,
        )

    def _wanted(self, claim: Claim) -> datetime | None:
        """How new the row must be; an event that is long past asks for nothing any more."""
        wanted = claim.wants_updated_at
        if wanted is None or claim.reason == DELETED:
            return None
        return wanted if self.clock.now() - wanted < timedelta(seconds=EARLY_FOR_S) else None

    def _ended(self, claim: Claim, result: Reconciled) -> Worked:
        now = self.clock.now()
        if result.nudge:
            self.queue.add([Request(claim.store, u) for u in result.nudge], now, reason="address")
        if result.result == "early":
            age_s = (now - claim.wants_updated_at).total_seconds() if claim.wants_updated_at else 0.0
            pause_s = min(max(age_s / 2, EARLY_FIRST_S), EARLY_LAST_S)
            self.queue.later(claim, now + timedelta(seconds=pause_s), reason=claim.reason)
            return Worked(claim, "early", result, retry_after_s=pause_s)
        if result.result == "waiting":
            self.queue.later(claim, now + timedelta(seconds=WAITING_S), reason="address")
            return Worked(claim, "waiting", result, retry_after_s=WAITING_S)
        verdict: Verdict = "permanent" if result.result == "failed" else result.result
        if result.result == "failed":  # the world moved while it was looked at: another look tells
            return self._retry(claim, verdict, None, result, PERMANENT_FIRST_S)
        if "lost" in self.queue.done([claim], now):
            return Worked(claim, "lost", result)
        return Worked(claim, verdict, result)

    def _failed(self, claim: Claim, error: ReconcilerError, result: Reconciled | None) -> Worked:
        if isinstance(error, AccessError):
            self.on_access_error(claim.store, error)
            return self._put_off(claim, "access", error, AWAY_S)
        if isinstance(error, TemporaryError):
            return self._retry(claim, "temporary", error, result, None)
        return self._retry(claim, "permanent", error, result, PERMANENT_FIRST_S)

    def _retry(
        self,
        claim: Claim,
        verdict: Verdict,
        error: ReconcilerError | None,
        result: Reconciled | None,
        first_s: float | None,
    ) -> Worked:
        attempt = claim.attempts + 1
        fraction = fraction_of(claim.store, claim.clerk_user_id, attempt)
        pause_s = delay_s(attempt, fraction) if first_s is None else delay_s(attempt, fraction, base_s=first_s)
        if isinstance(error, TemporaryError) and error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        if not self.queue.retry(claim, self.clock.now(), delay_s=pause_s, reason=claim.reason):
            return Worked(claim, "lost", result, error)
        return Worked(claim, verdict, result, error, pause_s)

    def _put_off(self, claim: Claim, verdict: Verdict, error: ReconcilerError, pause_s: float) -> Worked:
        self.queue.later(claim, self.clock.now() + timedelta(seconds=pause_s), reason=claim.reason)
        return Worked(claim, verdict, error=error, retry_after_s=pause_s)


def cap_of(workers: int, stores: int) -> int:
    """How many of one store's requests may be in hand at once: one slow store never takes all workers."""
    return workers if stores <= 1 else max(1, workers - max(1, workers // 4))


__all__ = ["DELETED", "Crew", "Worked", "Worker", "cap_of"]
