"""The files of one store's bulk mutations on their way: handed over, written down, run, found again, waited for.

Knows lines only as what goes into a file; what an answer means is `apply.py`'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import accumulate, islice, pairwise
from math import ceil

from reconciler.controller.bulk.context import BulkContext, BulkRunProgress
from reconciler.controller.bulk.lines import BulkLines
from reconciler.controller.context import StoreContext
from reconciler.controller.scan.standing import bulk_lease
from reconciler.controller.scan.stream import frozen_garbage
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.write import Write
from reconciler.errors import AnswerLost, LeaseLost, Refused, StateError, TemporaryError
from reconciler.ports import METAFIELDS_MAX, BulkFile, BulkLine, BulkState

AT_ONCE_MAX = 5  # operations of a kind that Shopify runs at the same time (since API 2026-01)
LINES = 10_000  # in one file, about: a hundred thousand users are ten files
ROUNDS = 2  # of files at least, unless they were too short: what is left after the last one is half as much
SPREAD = 0.06  # by so much is the largest file larger than the mean of those that run at the same time
LINES_MAX = 35_000  # in one file
PAUSE_FIRST_S = 0.25  # before an operation is first asked for
PAUSE_MAX_S = 15.0
TRIES_MAX = 2  # files that a line may be in before it is sent by itself
LEASE_S = 60.0  # renewed by a thread of its own: a process killed on another machine is taken over after so long
LEASE_PAUSE_S = 5.0


class BulkFiles:
    """What lies ready or runs in one store, under a lease: two processes never fill files from the same lines."""

    def __init__(self, context: StoreContext, bulk: BulkContext, lines: BulkLines) -> None:
        self._context, self._bulk = context, bulk
        self._shop = context.store.shop
        self._bulk_lines = lines
        self._lease = bulk_lease(self._shop)
        self._owner = bulk.leases.new_holder()
        self._fence: int | None = None
        self._began: tuple[datetime, int] | None = None
        self._due: dict[str, tuple[datetime, int]] = {}  # when each file is asked for again, and its lines run so far
        self.pause_s = PAUSE_FIRST_S
        """How long to wait before the next `poll`."""
        self.tired: list[BulkLine] = []
        """Lines that were in files often enough: they are to be sent by themselves."""

    # --- one at a time --------------------------------------------------------------------------------------------

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, this process alone works with the store's files. TemporaryError where another does, for long."""
        for turn in range(ceil(LEASE_S / LEASE_PAUSE_S) + 1):
            if self._acquire():
                break
            if turn == 0:
                self._tell_who_holds_it()
            self._context.cancellation.sleep(self._bulk.sleep, LEASE_PAUSE_S)
        if self._fence is None:
            raise TemporaryError(
                f"{self._shop}: another process runs bulk operations there",
                hint="wait until it has ended, or send one by one: --bulk never",
            )
        try:
            with self._kept():
                yield
        finally:
            self._release()

    def _tell_who_holds_it(self) -> None:
        holder = self._bulk.leases.holder(self._lease, now=self._context.clock.now())
        if holder is not None:
            self._context.warn(
                f"{self._context.store.name}: another process ({holder.where}) has bulk operations in progress: waiting "
                f"until it ends, or gives no sign of life for {holder.left_s:.0f} s"
            )

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Within, the lease is renewed however long one call takes; whether it was lost is found by `renew`."""
        over = self._context.threads.event()

        def keep() -> None:
            while not over.wait(LEASE_S / 4):
                with suppress(StateError, LeaseLost):  # the state is away: tried again, and `renew` reports it
                    self.renew()

        keeper = self._context.threads.thread(keep, "bulk-lease")
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join(LEASE_PAUSE_S)

    def _acquire(self) -> bool:
        leases, now = self._bulk.leases, self._context.clock.now()
        self._fence = leases.acquire(self._lease, self._owner, ttl_s=LEASE_S, now=now)
        return self._fence is not None

    def _release(self) -> None:
        if self._fence is not None:
            self._bulk.leases.release_lease(self._lease, self._owner, self._fence, now=self._context.clock.now())
            self._fence = None

    def renew(self) -> None:
        """Hold on to it. LeaseLost where this process was frozen so long that another has taken over."""
        leases, now = self._bulk.leases, self._context.clock.now()
        if self._fence is None or not leases.renew(self._lease, self._owner, self._fence, ttl_s=LEASE_S, now=now):
            raise LeaseLost(f"{self._shop}: another process has taken over the bulk operations")

    # --- there ----------------------------------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Whether no line waits and no file is under way."""
        return not self._bulk.book.bulk_waiting(self._shop) and not self._bulk.book.bulk_files(self._shop)

    def take_over(self) -> None:
        """What a killed run left: files that run are resumed; what was not sent is forgotten: the new plan has it."""
        book = self._bulk.book
        for file in book.bulk_files(self._shop):
            if file.operation is None:
                operation = self._bulk.shop.find(file.key)
                if operation is None:
                    book.end_file(file)
                else:
                    book.note_operation(file, operation)
        self.drop_unsent()

    def drop_unsent(self) -> None:
        """Forget lines that were not sent: what they rest on may be old when a run resumes."""
        book = self._bulk.book
        while lines := book.unsent_lines(self._shop, limit=self._bulk.piece_lines):
            book.settle_lines(self._shop, [], [], done=[line.user for line in lines])

    def is_below_limit(self, *, ended: int) -> bool:
        """Whether one more file may run; so many of them run no longer, and are still to be read."""
        return self._free(ended) > 0

    def _free(self, ended: int) -> int:
        return AT_ONCE_MAX - (len(self._bulk.book.bulk_files(self._shop)) - ended)

    def fill(self, *, at_least: int = 1, ended: int = 0) -> None:
        """Upload lines that wait, in as many files as may run at the same time, none of fewer lines than this.

        `ended` is that of `is_below_limit`.
        """
        free = self._free(ended)
        for rides_in, waiting in self._bulk.book.bulk_waiting(self._shop).items() if free > 0 else ():
            left = waiting
            users = METAFIELDS_MAX if rides_in == "set_metafields" else 1  # which share a line
            while free > 0 and left >= at_least:
                most = min(max(ceil(left / free), self._bulk.lines_min * users, at_least), LINES_MAX)
                if tired := self._tired(rides_in, most):
                    self.tired += tired
                    break  # they wait until they have been sent, and so does what follows them
                left -= self._upload_lines(rides_in, most)
                free -= 1

    def poll(self, *, but: Container[str] = ()) -> list[tuple[BulkFile, BulkState | None]]:
        """Run files that are not run yet, and return those with an operation that has ended, or is unknown.

        `but`: not those with these keys, which are known to have ended.
        Each is asked for when it is due: that another one ends is no reason to.
        """
        found = []
        run = lines = 0
        due = [PAUSE_MAX_S]
        for file in self._bulk.book.bulk_files(self._shop):
            lines += file.lines
            now = self._context.clock.now()
            taken_s = (now - file.begun_at).total_seconds()
            if file.key in but:
                run += file.lines
                continue
            if file.operation is None:
                self._run(file, self._bulk.shop.find(file.key))
            if file.operation is None or 0 <= taken_s < PAUSE_FIRST_S:
                due.append(_due_in_s(taken_s, 0, file.lines))
                continue
            due_at, done = self._due.get(file.key, (now, 0))
            left_s = (due_at - now).total_seconds()
            if not 0 < left_s <= PAUSE_MAX_S:
                state = self._bulk.shop.operation_state(file.operation)
                if state is None or state.status != "running":
                    found.append((file, state))
                    run += file.lines
                    continue
                done = min(state.objects, file.lines)
                left_s = min(_due_in_s(taken_s, done, file.lines), PAUSE_MAX_S)
                self._due[file.key] = (now + timedelta(seconds=left_s), done)
            due.append(left_s)
            run += done
        self.pause_s = max(min(due), PAUSE_FIRST_S)
        self._tell(run, lines)
        return found

    def _tell(self, run: int, lines: int) -> None:
        """How far they are; how long they still take is guessed from how many lines were run since they began."""
        now = self._context.clock.now()
        if self._began is None or run < self._began[1]:
            self._began = (now, run)
        seconds, done = (now - self._began[0]).total_seconds(), run - self._began[1]
        self._bulk.tell(BulkRunProgress(run, lines, (lines - run) * seconds / done if done else None))

    def _waiting(self, rides_in: str, most: int) -> Iterator[BulkLine]:
        """The first lines that wait, by user."""
        after: ClerkUserId | None = None
        while most > 0:
            limit = min(most, self._bulk.piece_lines)
            piece = self._bulk.book.next_lines(self._shop, rides_in, limit=limit, after=after)
            yield from piece
            if len(piece) < limit:
                return
            most -= len(piece)
            after = piece[-1].user

    def _tired(self, rides_in: str, most: int) -> list[BulkLine]:
        """The first of these lines that were in files often enough."""
        tired = (line for line in self._waiting(rides_in, most) if line.tries >= TRIES_MAX)
        return list(islice(tired, self._bulk.piece_lines))

    def _upload_lines(self, rides_in: str, most: int) -> int:
        """How many lines left the queue in a file."""
        numbers: dict[ClerkUserId, int] = {}

        def items() -> Iterator[Write]:
            for number, (lines, write) in enumerate(self._bulk_lines.writes(self._waiting(rides_in, most))):
                numbers.update((line.user, number) for line in lines)
                yield write

        with frozen_garbage():
            upload = self._bulk.shop.upload(rides_in, items())
        for user in [user for user, number in numbers.items() if number >= upload.lines]:
            del numbers[user]  # made, but the file was full
        file = BulkFile(
            key=uuid.uuid4().hex,
            shop=self._shop,
            rides_in=rides_in,
            path=upload.path,
            digest=upload.digest,
            lines=upload.lines,
            begun_at=self._context.clock.now(),
        )
        self._bulk.book.begin_file(file, numbers)
        self._run(file, None)
        return len(numbers)

    def _run(self, file: BulkFile, operation: str | None) -> None:
        """Run it, unless it runs already. Where the answer is lost, its mark is searched the next time."""
        book = self._bulk.book
        try:
            found = operation or self._bulk.shop.run(file.rides_in, file.path, file.key)
        except AnswerLost:
            return
        except Refused as refused:
            self._context.warn(f"{self._context.store.name}: a bulk operation was refused: {refused.message}")
            book.end_file(file)
            return
        book.note_operation(file, found)


def file_sizes(lines: int, *, lines_min: int) -> list[int]:
    """How many lines each of the next files has, and then again: as many files as may run at the same time.

    They differ, so that they end one after the other, and one is read while the next still run. A slow shop, which
    hardly waits for us, takes longer by `SPREAD` at most.
    """
    at_once = min(AT_ONCE_MAX, max(lines // lines_min, 1))
    rounds = max(round(lines / at_once / LINES), min(ROUNDS, lines // at_once // lines_min), 1)
    mean = ceil(lines / at_once / rounds)
    middle = (at_once - 1) / 2
    shares = (1 + SPREAD * (number - middle) / max(middle, 1) for number in range(at_once))
    return [upto - before for before, upto in pairwise([0, *(round(mean * share) for share in accumulate(shares))])]


def _due_in_s(taken_s: float, done: int, lines: int) -> float:
    """When to ask for an operation again that has taken so long: when it ends at its pace so far.

    Its first lines say little of its pace, and without any there is none. Each question costs a point, so one that ends
    later than expected is not asked for at ever shorter intervals.
    """
    taken_s = max(0.0, taken_s)
    left_s = taken_s * (lines - done) / done if done else taken_s / 2
    return min(max(left_s, taken_s / 50), taken_s * 4)
