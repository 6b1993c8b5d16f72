"""Refused logins to databases, which are not repeated in this process until a pause has passed.

Attempts with a wrong password make a pooler block the address, and each attempt renews the block. State, profiles and the
writer of profiles all connect through this module.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from reconciler.outbound.databases.refusals import db_refusal
from reconciler.outbound.databases.url import is_loopback

PROBE_S: Final = 30.0  # after a pause, one caller tries again, and the others wait this long for its result

T = TypeVar("T")


@dataclass(slots=True)
class _Refused:
    until: float
    said: str


class DbLogins:
    """The refusals of our logins. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._refused: dict[str, _Refused] = {}

    def watch(self, engine: Engine) -> None:
        """Make each new Postgres connection of this engine go through `connect`, and bound its waits."""
        from reconciler.outbound.databases.patience import BoundedConnection, bound_silence  # noqa: PLC0415  as below

        bound_silence(engine)
        url = engine.url.render_as_string(hide_password=False)

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
            return self.connect(url, lambda: BoundedConnection.connect(*arguments, **options))

    def connect(self, url: str, connect: Callable[[], T]) -> T:
        """The result of `connect`; raises the last refusal again, without an attempt, until its pause has passed."""
        import psycopg  # noqa: PLC0415  commands on SQLite never need it

        address = make_url(url).set(drivername="postgresql")
        host = address.host or ""
        place = f"{host}:{address.port}" if is_loopback(host) else host  # a remote pooler blocks all its ports together
        keys = (address.render_as_string(hide_password=False), place)
        if (said := self._said_before(keys)) is not None:
            raise psycopg.OperationalError(said)
        try:
            connection = connect()
        except psycopg.Error as error:
            self._remember(keys, str(error), host)
            raise
        with self._lock:
            for key in keys:
                self._refused.pop(key, None)
        return connection

    def _said_before(self, keys: tuple[str, ...]) -> str | None:
        """The refusal with an unfinished pause; None lets this caller try, while others wait PROBE_S."""
        with self._lock:
            now = self._monotonic()
            known = [self._refused[key] for key in keys if key in self._refused]
            for refused in known:
                if now < refused.until:
                    return refused.said
            for refused in known:
                refused.until = now + PROBE_S
            return None

    def _remember(self, keys: tuple[str, ...], said: str, host: str) -> None:
        refusal = db_refusal(said, setting="", host=host)
        with self._lock:
            for key in keys:
                self._refused.pop(key, None)
            if refusal is not None and refusal.pause_s:
                # A block applies to the address, other refusals to these credentials.
                key = keys[1] if refusal.kind == "blocked" else keys[0]
                self._refused[key] = _Refused(self._monotonic() + refusal.pause_s, said)


DB_LOGINS: Final = DbLogins()  # one for the process, since a block applies to this machine's address
