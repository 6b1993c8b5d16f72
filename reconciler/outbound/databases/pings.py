"""Checks a pooled connection before use, but only after a pause: most are used again within milliseconds.

A ping is a round trip of its own. A database that went away a moment ago is noticed by the statement itself.
"""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

IDLE_S: Final = 1.0
USED_AT: Final = "reconciler_used_at"  # in a connection's info: when it was last returned to the pool


def ping_idle(engine: Engine, *, idle_s: float = IDLE_S) -> None:
    """Replace the pooled connections of this engine if one that was idle for so long does not answer."""

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info[USED_AT] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, _proxy: Any) -> None:
        used_at = record.info.get(USED_AT)
        if used_at is None or time.monotonic() - used_at < idle_s:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error
