"""Who had an email or a customer before is found by what was written, unless they were erased or forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from reconciler.core.fields.people import sought
from reconciler.core.model.action import Change
from reconciler.core.model.ids import CustomerId
from reconciler.core.report.answer import Former
from reconciler.state.console.former import FormerTable
from tests.contracts.test_state import AT, OTHER, SHOP, event, mapping, user
from tests.state_store import StateStore

LOST = CustomerId("gid://shopify/Customer/9001")


@pytest.fixture
def state(engine: Engine) -> StateStore:
    """u1 had an email, u2 had it and LOST, u3 had both in another shop, and u4 and u5 were erased, u6 was forgotten."""
    state = StateStore(engine)
    email = Change(field="email", before="ørSted%1@x.example", after="new@x.example", why="profile changed")
    gone = Change(field="customer", before=LOST, after=None, why="profile changed")
    note = replace(email, field="note")
    for n, name in enumerate(("u0", "u1", "u2", "u3", "u4", "u5", "u6")):
        shop = OTHER if name == "u3" else SHOP
        changes = {"u0": (note,), "u1": (email,)}.get(name, (email, gone))
        row = replace(mapping(name, shop=shop), email="new@x.example")
        held = replace(row, status="held", reason="Erased") if name == "u4" else row
        state.put(held, replace(event(name, AT + timedelta(hours=n), changes=changes), shop=shop))
    state.put(replace(mapping("u5"), status="erased", reason="Erased"))
    state.forget(SHOP, user("u6"))
    return state


def find(engine: Engine, word: str, *, read_max: int = 100) -> list[Former]:
    meant = sought(word, {None})
    assert meant is not None
    return FormerTable(engine, read_max=read_max).find_former(meant, shops=[SHOP])


def test_a_former_email_and_a_former_customer_are_found(engine: Engine, state: StateStore) -> None:
    assert state.events(limit=1)
    by_email = find(engine, "ørsted%1@X.example")
    assert [(each.clerk_user_id, each.now) for each in by_email] == [
        (user("u1"), "new@x.example"),
        (user("u2"), "new@x.example"),
    ]
    assert by_email[1].last_written_at == AT + timedelta(hours=2)
    (by_customer,) = find(engine, "9001")
    assert (by_customer.clerk_user_id, by_customer.value) == (user("u2"), LOST)
    assert find(engine, "rsted%1@x.example") == find(engine, "new@x.example") == find(engine, "Ada Byron") == []
    assert [each.clerk_user_id for each in find(engine, "ørsted%1@x.example", read_max=5)] == [user("u2")]
