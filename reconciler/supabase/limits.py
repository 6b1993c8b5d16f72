"""Limits for our statements on the profiles table, which belongs to the app.

A transaction that waits for a table lock blocks later ones, and an idle transaction keeps its locks. So each transaction of
the reader and the writer has these limits.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

LOCK_S = 3.0
STATEMENT_S = 4.0
IDLE_S = 1.0  # between two statements of a transaction, where nothing else is awaited
LIMITS_MS: Final = {
    "lock_timeout": round(LOCK_S * 1000),
    "statement_timeout": round(STATEMENT_S * 1000),
    "idle_in_transaction_session_timeout": round(IDLE_S * 1000),
}
SILENT: Final = {  # an unresponsive network ends a call after seconds, not after a quarter of an hour
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
BUSY_S = 5.0  # SQLite: for a writer that holds the file

_LIMITS = sa.text(
    """
SELECT set_config(name, CASE WHEN theirs BETWEEN 1 AND ours THEN theirs ELSE ours END::bigint::text, true)
FROM (
  SELECT name, ours, extract(epoch FROM current_setting(name)::interval) * 1000 AS theirs
  FROM (VALUES ('lock_timeout', :lock), ('statement_timeout', :statement),
               ('idle_in_transaction_session_timeout', :idle)) AS v (name, ours)
) AS limits
UNION ALL SELECT set_config('extra_float_digits', '3', true)  -- a time in seconds would be rounded to days
"""
).bindparams(
    sa.bindparam("lock", type_=sa.Integer),
    sa.bindparam("statement", type_=sa.Integer),
    sa.bindparam("idle", type_=sa.Integer),
)


def limit(connection: Connection, *, lock_s: float = LOCK_S, statement_s: float = STATEMENT_S) -> None:
    """Limit each statement of this transaction. Call it first in the transaction. No effect on SQLite, see `BUSY_S`.

    It holds for this transaction only, so it works with a transaction pooler and does not leak to its next client. A
    smaller limit of the server or the role remains.
    """
    if connection.dialect.name == "postgresql":
        limits = {"lock": lock_s, "statement": statement_s, "idle": IDLE_S}
        connection.execute(_LIMITS, {name: max(1, round(seconds * 1000)) for name, seconds in limits.items()}).close()
