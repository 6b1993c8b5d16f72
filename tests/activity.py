"""Watches pg_stat_activity while tests run: the profiles belong to the app, and no transaction of ours may stay on them.

Started with each test server; a fixture in conftest.py fails the test during which something was seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from tests.servers import Server

EVERY_S = 0.5  # a sixth of what is waited for: each look costs the server a few milliseconds
IDLE_MAX_S = 3.0  # the limit is 1 s: the server ends such a transaction itself, late where the machine is busy
OPEN_MAX_S = 10.0
# The state's own transactions name its schema, or take a lock of its own; one that has only begun holds nothing.
_STAYING = """
SELECT format('%%s in %%s: %%s, for %%s s since it began and %%s s since its last statement: %%s', pid, datname, state,
              round(extract(epoch FROM clock_timestamp() - xact_start)::numeric, 2),
              round(extract(epoch FROM clock_timestamp() - state_change)::numeric, 2), left(query, 300))
FROM pg_stat_activity
WHERE application_name = 'customer-parity' AND xact_start IS NOT NULL
  AND query NOT LIKE '%%reconciler.%%' AND query NOT ILIKE 'begin%%' AND query NOT ILIKE '%%reconciler_outbox%%'
  AND query NOT LIKE '%%pg_advisory_xact_lock%%'
  AND (clock_timestamp() - xact_start > make_interval(secs => %s)
       OR (state LIKE 'idle in transaction%%' AND clock_timestamp() - state_change > make_interval(secs => %s)))
"""
_seen: list[str] = []


def taken() -> list[str]:
    """What was seen since the last time, each with its statement."""
    found = list(dict.fromkeys(_seen))
    _seen.clear()
    return found


def staying(connection: psycopg.Connection) -> list[str]:
    """Transactions of ours that stay on a table of the app now."""
    return [str(row[0]) for row in connection.execute(_STAYING.encode(), [OPEN_MAX_S, IDLE_MAX_S]).fetchall()]


@contextmanager
def watched(server: Server) -> Iterator[None]:
    """Watch all databases of this server in a thread."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_S):
            with suppress(psycopg.OperationalError), server.connect() as connection:  # a test may stop the server
                before: set[str] = set()  # what a frozen server was asked ends when it continues: seen once
                while not ended.wait(EVERY_S):
                    found = {each.partition(":")[0]: each for each in staying(connection)}
                    _seen.extend(each for who, each in found.items() if who in before)
                    before = set(found)

    thread = threading.Thread(target=watch, name="activity")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
