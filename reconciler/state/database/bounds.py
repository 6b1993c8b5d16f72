"""Bounds on our transactions on Postgres: none outlives a few seconds, whatever becomes of the process that began it.

They travel with BEGIN in one message, so that they cost no round trip, and are local to the transaction, so that a
transaction pooler honours them and the next client of its connection never sees them. What the server, the database or
the role sets is a bound already: ours never loosen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

READS: Final = "reconciler_reads"  # execution option: on SQLite, this transaction need not keep writers out
SINGLE: Final = "reconciler_single"  # execution option: each statement is a transaction of its own on Postgres
PATIENT: Final = "reconciler_patient"  # execution option: this transaction may take as long as a migration does

BOUNDS_MS: Final[Mapping[str, int]] = {
    "idle_in_transaction_session_timeout": 8_000,  # a frozen process: its locks are free after so long
    "lock_timeout": 10_000,  # longer than that: who waits for a frozen process gets the lock, not an error
    "statement_timeout": 25_000,  # shorter than a lease
}
PATIENT_MS: Final[Mapping[str, int]] = {"idle_in_transaction_session_timeout": 60_000}
_BOUNDS: Final = "reconciler_bounds"  # in the connection's info: what the server sets itself
_ASK: Final = "SELECT name, setting::bigint FROM pg_settings WHERE name = ANY(%s)"


def bound(engine: Engine) -> None:
    """Let each transaction of this engine on Postgres begin with its bounds. Its connections must be in autocommit."""

    @event.listens_for(engine, "connect")
    def learn(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            record.info[_BOUNDS] = dict(cursor.execute(_ASK, [list(BOUNDS_MS)]).fetchall())

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get(READS) or options.get(SINGLE):
            return
        ours = PATIENT_MS if options.get(PATIENT) else BOUNDS_MS
        connection.exec_driver_sql(begin_with(ours, connection.info[_BOUNDS]))


def begin_with(ours_ms: Mapping[str, int], server_ms: Mapping[str, int]) -> str:
    """BEGIN and the bounds, but for those that the server knows not, or has set as tight itself (0 is none)."""
    tighter = [name for name, ms in ours_ms.items() if name in server_ms and not 0 < server_ms[name] <= ms]
    return "; ".join(["BEGIN", *(f"SET LOCAL {name} = {ours_ms[name]}" for name in tighter)])
