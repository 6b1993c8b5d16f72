"""Connections to a server that takes no writes any more are left: after a failover another server does.

A primary that becomes a standby keeps its connections. A pool would go on with them for minutes, while each new connection
leads to the new primary already.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

READ_ONLY: Final = "25006"


def leave_standby(engine: Engine) -> None:
    """Let a write that this engine's server refuses, as a standby does, end all connections of its pool."""

    @event.listens_for(engine, "handle_error")
    def leave(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True
