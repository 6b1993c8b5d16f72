"""Time limits of our Postgres transactions: a process that freezes or dies holds its locks for seconds only.

Where the server, the database or the role sets another isolation, each statement begins a transaction as READ COMMITTED: the
statements of the queue wait for each other, and would be refused in a stricter one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection

from reconciler.outbound.databases.limits import begin_limited

SINGLE: Final = "reconciler_single"  # execution option: on Postgres, each statement is its own transaction
REPEATABLE: Final = "reconciler_repeatable"  # execution option: on SQLite, this transaction may be lost with the power
PATIENT: Final = "reconciler_patient"  # execution option: this transaction may take as long as a migration

BOUNDS_MS: Final[Mapping[str, int]] = {
    "idle_in_transaction_session_timeout": 8_000,  # after so long, the locks of a frozen process are released
    "lock_timeout": 10_000,  # longer than the above: a waiter behind a frozen process gets the lock, not an error
    "statement_timeout": 25_000,  # shorter than a lease
}
PATIENT_MS: Final[Mapping[str, int]] = {"idle_in_transaction_session_timeout": 60_000}


def begin_bounded(connection: Connection) -> None:
    """Begin a transaction with the limits on a connection to Postgres."""
    if connection.get_execution_options().get(PATIENT):
        from reconciler.outbound.databases.patience import wait_in_silence  # noqa: PLC0415  imports psycopg

        wait_in_silence(connection)
        begin_limited(connection, PATIENT_MS)
    else:
        begin_limited(connection, BOUNDS_MS)
