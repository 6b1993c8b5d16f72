"""`PatientPool`: a pool that waits while the server has no connection left, instead of failing at the first refusal.

A connection becomes free when another client closes one, or when another thread returns one to this pool: a role that may
have two connections serves any number of threads.
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import Engine, PoolProxiedConnection, QueuePool

from reconciler.outbound.databases.refusals import db_refusal, telling_line

CROWDED_S: Final = 10.0
"""Less than what a shutdown leaves for work in progress. Shopify waits five for a webhook, and sends it again."""
LOOK_S: Final = 0.05  # between two looks at the pool; the server itself is asked again after a pause (logins.py)


class PatientPool(QueuePool):
    """Raises the refusal of a crowded server once that has lasted CROWDED_S, or the pool's timeout if it is shorter.

    `refused`: the refusal that calls wait for to end; empty after a call that got its connection.
    """

    refused: str = ""

    def connect(self) -> PoolProxiedConnection:
        import psycopg  # noqa: PLC0415  commands on SQLite never need it

        until = time.monotonic() + min(CROWDED_S, self.timeout())
        while True:
            try:
                connection = super().connect()
            except psycopg.OperationalError as error:
                refusal = db_refusal(str(error), setting="")
                if refusal is None or refusal.kind != "crowded" or time.monotonic() >= until:
                    raise
                self.refused = telling_line(str(error))
            else:
                self.refused = ""
                return connection
            time.sleep(LOOK_S)


def refusal_of_waiting_calls(engine: Engine) -> str:
    """Why calls on this engine wait for a connection; empty if the server refuses none."""
    return engine.pool.refused if isinstance(engine.pool, PatientPool) else ""
