"""Time limits of Postgres transactions, which are sent in one message with BEGIN, so they cost no round trip.

They are local to the transaction, so a transaction pooler honours them and does not pass them to the next client of the
connection. A tighter limit of the server, the database or the role stays in force.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"  # whatever the server, the database or the role sets
_LIMITS: Final = "reconciler_limits"  # in the connection's info: the limits that the server sets
_ISOLATION: Final = "default_transaction_isolation"  # in the connection's info too, by this name
_OURS: Final = "read committed"
_ASK: Final = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"


def learn_limits(engine: Engine, names: Collection[str]) -> None:
    """Note for each connection of this Postgres engine which of these limits the server sets, and its isolation."""

    @event.listens_for(engine, "connect")
    def learn(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            found = dict(cursor.execute(_ASK, [[*names, _ISOLATION]]).fetchall())
        record.info[_ISOLATION] = found.pop(_ISOLATION, _OURS)
        record.info[_LIMITS] = {name: int(setting) for name, setting in found.items()}


def is_read_committed(connection: Connection) -> bool:
    """Whether a statement without a transaction is READ COMMITTED on this connection, or the database is SQLite."""
    isolation: str = connection.info.get(_ISOLATION, _OURS)
    return isolation == _OURS


def begin_limited(connection: Connection, ours_ms: Mapping[str, int], *, begin: str = BEGIN) -> None:
    """Begin a Postgres transaction with these limits. The connection must be in autocommit."""
    connection.exec_driver_sql(begin_statement(ours_ms, connection.info[_LIMITS], begin=begin))


def begin_statement(ours_ms: Mapping[str, int], server_ms: Mapping[str, int], *, begin: str = BEGIN) -> str:
    """Return BEGIN and the limits that the server supports and has not set as tight itself (0 means no limit)."""
    tighter = [name for name, ms in ours_ms.items() if name in server_ms and not 0 < server_ms[name] <= ms]
    return "; ".join([begin, *(f"SET LOCAL {name} = {ours_ms[name]}" for name in tighter)])
