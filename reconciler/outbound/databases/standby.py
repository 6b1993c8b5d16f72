"""Closes connections to a server that has become a read-only standby after a failover.

A former primary keeps its connections. A pool would use them for minutes, while new connections lead to the new primary.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

READ_ONLY: Final = "25006"


def leave_standby(engine: Engine) -> None:
    """Close all pooled connections of this engine after a write that the server refuses as a standby."""

    @event.listens_for(engine, "handle_error")
    def leave(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True
