"""Large plans by bulk operations: recorded, uploaded, waited for, and read back, even if a process dies in between.

The state has the files and each user's next write (ports.BulkRepository). What is not there was not sent, and what was sent
stays there until it is answered. A run that finds such files resumes them first, so an operation may be run twice, as each
of its writes may. A line that was refused, or has no answer, is decided as a single call's is. So is one with a row that
changed meanwhile: it may have been written after what another writer wrote for the new row.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Container, Generator, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle

from reconciler.controller.bulk.context import BulkContext
from reconciler.controller.bulk.files import PAUSE_MAX_S, BulkFiles, file_sizes
from reconciler.controller.bulk.lines import BulkLines, BulkStep, select_for_bulk
from reconciler.controller.context import Check, Earlier, StoreContext
from reconciler.controller.execute import check_answer, check_owner, claim_written, execute, note_answer, row_after
from reconciler.controller.observe import observe_users
from reconciler.controller.scan.stream import frozen_garbage
from reconciler.controller.step import Outcome, Step, StoreAccess, failure, not_tried
from reconciler.core.model.action import Action
from reconciler.core.model.batches import batches
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.mapping import Mapping
from reconciler.core.plan import chains
from reconciler.errors import AccessError, AnswerLost, PermanentError, ReconcilerError, Refused, TemporaryError
from reconciler.ports import METAFIELDS_MAX, BulkAnswer, BulkFile, BulkLine, BulkState, CustomerReader

BATCH = 200
FAILURE_PAUSE_S = 1.0  # after the first failure; after each next one half as long again
FAILURES_MAX = 8  # in a row
NO_ANSWER = "the bulk operation gave no answer to this line"
ROW_MOVED = "the row has changed while its line was under way"

Enqueue = Callable[[], Generator[Outcome, None, int]]
"""Lets the lines of one more file wait. Returns how many it has; 0: there are no more actions."""


class _Names:
    """Very many users as hashes of eight bytes: of a million, one is taken for another in one run of many millions."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, user: ClerkUserId) -> None:
        self._hashes.append(hash(user))

    def others(self, actions: Collection[Action]) -> Iterator[Action]:
        """Those of users who are not in here."""
        known = array("q", sorted(self._hashes))

        def is_known(action: Action) -> bool:
            at = bisect_left(known, hash(action.clerk_user_id))
            return at < len(known) and known[at] == hash(action.clerk_user_id)

        return (action for action in actions if not is_known(action))


@dataclass(slots=True)
class _Batch:
    """What the answers to some lines say was written: rows and events, the ended actions, and the next lines."""

    rows: list[Mapping] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    done: list[Outcome] = field(default_factory=list)
    more: list[BulkLine] = field(default_factory=list)


class BulkRun:
    """The part of one store's plan that goes by bulk. `access` is refused where the store can't be used any more."""

    def __init__(self, context: StoreContext, bulk: BulkContext, access: StoreAccess) -> None:
        self._context, self._access = context, access
        self._bulk = bulk
        self._shop = context.store.shop
        self._bulk_lines = BulkLines(context)
        self._files = BulkFiles(context, bulk, self._bulk_lines)
        self._plan: Collection[Action] = ()
        self._known = _Names()
        self._otherwise: dict[ClerkUserId, Action] = {}
        self._unread: Counter[str] = Counter()
        self._moved_to: dict[ClerkUserId, str] = {}
        self._blocked: ReconcilerError | None = None

    def resume(self) -> Earlier:
        """Resume what a killed run left, to its end; what became of each user. Nothing where there is nothing.

        Where that can't be done now, nothing new goes by bulk either: older values could be written after newer ones.
        """
        if self._context.store.paused or self._files.is_idle():
            return {}
        self._context.warn(f"{self._context.store.name}: going on with bulk operations that another run began")
        try:
            with self._files.held():
                self._files.take_over()
                return {o.action.clerk_user_id: self._row_of(o) for o in self._work()}
        except (TemporaryError, PermanentError) as error:
            self._context.warn(f"{self._context.store.name}: they can't be resumed now: {error.message}")
            self._blocked = error
            return {}
        except AccessError as error:
            self._access.refused = error
            return {}

    def selection(self, actions: Collection[Action], *, but: Container[ClerkUserId]) -> Callable[[Action], bool] | None:
        """controller.context.BulkPart."""
        rate = self._context.readers.customers.restore_rate()
        return select_for_bulk(actions, rate, always=self._bulk.always, but=but)

    def by_mirror(self) -> CustomerReader | None:
        """controller.context.BulkPart."""
        return self._bulk.by_mirror()

    def apply_actions(self, actions: Collection[Action], check: Check) -> Iterator[Outcome]:
        """Each action checked against the world, sent by bulk, and read back; outcomes come as they are known."""
        if self._access.refused is not None:
            yield from (not_tried(action, self._access.refused) for action in actions)
            return
        self._plan, self._known = actions, _Names()
        if self._blocked is not None:
            yield from self._report_left_over(self._blocked)
            return
        try:
            with self._files.held():
                sizes = cycle(file_sizes(len(actions), lines_min=self._bulk.lines_min))
                yield from self._work(
                    partial(self._enqueue, batches(actions, min(BATCH, self._bulk.piece_lines)), check, sizes)
                )
        except TemporaryError as error:
            yield from self._report_left_over(error)

    def _row_of(self, outcome: Outcome) -> str | None:
        """The digest of the row that was executed completely: the line's, or the one it moved to; None: neither was."""
        action = outcome.action
        return self._moved_to.get(action.clerk_user_id, action.profile_digest) if outcome.result == "applied" else None

    def _go_on(self) -> None:
        """Cancelled where the other half of the plan has failed, LeaseLost where another process has taken over."""
        self._context.cancellation.check()
        self._files.renew()

    def _work(self, enqueue: Enqueue | None = None) -> Iterator[Outcome]:
        """Until no action is left, no line waits and no file is under way, or the store can't be used.

        While the shop runs files, the next one is made, as long as `enqueue` finds actions: before an ended one is read, as
        the shop runs no longer. Ended files are read one by one, and the next writes of the users of one are sent before the
        next one is read.
        """
        failures = lines = 0
        ended: list[tuple[BulkFile, BulkState | None]] = []
        while self._access.refused is None and (enqueue is not None or not self._files.is_idle()):
            self._go_on()
            if enqueue is not None and self._files.is_below_limit(ended=len(ended)):
                lines = yield from enqueue()
                enqueue = enqueue if lines else None
            try:
                found = self._fill_and_poll(max(lines, 1), ended)
                failures = 0
            except AccessError as error:
                self._access.refused = error
                break
            except (TemporaryError, PermanentError) as error:
                failures, found = failures + 1, False
                if failures >= FAILURES_MAX and not ended:
                    yield from self._give_up(error, enqueue)
                    return
                if not ended:
                    self._pause(_pause_after(failures))
                    continue
            if found and enqueue is not None:
                continue
            tired = yield from self._send_tired()
            if ended:
                yield from self._read(*ended.pop(0))
            elif not tired and (enqueue is None or not self._files.is_below_limit(ended=0)):
                self._pause(self._files.pause_s)
        yield from self._report_refused()

    def _fill_and_poll(self, lines: int, ended: list[tuple[BulkFile, BulkState | None]]) -> bool:
        """Send what waits, in files of so many lines at least; add files that have ended, and return whether there are."""
        self._check_open()
        self._files.fill(at_least=lines, ended=len(ended))
        found = self._files.poll(but={file.key for file, _ in ended})
        ended += found
        return bool(found)

    def _report_refused(self) -> Iterator[Outcome]:
        """Report users that were not tried, if the store can't be used."""
        if self._access.refused is not None:
            self._files.drop_unsent()
            yield from self._report_left_over(self._access.refused)

    def _enqueue(
        self, actions: Iterator[Sequence[Action]], check: Check, sizes: Iterator[int]
    ) -> Generator[Outcome, None, int]:
        """Check the next actions and let so many lines wait for a file. 0: there are no more, or the store is closed."""
        size = left = next(sizes)
        while left > 0:
            self._go_on()
            batch = next(actions, None) if self._access.refused is None else None
            if batch is None:
                return 0
            try:
                with frozen_garbage():
                    ready = check(batch)
            except AccessError as error:
                self._access.refused = error
                return 0
            except TemporaryError as error:
                failed = [failure(a, error) for a in batch]
                yield from map(self._told, failed)
                continue
            yield from (self._told(each) for each in ready if isinstance(each, Outcome))
            steps = [each for each in ready if isinstance(each, Step)]
            self._bulk.book.enqueue_lines(self._shop, [self._bulk_lines.first(step) for step in steps])
            left -= len(steps)
        return size

    def _send_tired(self) -> Generator[Outcome, None, bool]:
        """Send lines one by one that were in files often enough. Returns whether there were any."""
        tired, self._files.tired = self._files.tired, []
        again = (bulk_step for part in batches(tired, BATCH) for bulk_step in self._bulk_lines.of(part))
        yield from self._execute_singly((bulk_step, None) for bulk_step in again)
        return bool(tired)

    def _check_open(self) -> None:
        if self._access.refused is not None:
            raise self._access.refused

    def _pause(self, seconds: float) -> None:
        self._context.cancellation.sleep(self._bulk.sleep, seconds)

    # --- answers --------------------------------------------------------------------------------------------------

    def _read(self, file: BulkFile, state: BulkState | None) -> Iterator[Outcome]:
        """Settle all answers of an ended operation; then lines without an answer."""
        if state is not None and state.readable:
            try:
                for answers in self._bulk.shop.answers(state.operation, file.rides_in):
                    self._go_on()
                    yield from self._settle(file, answers)
            except AccessError as error:
                self._access.refused = self._access.refused or error
            except PermanentError as error:
                self._context.warn(error.message)
            except TemporaryError as error:
                self._unread[file.key] += 1
                if self._unread[file.key] < FAILURES_MAX:
                    self._pause(_pause_after(self._unread[file.key]))
                    return  # again: what is settled is skipped
                self._context.warn(error.message)
        if state is None or state.status != "completed":
            outcome = "is not known to the shop any more" if state is None else f"ended as {state.status}"
            code = f" ({state.error_code})" if state is not None and state.error_code else ""
            self._context.warn(f"{self._context.store.name}: a bulk operation {outcome}{code}")
        yield from self._settle_unanswered(file, is_whole=state is not None and state.status == "completed")
        if self._access.refused is None:
            self._bulk.book.end_file(file)

    def _settle(self, file: BulkFile, answers: Sequence[BulkAnswer]) -> Iterator[Outcome]:
        """Of some users at a time, for a line of metafields holds up to 25 of them."""
        by_number = {answer.line: answer for answer in answers}
        for lines in batches(self._lines(file, sorted(by_number)), self._bulk.piece_lines):
            with frozen_garbage():
                yield from self._settle_batch(file, lines, by_number)

    def _lines(self, file: BulkFile, numbers: Sequence[int]) -> Iterator[BulkLine]:
        """Those with these numbers that are not settled yet, a few numbers at a time."""
        size = self._bulk.piece_lines
        if file.rides_in == "set_metafields":
            size = max(1, size // METAFIELDS_MAX)
        for part in batches(numbers, size):
            yield from self._bulk.book.file_lines(file, numbers=part)

    def _settle_batch(
        self, file: BulkFile, lines: Sequence[BulkLine], by_number: MappingOf[int, BulkAnswer]
    ) -> Iterator[Outcome]:
        """Rows, events and the next writes of those who were written, in one go; then those who were refused, or moved.

        A user with a row that moved, or a mapping that a worker has just written, keeps the line until observed. What was
        written is claimed by that; a new customer is recorded before, or it would not be found once the row
        is gone.
        """
        batch, refused = _Batch(), list[tuple[BulkStep, ReconcilerError | None]]()
        bulk_steps = self._bulk_lines.of(lines)
        owners = self._owners(by_number.values())
        for bulk_step in bulk_steps:
            answer = by_number[bulk_step.line.number if bulk_step.line.number is not None else -1]
            if answer.error is not None:
                refused.append((bulk_step, _as_single(answer.error, file)))
            elif (lost := self._note_answer(bulk_step, answer, owners, batch)) is not None:
                refused.append((bulk_step, lost))
        users = [outcome.action.clerk_user_id for outcome in batch.done]
        before = {bulk_step.line.user: bulk_step.step.subject.mapping for bulk_step in bulk_steps}
        settled = self._bulk.book.settle_lines(
            self._shop, batch.rows, batch.events, done=users, more=batch.more, before=before
        )
        if settled.losers:
            self._bulk.nudge(settled.losers)
        kept = (outcome for outcome in batch.done if outcome.action.clerk_user_id not in settled.overtaken)
        yield from map(self._told, kept)
        for bulk_step in (bulk_step for bulk_step in bulk_steps if bulk_step.line.user in settled.overtaken):
            bulk_step.step.written = [
                change for change in bulk_step.step.written if change not in bulk_step.planned_write.covers
            ]
            refused += [(bulk_step, AnswerLost(ROW_MOVED))] if bulk_step.moved_to is None else []
        yield from self._execute_singly(refused)

    def _note_answer(
        self, bulk_step: BulkStep, answer: BulkAnswer, owners: MappingOf[CustomerId, ClerkUserId], batch: _Batch
    ) -> AnswerLost | None:
        """Add what was written to the batch; return why the user is to be observed, if that is so."""
        step, planned = bulk_step.step, bulk_step.planned_write
        try:
            check_answer(step, planned, answer.customer, answer.shown)
            check_owner(step, answer.customer if step.at is None else None, owners)
        except AnswerLost as lost:
            return lost
        step.at = answer.customer or step.at
        note_answer(step, planned, None, answer.shown.get(step.at, {}) if step.at is not None else {})
        moved = bulk_step.moved_to is not None
        if moved and not _is_news(step):
            return AnswerLost(ROW_MOVED)
        step.written.extend(planned.covers)
        finished = bulk_step.is_last and not moved
        recorded = planned.records or planned.covers
        row, events = row_after(step, self._of_plan(bulk_step.line), recorded, finished=finished, healed=planned.covers)
        batch.events += events
        if moved:
            batch.rows.append(replace(row, profile_digest=step.action.profile_digest))
            return AnswerLost(ROW_MOVED)
        batch.rows.append(row)
        if finished:
            batch.done.append(Outcome(step.action, "applied", freed=chains.freed_keys(step.decision)))
        else:
            batch.more.append(self._bulk_lines.following(bulk_step))
        return None

    def _owners(self, answers: Iterable[BulkAnswer]) -> MappingOf[CustomerId, ClerkUserId]:
        """The owners, by our state, of customers with an answer that shows no email, which would tell the user."""
        written = ((answer.customer, answer.shown) for answer in answers)
        unnamed = [at for at, shown in written if at is not None and not shown.get(at, {}).get("email")]
        return self._context.readers.mappings.owners(self._shop, unnamed) if unnamed else {}

    def _settle_unanswered(self, file: BulkFile, *, is_whole: bool) -> Iterator[Outcome]:
        """Lines without an answer: each customer is observed. Many of an operation that failed go by bulk once more."""
        book = self._bulk.book
        many = not is_whole and len(book.file_lines(file, limit=self._bulk.lines_min)) == self._bulk.lines_min
        while self._access.refused is None and (lines := book.file_lines(file, limit=BATCH)):
            self._go_on()
            bulk_steps = self._bulk_lines.of(lines)
            if many:
                try:
                    bulk_steps = self._send_again(bulk_steps)
                except AccessError as error:
                    self._access.refused = error
                    return
                except TemporaryError as error:
                    self._context.warn(error.message)
            yield from self._execute_singly([(bulk_step, AnswerLost(NO_ANSWER)) for bulk_step in bulk_steps])

    def _send_again(self, bulk_steps: Sequence[BulkStep]) -> list[BulkStep]:
        """Observe these: a user who still needs a write that may go by bulk waits for a file again; the rest is left."""
        by_user = {bulk_step.line.user: bulk_step for bulk_step in bulk_steps}
        more = []
        for step in observe_users(list(by_user), self._context, explicit=False):
            bulk_step = by_user[step.subject.user]
            now = claim_written(bulk_step.step, step, self._of_plan(bulk_step.line))
            decided_again = now is not step and bulk_step.moved_to is not None
            if self._bulk_lines.may_go_by_bulk(now) and not decided_again:
                if self._plan:
                    self._otherwise.setdefault(step.subject.user, bulk_step.step.action)
                more.append(
                    self._bulk_lines.first(now, tries=bulk_step.line.tries, plan_digest=bulk_step.line.plan_digest)
                )
        self._bulk.book.settle_lines(self._shop, [], [], more=more)
        waiting = {line.user for line in more}
        return [bulk_step for bulk_step in bulk_steps if bulk_step.line.user not in waiting]

    def _execute_singly(self, bulk_steps: Iterable[tuple[BulkStep, ReconcilerError | None]]) -> Iterator[Outcome]:
        """Each with single calls, from what became of it; a line is done when its outcome is known."""
        with self._context.threads.pool(self._context.workers, "bulk") as pool:
            for part in batches(bulk_steps, BATCH):
                self._moved_to |= {
                    bulk_step.line.user: bulk_step.moved_to for bulk_step, _ in part if bulk_step.moved_to is not None
                }
                known = [
                    (bulk_step.line, outcome)
                    for (bulk_step, _), outcome in zip(part, pool.map(self._alone, part), strict=True)
                    if outcome is not None and not isinstance(outcome.error, AccessError)
                ]
                self._bulk.book.settle_lines(self._shop, [], [], done=[line.user for line, _ in known])
                yield from (self._told(outcome) for _, outcome in known)
                self._context.cancellation.check()

    def _alone(self, ridden: tuple[BulkStep, ReconcilerError | None]) -> Outcome | None:
        """None where it should end before this one: the line stays."""
        bulk_step, failed = ridden
        if self._context.cancellation.is_cancelled:
            return None
        if self._access.refused is not None:
            return not_tried(bulk_step.step.action, self._access.refused)
        if failed is None and bulk_step.line.position > 0:
            failed = AnswerLost(NO_ANSWER)
        outcome = execute(bulk_step.step, self._of_plan(bulk_step.line), failed=failed)
        if isinstance(outcome.error, AccessError):
            self._access.refused = outcome.error
        return outcome

    # --- ends -----------------------------------------------------------------------------------------------------

    def _give_up(self, error: ReconcilerError, enqueue: Enqueue | None) -> Iterator[Outcome]:
        """Bulk operations can't be used now: what waits is sent by itself; what runs is left to a later run."""
        while enqueue is not None and (yield from enqueue()):
            pass
        self._context.warn(f"{self._context.store.name}: bulk operations can't be used now: {error.message}")
        book = self._bulk.book
        for rides_in in book.bulk_waiting(self._shop):
            while self._access.refused is None and (lines := book.next_lines(self._shop, rides_in, limit=BATCH)):
                self._go_on()
                yield from self._execute_singly([(bulk_step, None) for bulk_step in self._bulk_lines.of(lines)])
        yield from self._report_left_over(self._access.refused or error)

    def _report_left_over(self, error: ReconcilerError) -> Iterator[Outcome]:
        """Report users with an unknown outcome, or that were not tried."""
        plan, self._plan = self._plan, ()
        for action in self._known.others(plan):
            if isinstance(error, AccessError):
                yield not_tried(action, error)
            else:
                yield failure(action, error)

    def _told(self, outcome: Outcome) -> Outcome:
        """The outcome of the action as it was planned, which may have been done as another."""
        self._known.add(outcome.action.clerk_user_id)
        planned = self._otherwise.pop(outcome.action.clerk_user_id, None)
        return outcome if planned is None else replace(outcome, action=planned)

    def _of_plan(self, line: BulkLine) -> StoreContext:
        """The context, for a line that may be another plan's."""
        if line.plan_digest == self._context.plan_digest:
            return self._context
        return replace(self._context, plan_digest=line.plan_digest)


def _pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(FAILURE_PAUSE_S * 1.5 ** (failures - 1), PAUSE_MAX_S)


def _is_news(step: Step) -> bool:
    """Whether a new customer was made that the state does not know as the user's, or does not manage any more."""
    row = step.subject.mapping
    return step.action.kind == "create" and (row is None or row.customer_id != step.at or row.left_at is not None)


def _as_single(error: ReconcilerError, file: BulkFile) -> ReconcilerError:
    """What a single call would have said: of metafields and tags, observing and a single call will say it exactly."""
    return AnswerLost(error.message) if isinstance(error, Refused) and file.rides_in != "customers" else error
