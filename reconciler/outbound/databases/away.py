"""Whether a database is away, as when its server restarts, and the pause before the next attempt.

What waits is certainly not executed: to connect, or to begin a transaction.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from sqlalchemy.exc import DBAPIError

from reconciler.outbound.databases.refusals import db_refusal
from reconciler.outbound.outage import Outage

PAUSE_S: Final = 0.2


def wait_for(outage: Outage, error: BaseException | None) -> bool:
    """Pause before the next attempt; False if the error is another one, or the outage lasts too long."""
    if not is_away(error) or not outage.allows(PAUSE_S):
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
