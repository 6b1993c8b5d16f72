"""Whether the state takes what a webhook and a reconcile write: tried, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Engine, Table, delete, insert, text, update

from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.errors import StateError
from reconciler.state.all_tables import metadata
from reconciler.state.database.engine import SCHEMA, begin_writing, is_sqlite, translate_errors, writing
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.requests import FencingRow, RequestRow
from reconciler.state.tables.rows import event_row, mapping_row

_FENCING: Final[Table] = FencingRow.__table__
_WITHOUT_RIGHTS: Final = text(
    """
SELECT quote_ident(current_user), relname FROM pg_class
WHERE relnamespace = to_regnamespace(:schema) AND relname = ANY(:names)
  AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
           AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
ORDER BY relname LIMIT 1
"""
)


def check_writable(engine: Engine, *, now: datetime) -> None:
    """Raise StateError if a write fails: a full disk, a locked file, a read-only server, a missing right, a trigger.

    On SQLite all tables are in one file: a fencing token is taken, deleted and committed, since a rolled back transaction
    never reaches the disk. On Postgres a row of each table that a reconcile writes is inserted, updated and deleted in a
    transaction that is rolled back, and the other tables are checked for the role's rights. The rows are counted: a trigger,
    a rule or a policy may drop a write without an error.
    """
    if is_sqlite(engine):
        with writing(engine) as connection:
            connection.execute(insert(_FENCING))
            connection.execute(delete(_FENCING))
        return
    with translate_errors(), engine.connect() as connection:
        begin_writing(connection)
        connection.execute(insert(_FENCING))
        key = f"check:{uuid4().hex}"  # that no one else has, so that no two checks wait for each other
        for table, row in _rows(key, now):
            _try_writes(connection, table, row)
        names = [table.name for table in metadata.tables.values()]
        lacking = connection.execute(_WITHOUT_RIGHTS, {"schema": SCHEMA, "names": names}).first()
        connection.rollback()
    if lacking is not None:
        role, name = lacking
        raise StateError(
            f"the role {role} may not read and write {SCHEMA}.{name}",
            hint=f"grant select, insert, update, delete on all tables in schema {SCHEMA} to {role};",
        )


def _rows(key: str, now: datetime) -> Iterator[tuple[Table, dict[str, Any]]]:
    store, shop, user = StoreName(key), ShopDomain(key), ClerkUserId(key)
    times = dict.fromkeys(("due_at", "rank_at"), now)
    numbers = dict.fromkeys(("priority", "attempts", "generation", "seen", "explicit_generation", "fencing"), 0)
    yield RequestRow.__table__, {"store": store, "clerk_user_id": user, "reason": "", **times, **numbers}
    yield MappingRow.__table__, mapping_row(Mapping(clerk_user_id=user, store=store, shop=shop))
    yield EventRow.__table__, event_row(Event(now, store, shop, user, None, "check"))


def _try_writes(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert, update and delete this row. StateError if Postgres reports success and has written nothing."""
    mine = table.c.clerk_user_id == row["clerk_user_id"]
    writes = {
        "insert": insert(table).values(row).inline(),
        "update": update(table).where(mine).values(store=row["store"]),
        "delete": delete(table).where(mine),
    }
    for name, write in writes.items():
        if connection.execute(write, execution_options={"preserve_rowcount": True}).rowcount != 1:
            raise StateError(
                f"{SCHEMA}.{table.name} drops each {name} without an error",
                hint=f"check the triggers, rules and policies of {SCHEMA}.{table.name}",
            )
