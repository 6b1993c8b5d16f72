"""The verdicts on saved plans, `undo` and redactions see what they are there to see: each row breaks one thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.model.action import Action, Change
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping, Status
from reconciler.state.database.engine import open_engine
from tests.chaos.checker import Customer, Life
from tests.chaos.people import US, User
from tests.simulation.outside import SimApp
from tests.simulation.redactions import Redaction, kept_data, written_since
from tests.simulation.saved import Saved, event_violations, refusal_violations
from tests.simulation.scheduler import START, Scheduler
from tests.simulation.undo import written_again, wrong_deletions
from tests.simulation.waves import Edit
from tests.state_store import StateStore
from tests.states import state_template

ADA = ClerkUserId("user_a")
GID = "gid://shopify/Customer/1"
NOW = 1000.0


def event(kind: str, field: str = "first_name", after: str | None = "Ada") -> Event:
    change = Change(field=field, before=None, after=after, why="profile changed")
    at = datetime.fromtimestamp(NOW, UTC)
    return Event(at, StoreName(US), ShopDomain(f"{US}.myshopify.com"), ADA, CustomerId(GID), kind, (change,))


def saved(kind: str = "update") -> Saved:
    return Saved(Path("a.plan"), NOW, Edit(), max_age_s=600.0, kinds={(US, ADA): kind})


@pytest.mark.parametrize(
    ("begun", "began_at", "edit", "found"),
    [(1, NOW + 600, 0, 0), (2, NOW + 600, 0, 1), (1, NOW + 601, 0, 1), (1, NOW + 1, 1, 1)],
)
def test_a_saved_plan_is_applied_once_in_time_and_by_the_same_files(
    begun: int, began_at: float, edit: int, found: int
) -> None:
    file = saved()
    file.begun = [began_at] * begun
    assert len(list(refusal_violations(file, began_at, Edit(edit)))) == found


@pytest.mark.parametrize(
    ("planned", "written", "found"),
    [
        ("update", event("update"), 0),
        ("update", event("update", after="Grace"), 0),
        ("update", event("update", after="Eve"), 1),
        ("update", event("update", "metafields.clerk.avatar_url", "https://img.example.com/1.png"), 1),
        ("adopt", event("create"), 0),
        ("update", event("relink"), 1),
        ("release", event("release", "customer", None), 1),
    ],
)
def test_a_saved_plan_writes_what_it_shows_and_what_the_rows_have_now(
    planned: str, written: Event, found: int, tmp_path: Path
) -> None:
    scheduler, user = Scheduler(1), User(ADA, "app", "a@example.com", "Eve", "Byron")
    app = SimApp(tmp_path / "profiles.db", scheduler)
    for first in ("Eve", "Ada", "Grace"):
        user.first = first
        app.upsert(user)
        scheduler.now_s += 10.0
    found_now = list(event_violations(saved(planned), app, US, [written], START + 15.0))
    app.close()
    assert len(found_now) == found


@pytest.mark.parametrize(
    ("first_owner", "touched_at", "found"), [(ADA, 0.0, 0), (ADA, NOW + 30, 0), (ADA, NOW + 90, 1), (None, 0.0, 1)]
)
def test_undo_deletes_what_was_created_and_not_touched_since(
    first_owner: str | None, touched_at: float, found: int
) -> None:
    life = Life(US, GID, [(NOW, first_owner, "a@example.com"), (NOW, ADA, "a@example.com")])
    assert len(list(wrong_deletions(ADA, life, touched_at, NOW))) == found


@pytest.mark.parametrize(
    ("field", "after", "shown", "found"),
    [
        ("first_name", "Eve", {"first": "Eve"}, 0),
        ("first_name", "Eve", {"first": "Ada"}, 1),
        ("backlink", None, {"owner": None}, 0),
        ("backlink", None, {"owner": ADA}, 1),
        ("backlink", None, {"owner": ADA, "id": f"{GID}2"}, 1),
    ],
)
def test_what_was_taken_back_is_not_written_again(
    field: str, after: str | None, shown: dict[str, Any], found: int
) -> None:
    values = {"id": GID, "owner": ADA, "first": "Eve", **shown}
    now = Customer(
        US, values["id"], "a@example.com", values["first"], "Byron", None, None, (), 0, values["owner"], None
    )
    change = Change(field=field, before="Ada", after=after, why="undo")
    action = Action(kind="update", clerk_user_id=ADA, customer_id=CustomerId(GID), changes=(change,), cost_points=1)
    user = User(ADA, "app", "a@example.com", "Ada", "Byron")
    owned = now if now.owner is not None else None
    assert len(list(written_again(user, action, now if now.id == GID else None, owned))) == found


@pytest.mark.parametrize(
    ("status", "email", "kept", "found"),
    [
        ("erased", None, (), 0),
        ("in_sync", None, (), 1),
        ("in_sync", "a@example.com", (), 2),
        ("erased", None, ("x",), 1),
    ],
)
def test_nothing_of_a_redacted_person_is_kept(
    status: Status, email: str | None, kept: tuple[str, ...], found: int, tmp_path: Path
) -> None:
    (tmp_path / "state.db").write_bytes(state_template())
    engine = open_engine(f"sqlite:///{tmp_path / 'state.db'}")
    row = Mapping(
        clerk_user_id=ADA, store=StoreName(US), shop=ShopDomain(f"{US}.myshopify.com"), status=status, email=email
    )
    StateStore(engine).put(row, *(event("update", "email", "a@example.com") for _ in kept))
    left = list(kept_data(engine, Redaction(US, GID, ADA, frozenset({"a@example.com"}))))
    engine.dispose()
    assert len(left) == found


@pytest.mark.parametrize(
    ("first", "owned", "touched", "found"),
    [(None, set(), False, 0), ("Ada", set(), False, 1), ("Ada", set(), True, 0), (None, {f"{GID}2"}, False, 1)],
)
def test_a_redacted_person_gets_no_customer_and_no_values(
    *, first: str | None, owned: set[str], touched: bool, found: int
) -> None:
    emptied = Customer(US, GID, None, None, None, None, None, (), 0, None, None)
    redaction = Redaction(US, GID, ADA, frozenset(), accepted_at=NOW, after=(emptied, frozenset()))
    now = replace(emptied, first=first), frozenset(owned)
    assert len(list(written_since(redaction, now, is_touched=touched))) == found
