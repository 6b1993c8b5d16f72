"""Time limits of our Postgres transactions: a process that freezes or dies holds its locks for seconds only.

The limits are sent in one message with BEGIN, so they cost no round trip. They are local to the transaction, so a
transaction pooler honours them and does not pass them to the next client of the connection. A tighter limit of the
server, the database or the role stays in force. Where these set another isolation, each statement begins a transaction as
READ COMMITTED: the statements of the queue wait for each other, and would be refused in a stricter one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

READS: Final = "reconciler_reads"  # execution option: this SQLite transaction does not block writers
SINGLE: Final = "reconciler_single"  # execution option: on Postgres, each statement is its own transaction
REPEATABLE: Final = "reconciler_repeatable"  # execution option: on SQLite, this transaction may be lost with the power
PATIENT: Final = "reconciler_patient"  # execution option: this transaction may take as long as a migration

BOUNDS_MS: Final[Mapping[str, int]] = {
    "idle_in_transaction_session_timeout": 8_000,  # after so long, the locks of a frozen process are released
    "lock_timeout": 10_000,  # longer than the above: a waiter behind a frozen process gets the lock, not an error
    "statement_timeout": 25_000,  # shorter than a lease
}
PATIENT_MS: Final[Mapping[str, int]] = {"idle_in_transaction_session_timeout": 60_000}
_BOUNDS: Final = "reconciler_bounds"  # key in the connection's info: the limits that the server sets
_ISOLATION: Final = "default_transaction_isolation"
_OURS: Final = "read committed"
_IS_OTHER: Final = "reconciler_isolation"  # in the connection's info: whether the server's isolation is another
_ASK: Final = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"


def set_limits(engine: Engine) -> None:
    """Begin each Postgres transaction of this engine with the limits. Its connections must be in autocommit."""

    @event.listens_for(engine, "connect")
    def learn(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            found = dict(cursor.execute(_ASK, [[*BOUNDS_MS, _ISOLATION]]).fetchall())
        record.info[_IS_OTHER] = found.pop(_ISOLATION, _OURS) != _OURS
        record.info[_BOUNDS] = {name: int(setting) for name, setting in found.items()}

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options, info = connection.get_execution_options(), connection.info
        if (options.get(READS) or options.get(SINGLE)) and not info[_IS_OTHER]:
            return
        ours = PATIENT_MS if options.get(PATIENT) else BOUNDS_MS
        connection.exec_driver_sql(begin_statement(ours, info[_BOUNDS], is_other=info[_IS_OTHER]))


def begin_statement(ours_ms: Mapping[str, int], server_ms: Mapping[str, int], *, is_other: bool = False) -> str:
    """Return BEGIN and the limits that the server supports and has not set as tight itself (0 means no limit).

    `is_other`: the server's isolation is not READ COMMITTED.
    """
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED" if is_other else "BEGIN"
    tighter = [name for name, ms in ours_ms.items() if name in server_ms and not 0 < server_ms[name] <= ms]
    return "; ".join([begin, *(f"SET LOCAL {name} = {ours_ms[name]}" for name in tighter)])
