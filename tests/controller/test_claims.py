"""Two users, one address: whatever has happened to the state, no customer is given to both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.core.model.store import Store
from tests.core.people import store
from tests.inprocess import Rig

SHARED = "shared@x.example.com"


def rig(folder: Path, **policy: Any) -> Rig:
    made = Rig(folder, acme(**policy))
    for user in ("user_ada", "user_bob"):
        made.user(user, email=f"{user}@x.example.com", first_name=user)
    return made


def acme(**policy: Any) -> Store:
    return store(guards={k: {"max": 99} for k in ("update", "relink", "merge", "release")}, **policy)


@pytest.mark.parametrize("conflict", ["relink", "merge", "hold"])
def test_two_who_lost_their_mappings_never_end_on_one_customer(tmp_path: Path, conflict: str) -> None:
    with rig(tmp_path, on_email_conflict=conflict) as components:
        components.cycle()
        components.sim("acme").staff("guest_checkout", email=SHARED)
        for user in ("user_ada", "user_bob"):
            components.user(user, email=SHARED)
        components.lose_state()
        for _ in range(3):
            cycle = components.cycle()
        assert {h.reason for h in cycle.planned.plan.stores[0].holds} == {"EmailTaken"}
        assert cycle.mutations == 0
        assert len(components.people("acme")) == 3
        assert {c.backlink for c in components.people("acme").values()} == {"user_ada", "user_bob", None}


def test_a_store_that_ignores_emails_gives_a_guest_to_neither_of_two(tmp_path: Path) -> None:
    with rig(tmp_path, fields={"email": "ignore"}) as components:
        components.sim("acme").staff("guest_checkout", email=SHARED)
        for user in ("user_ada", "user_bob"):
            components.user(user, email=SHARED)
        plan = components.cycle().planned.plan.stores[0]
        assert plan.actions == ()
        assert {(h.clerk_user_id, h.reason) for h in plan.holds} == {
            ("user_ada", "EmailTaken"),
            ("user_bob", "EmailTaken"),
        }
        assert [c.backlink for c in components.people("acme").values()] == [None]


def test_a_store_that_ignores_emails_makes_both_of_two_where_no_one_has_the_address(tmp_path: Path) -> None:
    with rig(tmp_path, fields={"email": "ignore"}) as components:
        for user in ("user_ada", "user_bob"):
            components.user(user, email=SHARED)
        components.cycle()
        assert {c.backlink for c in components.people("acme").values()} == {"user_ada", "user_bob"}
        assert components.cycle().mutations == 0
