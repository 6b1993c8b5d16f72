"""Open the state and the profiles at the start of `run`, and wait while their server is unreachable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from reconciler.errors import ReconcilerError, SourceError, StateError, TemporaryError
from reconciler.outbound.databases.refusals import db_refusal
from reconciler.wiring import Components

FIRST_S: Final = 0.5
LAST_S: Final = 10.0
AWAY: Final = (  # the driver's or server's words for errors that pass with time
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "connection timeout expired",
    "timeout expired",
    "Operation timed out",
    "No route to host",
    "Network is unreachable",
    "Host is unreachable",
    "failed to resolve host",
    "could not translate host name",
    "Name or service not known",
    "Temporary failure in name resolution",
    "closed the connection unexpectedly",
    "could not receive data",
    "connection is lost",
    "consuming input failed",
    "starting up",
    "shutting down",
    "not yet accepting connections",
    "in recovery mode",
    "terminating connection",
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "max client connections reached",
    "MaxClientsInSessionMode",
    "EMAXCONN",
    "database is locked",
)
_log = structlog.get_logger(__name__)


def open_databases(components: Components, *, tell: Callable[[str], None], wait: Callable[[float], bool]) -> bool:
    """Open the state and the profiles, however long their server is unreachable. False: the process should end instead.

    `tell` receives the reason for waiting whenever it changes. `wait` waits so many seconds, and is True if the process
    should end. Raises errors that waiting does not fix: a wrong password, a missing table, an old schema.
    """
    pause_s, last_message = FIRST_S, ""
    while True:
        try:
            _ = components.connections.engine, components.profiles, components.shop_keys
            if components.loaded.settings.clerk.upsert_profiles:
                _ = components.connections.upserts
        except (StateError, SourceError, TemporaryError) as error:
            if not is_away(error):
                raise
            if error.message != last_message:
                last_message = error.message
                hint = f"{error.hint}; the program retries until it answers"
                _log.warning("database_awaited", error=error.message, hint=hint)
                tell(error.message)
        else:
            return True
        if wait(pause_s):
            return False
        pause_s = min(pause_s * 2, LAST_S)


def is_away(error: ReconcilerError) -> bool:
    """Return whether the database is unreachable or accepts no connection now, as opposed to refusing us."""
    if isinstance(error, TemporaryError):  # of the profiles, for example a locked table
        return True
    cause = error.__cause__
    said = f"{error.message} {getattr(cause, 'orig', None) or cause}"
    refusal = db_refusal(said, setting="")
    return refusal.heals if refusal is not None else any(words in said for words in AWAY)
