"""`ProfileWriter`: writes profile rows for `clerk.upsert_profiles` in its own threads.

A change from a webhook is first stored in the state. It is usually written immediately, and the webhook waits for that
a moment. If the table is locked or unreachable, a thread of any replica writes it later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as NotInTime
from datetime import datetime
from typing import Final

import structlog

from reconciler.controller.profile_rows.writer import RowDone, RowWriter
from reconciler.core.decide.profile_rows.write import ClerkChange
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import ReconcilerError, StateError, TemporaryError
from reconciler.manager.intervals import Intervals
from reconciler.manager.threads import DaemonPool
from reconciler.manager.webhook_state import WebhookState
from reconciler.ports import Clock
from reconciler.ports.profile_rows import ProfileWriteRepository
from reconciler.settings import Settings
from reconciler.wiring import Connections

THREADS: Final = 4
WAITING_MAX: Final = 12  # webhooks that wait for their row at the same time: the server has 40 threads
BATCH: Final = 20
PAUSE_FIRST_S: Final = 0.5
PAUSE_LAST_S: Final = 5.0
FAILURES: Final = 2
REFUSED_EVERY_S: Final = 2.0  # how often refused writes of other replicas are read

_log = structlog.get_logger(__name__)


class ProfileWriter:
    """The profile writes of one process."""

    def __init__(
        self, writer: RowWriter, book: ProfileWriteRepository, clock: Clock, *, poll_s: float, wait_s: float
    ) -> None:
        self._writer, self._book, self._clock = writer, book, clock
        self._poll_s, self._wait_s = poll_s, wait_s
        self._pool = DaemonPool(THREADS, "row")
        self._thread = threading.Thread(target=self._run, name="rows", daemon=True)
        self._waiting = threading.Semaphore(WAITING_MAX)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._pause_s = 0.0
        self._failures = 0
        self._away_until = 0.0
        self._refused: frozenset[ClerkUserId] = frozenset()
        self._refused_at = float("-inf")

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Return whether the thread that writes due rows runs."""
        return self._thread.is_alive() or self._ended.is_set()

    def stop(self, until: float) -> None:
        """Begin no write, and wait for those in progress until this moment (monotonic). Safe to repeat."""
        self._ended.set()
        self._pool.shutdown(wait=False)
        self._pool.join(until)
        if self._thread.is_alive():
            self._thread.join(max(0.0, until - time.monotonic()))

    def store(self, change: ClerkChange) -> bool:
        """Store a change and wait a moment for its row; return False if it is outdated. StateError: it is not stored."""
        if not self._book.accept([change], now=self._clock.now()):
            return False
        if self._is_away() or not self._waiting.acquire(blocking=False):
            return True  # the thread for due rows writes it
        try:
            self._pool.submit(self._write_user, change.user).result(self._wait_s)
        except NotInTime:
            _log.info("profile_row_deferred", user=change.user)
        finally:
            self._waiting.release()
        return True

    def retry_refused(self, user: ClerkUserId) -> None:
        """Make a refused row of this user due after a reconcile: the row may exist now."""
        if user not in self._refused:
            return
        try:
            self._book.make_due(user, now=self._clock.now())
        except StateError as error:  # it is tried again when it is due
            _log.info("profile_row_nudge_failed", user=user, error=error.message)

    # --- threads ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.wait(self._poll_s):
            try:
                self._follow_refused()
                while not self._is_away() and self._write_due():
                    pass
            except ReconcilerError as error:
                self._put_off(error)

    def _write_due(self) -> bool:
        """Write one batch; return whether there may be more."""
        claims, until = self._writer.claim(BATCH)
        for place, claim in enumerate(claims):
            try:
                self._report(self._writer.write(claim, until))
                self._works()
            except ReconcilerError as error:
                self._put_off(error)
            if self._is_away() or self._ended.is_set():
                self._writer.release(claims[place + 1 :])
                return False
        return len(claims) == BATCH

    def _write_user(self, user: ClerkUserId) -> None:
        """Write what is due of this user, and what arrives meanwhile. Never raises: the thread continues."""
        try:
            while not self._is_away():
                claims, until = self._writer.claim(1, [user])
                if not claims:
                    return
                self._report(self._writer.write(claims[0], until))
                self._works()
        except ReconcilerError as error:
            self._put_off(error)

    def _is_away(self) -> bool:
        with self._lock:
            return time.monotonic() < self._away_until

    def _works(self) -> None:
        with self._lock:
            self._pause_s, self._failures = 0.0, 0

    def _put_off(self, error: ReconcilerError) -> None:
        """Pause all writes after two failed rows in succession: the table is locked or unreachable, not just one row."""
        asked_s = error.retry_after_s or 0.0 if isinstance(error, TemporaryError) else 0.0
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES and not asked_s:
                return
            self._pause_s = min(max(self._pause_s * 2, PAUSE_FIRST_S), PAUSE_LAST_S)
            self._away_until = time.monotonic() + max(self._pause_s, asked_s)
        what = "state" if isinstance(error, StateError) else "profiles"
        _log.warning("profile_rows_deferred", what=what, error=error.message, again_in_s=round(self._pause_s, 3))

    def _report(self, done: RowDone) -> None:
        if done.result == "refused":
            self._refused |= {done.user}
            _log.warning("profile_row_refused", user=done.user, error=done.message)

    def _follow_refused(self) -> None:
        if time.monotonic() - self._refused_at >= REFUSED_EVERY_S:
            self._refused = self._book.refused_users()
            self._refused_at = time.monotonic()


def wants_updated_at(done: RowDone) -> datetime | None:
    """Return how new the row must be when its user is reconciled."""
    written = done.result in {"written", "kept"} and done.profile is not None
    return done.profile.updated_at if written and done.profile is not None else None


def row_writer(
    settings: Settings,
    connections: Connections,
    webhook_state: WebhookState,
    clock: Clock,
    intervals: Intervals,
    written: Callable[[RowDone], None],
) -> ProfileWriter | None:
    """Return the writer of this process; None if webhooks write no rows. `written` enqueues the user of a row."""
    clerk = settings.clerk
    if not clerk.upsert_profiles:
        return None

    def ask(user: ClerkUserId) -> Profile | None:
        found = connections.clerk.get(user) if connections.clerk is not None else None
        return found.profile() if found is not None else None

    def nudge(done: Sequence[RowDone]) -> None:
        for row in done:
            written(row)

    book = webhook_state.profile_writes
    asks = ask if clerk.secret_key is not None else None
    writer = RowWriter(lambda: connections.upserts, book, clock, ask=asks, nudge=nudge)
    return ProfileWriter(writer, book, clock, poll_s=intervals.rows_s, wait_s=intervals.row_wait_s)
