"""What `run` does by bulk in one store: goes on with what lies there, then takes many resyncs off the queue at once.

A look at a whole store may find a hundred thousand users for whom there is something to do, and workers send one by one.
Where that takes longer than bulk operations do, a turn takes them in batches, each under a claim as a worker has it: looks,
decides, writes the line down, and only then is the request done. So whoever dies in between leaves a request, a line or
both; the next turn goes on with the lines that were sent, and asks anew for the others. Nudges are never taken: a worker
looks at her beside the line, and what comes of that is put right when the line is answered.

Whoever can't go by bulk is handed back at the turn she had, for a reason for which no turn takes her again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial
from math import floor

from reconciler.controller.act import Step
from reconciler.controller.bulk_apply import BulkRun
from reconciler.controller.bulk_files import AT_ONCE_MAX, LINES_MAX
from reconciler.controller.bulk_lines import Rides
from reconciler.controller.carry import Door, Outcome, looked
from reconciler.controller.hands import BulkHands, Hands, LookAgain
from reconciler.controller.noticed import Noticed
from reconciler.controller.reconcile import granted, over_budget, waiting_on
from reconciler.controller.worker import ADDRESS, next_hour_s
from reconciler.core.decide.cost import MUTATION_POINTS
from reconciler.core.decide.record import after_look
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.request import Claim, Request
from reconciler.core.model.view import Decision
from reconciler.core.plan import chains
from reconciler.core.plan.forecast import BULK_LATENCY_S
from reconciler.errors import ReconcilerError, TemporaryError
from reconciler.ports import Budgets, RequestQueue

BATCH = 200
CLAIM_S = 120.0  # one batch of looks, at a shop that is busy; whoever is killed is taken over after so long
BY_BULK = "bulk"  # her line went without having been sent, or another began it: she is looked at
ONE_BY_ONE = "one by one"  # it can't go by bulk, or did not: the workers' own
TAKEN = frozenset({"create", "update", "profile", "shop", BY_BULK})
"""Why a resync was asked for, where what is to be done may go by bulk."""


@dataclass(frozen=True, slots=True)
class TurnDesk:
    """All that a turn works with. `owner` claims nothing else; `interval_s` is how long resyncs may take.

    `lines_max`: a turn takes no more than these and a batch; the next one takes the rest.
    """

    hands: Hands
    bulk: BulkHands
    queue: RequestQueue
    budgets: Budgets
    owner: str
    interval_s: float
    lines_max: int = AT_ONCE_MAX * LINES_MAX


def is_due(desk: TurnDesk) -> bool:
    """Whether lines or files of the store lie there, or so many resyncs wait that a turn is worth it."""
    shop, book = desk.hands.store.shop, desk.bulk.book
    return bool(book.bulk_files(shop) or book.bulk_waiting(shop)) or _is_worth_it(desk)


def bulk_turn(desk: TurnDesk) -> Iterator[Outcome]:
    """One turn; outcomes as they are known. Nothing where another process works with the store's files.

    Ended where `hands.ending` is over: what runs at the shop is gone on with by the next turn. AccessError where the shop
    lets us in no more, TemporaryError or PermanentError where this can't be done now: the next turn goes on.
    """
    return _Turn(desk).outcomes()


def _is_worth_it(desk: TurnDesk) -> bool:
    """Whether to send them one by one would take longer than bulk operations do, at the shop's own rate."""
    hands = desk.hands
    few = floor(BULK_LATENCY_S * hands.readers.customers.restore_rate() / MUTATION_POINTS)
    waiting = desk.queue.resyncs(hands.store.name, hands.clock.now(), reasons=TAKEN, at_most=few + 1)
    return waiting > few


def look_again(
    queue: RequestQueue, hands: Hands, interval_s: float, users: Collection[ClerkUserId], why: LookAgain
) -> None:
    """BulkHands.look_again by the queue. Whose line was dropped may go by bulk once more; a failure is the workers'.

    They may be very many: they come of age over the time that all who wait may take, and never before nudges in one block.
    """
    now, store = hands.clock.now(), hands.store.name
    if why == "address":
        queue.add([Request(store, user) for user in sorted(users)], now, reason=ADDRESS)
    elif users:
        waiting = queue.depth(store) + len(users)
        takes_s = 2 * waiting * MUTATION_POINTS / hands.readers.customers.restore_rate()
        reason = BY_BULK if why == "dropped" else ONE_BY_ONE
        queue.add_all(store, sorted(users), now, interval_s=max(interval_s, takes_s), reason=reason)


class _Turn:
    def __init__(self, desk: TurnDesk) -> None:
        self._noticed = Noticed(desk.hands.state)
        self._look_again = partial(look_again, desk.queue, desk.hands, desk.interval_s)
        bulk = replace(desk.bulk, look_again=self._look_again)
        self._hands = hands = replace(desk.hands, state=self._noticed, explicit=False, plan_digest="", bulk=bulk)
        self._desk, self._queue, self._store = desk, desk.queue, hands.store
        self._door = Door()
        self._run = BulkRun(hands, bulk, self._door)
        self._rides = Rides(hands)

    def outcomes(self) -> Iterator[Outcome]:
        with self._run.alone() as is_ours:
            if not is_ours:
                return
            yield from self._followed(self._looked_after(self._run.taken_over()))
            if self._door.shut is None and self._run.is_idle() and _is_worth_it(self._desk):
                self._take()
                yield from self._followed(self._run.worked())
        if self._door.shut is not None:
            raise self._door.shut

    def _looked_after(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Of what another began: it may have been decided by another config, so each is looked at once more."""
        users: list[ClerkUserId] = []
        try:
            for outcome in outcomes:
                users += [outcome.action.clerk_user_id] if outcome.result == "applied" else []
                if len(users) >= BATCH:
                    self._look_again(users, "dropped")
                    users = []
                yield outcome
        finally:
            self._look_again(users, "dropped")

    def _followed(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """As they come; who waits for an address that was given up, or has lost a customer, is nudged."""
        mappings, shop = self._hands.readers.mappings, self._store.shop
        for outcome in outcomes:
            waiting = waiting_on(outcome.freed, outcome.action, mappings, shop)
            losers, self._noticed.losers = self._noticed.losers, set()
            if waiting or losers:
                self._look_again({*waiting, *losers}, "address")
            yield outcome

    # --- from the queue into the book -----------------------------------------------------------------------------

    def _take(self) -> None:
        """Take batch by batch, until nobody waits or a turn is full. A shop that fails for a moment ends it, too."""
        lines = 0
        while lines < self._desk.lines_max:
            self._run.go_on()
            claims = self._queue.claim_resyncs(
                self._desk.owner,
                self._hands.clock.now(),
                store=self._store.name,
                reasons=TAKEN,
                limit=BATCH,
                lease_s=CLAIM_S,
            )
            if not claims:
                return
            try:
                steps = self._looked(claims)
            except ReconcilerError as error:
                self._queue.give_back(claims)
                if not isinstance(error, TemporaryError):
                    raise
                self._hands.warn(f"{self._store.name}: no more is taken to go by bulk now: {error.message}")
                return
            lines += self._sorted(steps, {claim.clerk_user_id: claim for claim in claims})

    def _looked(self, claims: Sequence[Claim]) -> list[Step]:
        """A look at each. Who was found to be made is looked for in the mirror, and in the shop where that can't tell."""
        by_mirror = self._hands_by_mirror
        made = [claim.clerk_user_id for claim in claims if claim.reason == "create"]
        others = [claim.clerk_user_id for claim in claims if claim.reason != "create"]
        steps = looked(made, by_mirror, explicit=False) if made else []
        return [*steps, *(looked(others, self._hands, explicit=False) if others else [])]

    @cached_property
    def _hands_by_mirror(self) -> Hands:
        return replace(self._hands, readers=replace(self._hands.readers, by_mirror=self._desk.bulk.by_mirror()))

    def _sorted(self, steps: Sequence[Step], claims: dict[ClerkUserId, Claim]) -> int:
        """Into lines who may go by bulk, out of the queue for whom there is nothing to do, back to it all others."""
        riding: list[Step] = []
        idle: list[Step] = []
        rest: list[Step] = []
        for step in steps:
            pile = riding if self._may_ride(step) else idle if _is_idle(step) else rest
            pile.append(step)
        going, over = self._within_budget(riding)
        self._run.enqueue(going)
        self._write_down(idle)
        now = self._hands.clock.now()
        self._queue.done([claims[step.subject.user] for step in (*going, *idle)], now)
        self._queue.give_back([claims[step.subject.user] for step in rest], reason=ONE_BY_ONE)
        for step in over:
            over_budget(step, self._hands)
            claim = claims[step.subject.user]
            self._queue.later(claim, now + timedelta(seconds=next_hour_s(claim, now)), reason=claim.reason)
        return len(going)

    def _may_ride(self, step: Step) -> bool:
        """Whether lines can say it, and it has nothing to do with another user's e-mail or phone."""
        decision, row = step.decision, step.subject.mapping
        if (
            not self._rides.may_ride(step)
            or step.blocked is not None
            or any(t.field == "email" for t in decision.taken)
        ):
            return False
        if row is not None and (_is_left(row, decision) or row.intent is not None):
            return False
        freed = chains.gives_up(decision)
        return not waiting_on(freed, step.action, self._hands.readers.mappings, self._store.shop)

    def _within_budget(self, steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
        """Those who may go in this hour, and those who are too many."""
        left = Counter(step.action.kind for step in steps)
        for kind, count in left.items():
            left[kind] = granted(kind, count, self._hands, self._desk.budgets)
        going: list[Step] = []
        over: list[Step] = []
        for step in steps:
            (going if left[step.action.kind] > 0 else over).append(step)
            left[step.action.kind] -= 1
        return going, over

    def _write_down(self, steps: Sequence[Step]) -> None:
        """What a look taught that led to no write; a row that somebody wrote since is left as it is."""
        now = self._hands.clock.now()
        found = [(step.subject.read, after_look(step.subject, step.decision, self._store, now=now)) for step in steps]
        self._hands.state.put_unmoved([(before, row) for before, row in found if row is not None])


def _is_idle(step: Step) -> bool:
    """Whether there is nothing to do, and nobody else is to be looked at because of it."""
    decision, row = step.decision, step.subject.mapping
    waits = step.blocked is not None or any(t.field == "email" for t in decision.taken)
    waited = row is not None and _is_left(row, decision)
    others = waits or waited or decision.successor is not None
    return decision.action is None and not others and not decision.missing


def _is_left(row: Mapping, decision: Decision) -> bool:
    """Whether the user waited for a value that is not waited for any more: who else waits for it is to be looked at."""
    return not {*row.awaited} <= {taken.key for taken in decision.taken}
