"""Apply a plan: each action is checked against the row and the customer, executed, and recorded before the next.

Everything may be done twice, and the process may die between any two lines. So a create is sent by its back-link, and an
adoption writes the back-link first. A step that could be mistaken for an edit is recorded as an intent before it is sent.
The next plan continues from what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Generator, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from itertools import groupby

from reconciler.controller.apply import joint_metafields
from reconciler.controller.apply.preconditions import Preconditions, still_turns
from reconciler.controller.context import BulkPart, Earlier, StoreContext
from reconciler.controller.execute import execute
from reconciler.controller.observe import observe_users
from reconciler.controller.parallel import Cancelled, run_parallel
from reconciler.controller.record import events_found, record_decisions, record_failures
from reconciler.controller.step import Outcome, Step, StoreAccess, failure, not_tried
from reconciler.controller.wait_circles import park, unpark
from reconciler.core.fields.consent import last_consents
from reconciler.core.model.action import Action, Hold
from reconciler.core.model.batches import batches
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.view import Subject
from reconciler.core.plan import chains
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.series import kept
from reconciler.errors import AccessError, CallError, PermanentError, TemporaryError
from reconciler.ports import StoreFacts

BATCH = 100
RECORDS = 500


def apply_plan(scan_result: ScanResult, context: StoreContext, *, fresh: bool) -> Iterator[Outcome]:
    """Apply a store's plan; yield outcomes as they are known. A user with a failed action is pending from then on."""
    failed: list[Outcome] = []
    outcomes = _apply(scan_result, context, fresh=fresh)
    try:
        for outcome in outcomes:
            if outcome.result != "applied":
                failed.append(outcome)
            if len(failed) >= RECORDS:
                record_failures(failed, context)
                failed = []
            yield outcome
    finally:
        outcomes.close()
        if failed:
            record_failures(failed, context)


def _apply(scan_result: ScanResult, context: StoreContext, *, fresh: bool) -> Generator[Outcome]:
    """Apply a store's plan; outcomes come as they are known.

    With `fresh` the plan was made just now, and creates are sent without observing the shop again as long as it is
    young: their key makes that harmless. Otherwise each action is checked against row and customer first. Who waits
    for another's address goes in a later round. A store that refuses access stops there: the rest is reported as
    not tried. What is large enough goes by bulk operations, where the context has a bulk tier, and the rest beside it.

    The plan may be more than memory holds: it is read from front to back, more than once, and never whole.
    """
    access = StoreAccess()
    bulk = context.bulk.begin(context, access) if context.bulk is not None else None
    before: Earlier = bulk.resume() if bulk is not None else {}
    _record_scan(scan_result, context, but=before.keys())
    left = scan_result.plan.actions
    if before:
        yield from (Outcome(a, "applied") for a in left if _is_done(a, before))
        left = kept(left, lambda action: not _is_done(action, before))
    preconditions = partial(Preconditions, scan_result, context, fresh=fresh, changed=before)  # one for each thread
    yield from _apply_with_bulk(left, bulk, preconditions, context, access)
    if not fresh and access.refused is None:
        _record_held(scan_result.plan.holds, context)


def _apply_with_bulk(
    actions: Collection[Action],
    bulk: BulkPart | None,
    preconditions: Callable[..., Preconditions],
    context: StoreContext,
    access: StoreAccess,
) -> Iterator[Outcome]:
    """By bulk what is worth it, and beside it one by one what is left: two threads, and no user is in both.

    A user who waits for another's address, or is waited for, is executed singly in turn.
    """
    run, moving = _SinglePart(context, preconditions, access), chains.dependent_actions(actions)
    by_bulk = bulk.selection(actions, but=moving) if bulk is not None else None
    if bulk is None or by_bulk is None:
        yield from _apply_singly(actions, moving, run, context)
        return
    in_bulk = partial(bulk.apply_actions, kept(actions, by_bulk), preconditions(by_mirror=bulk.by_mirror).of)
    left = kept(actions, lambda action: not by_bulk(action))
    if next(iter(left), None) is None:
        yield from in_bulk()
        return
    one_by_one = partial(_apply_singly, left, moving, run, context)
    halves: dict[str, Callable[[], Iterator[Outcome]]] = {"bulk": in_bulk, "one by one": one_by_one}
    for _, outcome in run_parallel(
        halves,
        context.cancellation,
        at_once=2,
        name=f"halves-{context.store.name}",
        one_ends_all=True,
        threads=context.threads,
    ):
        yield outcome


def _apply_singly(
    actions: Collection[Action], moving: MappingOf[ClerkUserId, Action], run: _SinglePart, context: StoreContext
) -> Iterator[Outcome]:
    """In rounds, so that a user who waits for another's address comes later; in batches, with a few calls at a time."""
    rounds = chains.waves(moving)
    with context.threads.pool(context.workers, f"apply-{context.store.name}") as pool:
        run.park(moving)
        at_once = (a for a in actions if not rounds.get(a.clerk_user_id))
        try:
            for batch in batches(at_once, BATCH):
                yield from run.batch(batch, pool)
            for number in range(1, max(rounds.values(), default=0) + 1):
                due = [a for a in moving.values() if rounds[a.clerk_user_id] == number]
                for batch in batches(due, BATCH):
                    yield from run.batch(batch, pool)
        except (Cancelled, GeneratorExit):
            run.unpark()
            raise
        run.unpark()


def _is_done(action: Action, before: Earlier) -> bool:
    """Whether a resumed run has just done this for the same row."""
    return before.get(action.clerk_user_id) == action.profile_digest


class _SinglePart:
    """One plan in one store, executed one by one: what stops it, and which users gave up values for a moment."""

    def __init__(self, context: StoreContext, preconditions: Callable[[], Preconditions], access: StoreAccess) -> None:
        self._context = context
        self._recheck = preconditions()
        self._access = access
        self._parked: dict[ClerkUserId, dict[str, str]] = {}

    def batch(self, batch: Sequence[Action], pool: Executor) -> Iterator[Outcome]:
        self._context.cancellation.check()
        steps: Sequence[Step | Outcome] = ()
        if self._access.refused is None:
            try:
                steps = self._recheck.of(batch, parked=self._parked)
            except AccessError as error:
                self._access.refused = error
            except TemporaryError as error:
                yield from (failure(a, error) for a in batch)
                return
        if self._access.refused is not None:
            yield from (not_tried(a, self._access.refused) for a in batch)
            return
        yield from (s for s in steps if isinstance(s, Outcome))
        yield from self._together([s for s in steps if isinstance(s, Step)], pool)

    def _together(self, steps: Sequence[Step], pool: Executor) -> Iterator[Outcome]:
        """Each action by itself; of new customers the metafields in as few calls as there can be."""
        for step in steps:
            step.puts_off = step.action.kind == "create"
        leaving = [(s.subject, s.decision.customer) for s in steps if s.action.kind == "release"]
        if leaving:
            self._context.successors.expect(
                [(subject, customer) for subject, customer in leaving if customer is not None]
            )
        put_off: list[Step] = []
        for step, outcome in zip(steps, pool.map(self._execute, steps), strict=True):
            if outcome is None:
                continue
            if outcome.result == "applied" and step.rest is not None:
                put_off.append(step)
                continue
            if outcome.result == "applied":
                self._parked.pop(outcome.action.clerk_user_id, None)
            yield outcome
        for outcome in joint_metafields.send_joint(put_off, self._context, pool) if put_off else ():
            if isinstance(outcome.error, AccessError):
                self._access.refused = self._access.refused or outcome.error
            yield outcome

    def _execute(self, step: Step) -> Outcome | None:
        """One action, if no other has found the store closed meanwhile; None where it should end before this one."""
        if self._context.cancellation.is_cancelled:
            return None
        if self._access.refused is not None:
            return not_tried(step.action, self._access.refused)
        outcome = execute(step, self._context)
        if isinstance(outcome.error, AccessError):
            self._access.refused = outcome.error
        return outcome

    def park(self, actions: MappingOf[ClerkUserId, Action]) -> None:
        """Break the circles: some give their values up for a moment, if nothing has moved since the plan was made.

        Where that fails, each action in it is refused in turn, and the next plan shows what is due.
        """
        for circle in chains.connected_circles(actions):
            with self._forgiving():
                steps = observe_users([a.clerk_user_id for a in circle], self._context, explicit=self._context.explicit)
                if not still_turns(circle, steps):
                    continue
                fields = {a.clerk_user_id: a.park for a in circle if a.park}
                for step in (s for s in steps if s.subject.user in fields):
                    found = {f: step.decision.value(f) for f in fields[step.subject.user]}
                    self._parked[step.subject.user] = {f: v for f, v in found.items() if v is not None}
                    park(step, self._context, fields[step.subject.user])

    def unpark(self) -> None:
        """Give values back to customers that got no others; if not here, the next plan does."""
        for user, values in self._parked.items():
            with self._forgiving():
                step = observe_users([user], self._context, explicit=False)[0]
                customer = step.decision.customer
                missing = {f: v for f, v in values.items() if customer is not None and getattr(customer, f) is None}
                if missing:
                    unpark(step, self._context, missing)

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except AccessError as error:
            self._access.refused = self._access.refused or error
        except (TemporaryError, PermanentError) as error:
            self._context.warn(f"{self._context.store.name}: an email or phone could not be parked: {error.message}")


def _record_scan(scan_result: ScanResult, context: StoreContext, *, but: Container[ClerkUserId]) -> None:
    """Record what the scan alone has shown: followed back-links, holds, what is in sync."""
    for rows in batches(scan_result.rows, RECORDS):
        known = [row for row in rows if row.clerk_user_id not in but]
        context.state.put_many(known, *_events_found(known, context))
    if scan_result.whole and scan_result.plan.error is None:
        now = context.clock.now()
        facts = StoreFacts(context.store.name, context.store.shop, profiles=scan_result.profiles, last_sweep_at=now)
        context.state.put_facts(facts)


def _events_found(rows: Sequence[Mapping], context: StoreContext) -> Iterator[Event]:
    """The events of consents that were written before and not recorded, and that these rows have as ours."""
    users = [row.clerk_user_id for row in rows if last_consents(row.applied)]
    stored = context.readers.mappings.get(context.store.shop, users) if users else {}
    for row in rows:
        if (before := stored.get(row.clerk_user_id)) is not None:
            subject = Subject(row.clerk_user_id, None, row, stored=before)
            yield from events_found(subject, context.store, context.clock.now())


def _record_held(holds: Iterable[Hold], context: StoreContext) -> None:
    """Observe again the users that a plan which was not made just now holds, and record what is true of them.

    Not those that a guard withholds: that is of the plan, and not of its users.
    """
    users = (user for user, _ in groupby(h.clerk_user_id for h in holds if h.reason != "GuardExceeded"))
    try:
        for batch in batches(users, BATCH):
            steps = observe_users(batch, context, explicit=context.explicit)
            idle = [step for step in steps if step.decision.action is None]
            record_decisions(idle, context.store, context.state, context.clock.now())
    except CallError as error:
        context.warn(f"{context.store.name}: held users could not be observed again: {error.message}")
