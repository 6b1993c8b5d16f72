"""`ClerkAbsence`: whether Clerk's API proves that a user was deleted. A 404 counts only if the key sees our other users."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from reconciler.clerk.instance import key_sight
from reconciler.clerk.users import ClerkUsers
from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import SourceError, TemporaryError

OURS_FOR_S: Final = 3600.0
FOREIGN_FOR_S: Final = 60.0


class ClerkAbsence:
    """What one process knows of its key: checked before the first 404 counts, and again after some time. Thread-safe."""

    def __init__(
        self, on_trouble: Callable[[str], None], away_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`away_s`: Clerk is not asked for so long after a call that failed, so that workers do not wait one by one."""
        self._on_trouble = on_trouble
        self._away_s, self._monotonic = away_s, monotonic
        self._lock = threading.Lock()
        self._known: tuple[ClerkUsers, bool, float] | None = None
        self._failed: tuple[TemporaryError, float] | None = None  # and until when Clerk is not asked again

    def is_gone(
        self, clerk: ClerkUsers, user: ClerkUserId, present: Callable[[], Sequence[ClerkUserId]]
    ) -> bool | None:
        """Return whether Clerk no longer has this user; None if its answer proves nothing.

        `present` returns mapped users with existing rows. Raises what `ClerkUsers.get` and `present` raise, and for a while
        after a TemporaryError of Clerk the same without asking.
        """
        with self._lock:
            failed = self._failed
        if failed is not None and self._monotonic() < failed[1]:
            raise failed[0].with_traceback(None)  # otherwise it keeps the frames of each call that it was raised in
        try:
            if clerk.exists(user):
                return False
            return True if self._is_ours(clerk, present) else None
        except SourceError:  # of `present`
            raise
        except TemporaryError as error:
            with self._lock:
                self._failed = error, self._monotonic() + max(self._away_s, error.retry_after_s or 0.0)
            raise

    def _is_ours(self, clerk: ClerkUsers, present: Callable[[], Sequence[ClerkUserId]]) -> bool:
        with self._lock:
            known = self._known
        if known is not None and known[0] is clerk and self._monotonic() < known[2]:
            return known[1]
        sight = key_sight(clerk, present())
        if not sight.asked:
            return False
        with self._lock:
            until = self._monotonic() + (OURS_FOR_S if sight.is_ours else FOREIGN_FOR_S)
            self._known = (clerk, sight.is_ours, until)
        if not sight.is_ours:
            self._on_trouble(f"{sight.message}; its 404 proves nothing, and a missing row is waited for")
        return sight.is_ours
