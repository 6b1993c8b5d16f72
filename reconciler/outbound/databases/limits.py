"""What a Postgres says of itself, and our time limits there, which cost no round trip: they are sent together with BEGIN.

The limits are local to the transaction, so a transaction pooler honours them and does not pass them to the next client
of the connection. A tighter limit of the server, the database or the role stays in force.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

from reconciler.core.model.frozen import frozen

BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the server, the database or the role sets
_SERVER: Final = "reconciler_server"  # in the connection's info
_ISOLATION: Final = "default_transaction_isolation"
_OURS: Final = "read committed"
_ASK: Final = "SELECT pg_backend_pid(), pg_is_in_recovery(), name, setting FROM pg_settings WHERE name = ANY(%s)"


@frozen
class Server:
    """What the server of a connection said when it was opened: its settings, and whether it is a standby.

    `is_pooled`: a pooler is in between.
    """

    limits_ms: Mapping[str, int]
    isolation: str
    is_standby: bool
    is_pooled: bool


def learn_server(engine: Engine, limits: Collection[str]) -> None:
    """Ask the server of each new connection of this Postgres engine what it is, and which of these limits it sets."""

    @event.listens_for(engine, "connect")
    def learn(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            rows = cursor.execute(_ASK, [[*limits, _ISOLATION]]).fetchall()
        (process, is_standby, *_), found = rows[0], {name: setting for *_, name, setting in rows}
        isolation, is_pooled = found.pop(_ISOLATION), process != connection.info.backend_pid
        record.info[_SERVER] = Server({name: int(ms) for name, ms in found.items()}, isolation, is_standby, is_pooled)


def server_of(connection: Connection) -> Server | None:
    """What `learn_server` learned; None on SQLite."""
    return connection.info.get(_SERVER)


def is_read_committed(connection: Connection) -> bool:
    """Whether a statement without a transaction is READ COMMITTED on this connection, or the database is SQLite."""
    server = server_of(connection)
    return server is None or server.isolation == _OURS


def begin_limited(connection: Connection, ours_ms: Mapping[str, int], *, begin: str = BEGIN) -> None:
    """Begin a Postgres transaction with these limits. The connection must be in autocommit."""
    connection.exec_driver_sql(begin_statement(ours_ms, connection.info[_SERVER].limits_ms, begin=begin))


def begin_statement(ours_ms: Mapping[str, int], server_ms: Mapping[str, int], *, begin: str = BEGIN) -> str:
    """Return BEGIN and the limits that the server supports and has not set as tight itself (0 means no limit)."""
    tighter = [name for name, ms in ours_ms.items() if name in server_ms and not 0 < server_ms[name] <= ms]
    return "; ".join([begin, *(f"SET LOCAL {name} = {ours_ms[name]}" for name in tighter)])
