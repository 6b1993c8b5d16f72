"""`Outage`: how long the calls of a command wait for a database that is away, as when its server restarts.

What waits is certainly not executed: to connect, or to begin a transaction.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from sqlalchemy.exc import DBAPIError

from reconciler.outbound.databases.refusals import db_refusal

UNKNOWN_S: Final = 2.5  # for a server that has not answered yet: its address may be wrong
PAUSE_S: Final = 0.2


class Outage:
    """One for each database; `outage_s` 0: calls do not wait. Thread-safe.

    An outage is waited out once: calls of one that lasts longer fail immediately.
    """

    def __init__(self, outage_s: float) -> None:
        self._outage_s = outage_s
        self._has_answered = False
        self._since_s: float | None = None

    def note_answer(self) -> None:
        self._has_answered, self._since_s = True, None

    def wait(self, error: BaseException | None) -> bool:
        """Pause before the next attempt; False if the error is another one, or the outage lasts too long."""
        if not self._outage_s or not is_away(error):
            return False
        now_s = time.monotonic()
        since_s = self._since_s = now_s if self._since_s is None else self._since_s
        limit_s = self._outage_s if self._has_answered else min(self._outage_s, UNKNOWN_S)
        if now_s + PAUSE_S > since_s + limit_s:
            return False
        time.sleep(PAUSE_S)
        return True


def is_away(error: BaseException | None) -> bool:
    """Whether Postgres was not reached, or the connection to it was lost; False for a refusal that time does not heal."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    if error.connection_invalidated:
        return True
    if getattr(error.orig, "sqlstate", None) is not None:
        return False
    refusal = db_refusal(str(error.orig), setting="")
    return refusal is None or refusal.kind == "away"
