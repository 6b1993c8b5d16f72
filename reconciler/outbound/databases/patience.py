"""`BoundedConnection`: a connection to Postgres that ends a call once the server has been silent for too long.

Limits of the server don't help if the server is gone, and a pooler or a proxy still holds our side of the connection. It
confirms each packet, so keepalives find nothing, and the answer never comes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, event

SILENCE_S: Final = 40.0
"""Longer than any limit for a statement that we set, so that the server's own, more exact error comes first."""
SLOW_S: Final = 300.0
"""For a read that is asked again by a new connection: it has no limit at the server, and may have been slow, not lost."""
CANCEL_S: Final = 1.0
"""For the request to end a statement, which gets no answer either where the server is gone."""
T = TypeVar("T")


class SilentServer(psycopg.OperationalError):
    """Nothing has arrived for too long."""


class BoundedConnection(psycopg.Connection[Any]):
    """Raises SilentServer, and is closed, once it has waited `silence_s` and nothing has arrived."""

    silence_s: float = SILENCE_S

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        try:
            return super().wait(bounded(gen, self.silence_s), *args, **options)
        except SilentServer:
            self._end_at_server()
            self.pgconn.finish()
            raise

    def _end_at_server(self) -> None:
        """Have the server end the statement: it would run on until it has something to send. A pooler passes this on."""
        if psycopg.capabilities.has_cancel_safe():  # otherwise libpq has no limit of time for it
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_S)


def bounded(
    answer: Generator[Any, Any, T], silence_s: float, *, clock: Callable[[], float] = time.monotonic
) -> Generator[Any, Any, T]:
    """The driver's wait for an answer, into which it sends 0 after each interval in which nothing has arrived."""
    silent_since: float | None = None  # no clock is asked while answers come within an interval
    try:
        waits_for = next(answer)
        while True:
            ready = yield waits_for
            if ready:
                silent_since = None
            elif silent_since is None:
                silent_since = clock()
            elif clock() - silent_since > silence_s:
                raise SilentServer(f"the server has been silent for {silence_s:g} s")
            waits_for = answer.send(ready)
    except StopIteration as end:
        value: T = end.value
        return value


def bound_silence(engine: Engine) -> None:
    """Bound the waits on a connection of this engine again when it returns to the pool."""

    @event.listens_for(engine, "checkin")
    def bound(connection: Any, _record: Any) -> None:
        if isinstance(connection, BoundedConnection):
            connection.silence_s = SILENCE_S


def wait_in_silence(connection: Connection, silence_s: float = math.inf) -> None:
    """Wait so long for each answer on this connection, until it returns to the pool: in a migration without end."""
    driver = connection.connection.driver_connection
    if isinstance(driver, BoundedConnection):
        driver.silence_s = silence_s
