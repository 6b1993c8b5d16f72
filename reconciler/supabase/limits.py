"""How long a statement of ours on the profiles' table may wait and run: the table belongs to the app.

Whoever waits for a lock on a table makes those who come later queue behind it, and whoever stays idle in a transaction
keeps its locks. So each transaction has these limits, the reader's and the writer's alike.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

LOCK_S = 3.0
STATEMENT_S = 4.0
IDLE_S = 1.0  # between two statements of a transaction; nothing else is awaited there
SILENT: Final = {  # a network that swallows everything ends a call after so long, not after a quarter of an hour
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
"""
).bindparams(
    sa.bindparam("lock", type_=sa.Integer),
    sa.bindparam("statement", type_=sa.Integer),
    sa.bindparam("idle", type_=sa.Integer),
)


def limit(
    connection: Connection, *, lock_s: float = LOCK_S, statement_s: float = STATEMENT_S, idle_s: float = IDLE_S
) -> None:
    """Limit each statement of this transaction: the first thing to do in it. Nothing on SQLite, see `BUSY_S`.

    Holds for this transaction only, so that a transaction pooler honours it and nothing leaks to its next client.
    Where the server or the role has set a smaller limit, that one stays.
    """
    if connection.dialect.name == "postgresql":
        limits = {"lock": lock_s, "statement": statement_s, "idle": idle_s}
        connection.execute(_LIMITS, {name: max(1, round(seconds * 1000)) for name, seconds in limits.items()}).close()
