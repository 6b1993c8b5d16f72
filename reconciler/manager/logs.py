"""Logs on stderr: JSON, one object a line, or readable lines for a terminal.

They name store, user and request, and contain no personal data but the Clerk user id. What Python prints there takes the
same form: warnings, exceptions that end a thread, and exceptions that no code can handle. An example of the last is one in a
generator that is discarded after its database was closed.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from contextlib import suppress
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

from reconciler.outbound.databases.pool import PatientPool

_log = structlog.get_logger(__name__)


def configure(*, debug: bool = False, readable: bool = False) -> None:
    """Set up logging once at start: as JSON, or `readable` for people. Libraries log in the same form, from WARNING on."""
    level = logging.DEBUG if debug else logging.INFO
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[Processor] = (
        [
            _escape_event,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _Lines(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("reconciler").setLevel(level)
    pool = logging.getLogger(PatientPool.__module__)  # SQLAlchemy names the logger by the module of the class
    pool.setLevel(logging.WARNING)  # it reports each connection that is older than five minutes
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it warns when a job is due while it still runs
    logging.captureWarnings(capture=True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_end_of_thread


def _escape_event(_logger: object, _method: str, entry: EventDict) -> EventDict:
    """Escape what a terminal would interpret in the event, which may be a library's message. Values are escaped later."""
    event = str(entry["event"])
    return {**entry, "event": event if event.isprintable() else repr(event)[1:-1]}


class _Lines(logging.StreamHandler[TextIO]):
    """A handler that reports a record it can't write as one line, where `logging` prints a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        kind = sys.exc_info()[0]
        line = {"event": "log_record_lost", "level": "error", "logger": record.name, "error": kind and kind.__name__}
        with suppress(OSError, ValueError):  # stderr itself is closed
            self.stream.write(json.dumps(line) + self.terminator)


def _log_unraisable(found: sys.UnraisableHookArgs) -> None:
    _log.error(
        "exception_ignored",
        where=found.err_msg or "Exception ignored in",
        object=type(found.object).__name__,
        exc_info=(found.exc_type, found.exc_value, found.exc_traceback),
    )


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is SystemExit:
        return
    _log.critical(
        "thread_crashed",
        thread=ended.thread.name if ended.thread else None,
        exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback),
    )
