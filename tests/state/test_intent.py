"""The intent in a row: what an earlier version wrote is read, too."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, select, update

from reconciler.core.model.mapping import Intent
from reconciler.state.tables.mappings import metadata
from tests.contracts.test_state import mapping, one
from tests.state_store import StateStore

ROWS = next(table for table in metadata.tables.values() if table.name == "reconciler_mapping")


def stored(engine: Engine) -> object:
    with engine.connect() as connection:
        return connection.execute(select(ROWS.c.intent)).scalar_one()


@pytest.mark.parametrize(
    ("row", "intent"),
    [
        ({"kind": "park", "email": "a@x.example.com"}, Intent(kind="park", parked={"email": "a@x.example.com"})),
        ({"kind": "park", "parked": {"phone": "+47"}}, Intent(kind="park", parked={"phone": "+47"})),
        ({"kind": "succession", "to": "user_2"}, Intent(kind="succession", to="user_2")),
        ({"kind": "create"}, Intent(kind="create")),
        ({"kind": "write", "from": None, "to": "c1", "changes": []}, Intent(kind="write", to="c1", changes=())),
    ],
)
def test_an_intent_is_read_as_it_was_written(engine: Engine, row: dict[str, object], intent: Intent) -> None:
    state = StateStore(engine)
    state.put(mapping("1"))
    with engine.begin() as connection:
        connection.execute(update(ROWS).values(intent=row))
    found = one(state, "1")
    assert found.intent == intent
    state.put(found)
    assert stored(engine) == ({"kind": "park", "parked": found.parked_values} if "email" in row else row)
