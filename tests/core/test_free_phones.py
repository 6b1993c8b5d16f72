"""One free phone, several users of one plan: one gets it, however many they are and wherever their decisions are kept."""

from __future__ import annotations

import pytest

from reconciler.controller.scan.spool import IN_MEMORY, Spool
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.view import Subject
from reconciler.core.plan.gather import PlanBuilder, ScanResult
from reconciler.core.plan.series import ListBuilder, NewSeries
from tests.core.people import NOW, decided, profile, store

SHARED, COUNT = "+16134505299", 900
POLICY = store(fields={"phone": "enforce"}, guards={"create": {"max": COUNT * 2}})


def newcomers(new_series: NewSeries, *, keep_all: bool = False) -> ScanResult:
    """All but the first share their phone with the one before or after."""
    gathered = PlanBuilder(POLICY, now=NOW, new_series=new_series, keep_all=keep_all)
    for n in range(COUNT):
        user = ClerkUserId(f"user_{n:04}")
        who = profile(
            user, email=f"{user}@example.com", phone=SHARED if n % 3 else f"+1613450{n:04}", last_name="x" * 200
        )
        gathered.add(Subject(user, who, None), decided(who, None, POLICY))
    return gathered.result(mappings=0, restore_rate=100, whole=True)


@pytest.mark.parametrize("new_series", [ListBuilder, Spool])
def test_the_first_gets_the_phone_and_all_others_are_created_without_it(new_series: NewSeries) -> None:
    scan_result = newcomers(new_series)
    plan = scan_result.plan
    assert COUNT * 1000 > IN_MEMORY / 2
    with_phone = {a.clerk_user_id for a in plan.actions if any(c.field == "phone" for c in a.changes)}
    assert len(plan.actions) == COUNT
    assert with_phone == {"user_0001"} | {f"user_{n:04}" for n in range(0, COUNT, 3)}
    assert {(h.clerk_user_id, h.reason) for h in plan.holds} == {
        (a.clerk_user_id, "PhoneTaken") for a in plan.actions if a.clerk_user_id not in with_phone
    }
    assert {h.message.split(",")[0] for h in plan.holds} == {"the phone is also claimed by user_0001"}


def test_the_kept_decisions_say_the_same_as_the_plan() -> None:
    scan_result = newcomers(ListBuilder, keep_all=True)
    assert {d.action for _, d in scan_result.decisions.values()} == {*scan_result.plan.actions}
    assert {h for _, d in scan_result.decisions.values() for h in d.holds} == {*scan_result.plan.holds}


def test_what_a_guard_withholds_says_who_gets_the_phone_too() -> None:
    gathered = PlanBuilder(store(fields={"phone": "enforce"}, guards={"create": {"max": 0}}), now=NOW)
    for name in ("user_1", "user_2"):
        who = profile(ClerkUserId(name), email=f"{name}@example.com", phone=SHARED)
        gathered.add(Subject(who.clerk_user_id, who, None), decided(who, None, POLICY))
    rows = {
        row.clerk_user_id: row.message or "" for row in gathered.result(mappings=0, restore_rate=1, whole=True).rows
    }
    assert "user_1, who gets it first" in rows[ClerkUserId("user_2")]
    assert rows[ClerkUserId("user_2")].startswith(rows[ClerkUserId("user_1")] + "; ")


def test_who_has_nothing_but_the_shared_phone_is_held_whole() -> None:
    policy = store(fields={"phone": "enforce", "email": "ignore"}, require_email=False, trust_email="never")
    gathered = PlanBuilder(policy, now=NOW)
    for name in ("user_1", "user_2"):
        who = profile(ClerkUserId(name), email=None, first_name=None, last_name=None, phone=SHARED)
        gathered.add(Subject(who.clerk_user_id, who, None), decided(who, None, policy))
    plan = gathered.result(mappings=0, restore_rate=100, whole=True).plan
    assert [a.clerk_user_id for a in plan.actions] == ["user_1"]
    assert [(h.clerk_user_id, h.reason) for h in plan.holds] == [("user_2", "PhoneTaken")]
