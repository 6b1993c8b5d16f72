"""From decisions to a plan: guards, approval, counting, sorting, and the digest that seals it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from reconciler.core.decide.cost import points_of
from reconciler.core.model.action import Kind, sorted_actions, sorted_holds
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.reasons import WHO_ACTS, hold
from reconciler.core.model.store import Ceiling, Store
from reconciler.core.model.view import Subject
from reconciler.core.plan.forecast import BULK_LATENCY_S, forecast
from reconciler.core.plan.gather import PlanBuilder, ScanResult, with_withheld
from reconciler.core.plan.guard import apply_guards, ceiling_of, closed_kinds
from reconciler.core.plan.plan import StorePlan, build_plan, digest_of_stores
from tests.core.people import (
    ADA,
    BOB,
    CYD,
    NOW,
    action,
    changed,
    customer,
    decided,
    gid,
    mapping,
    profile,
    same,
    settled,
    store,
)

# --- guards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ceiling", "count", "mappings", "passes"),
    [
        (Ceiling(max=2), 2, 0, True),
        (Ceiling(max=2), 3, 1000, False),
        (Ceiling(max=0), 0, 0, True),
        (Ceiling(max=500, percent=30), 3, 10, True),
        (Ceiling(max=500, percent=30), 4, 10, False),
        (Ceiling(max=500, percent=30), 1, 3, False),
        (Ceiling(max=500, percent=30), 1, 4, True),
        (Ceiling(max=500, percent=30), 5, 0, True),
        (Ceiling(max=4, percent=30), 5, 0, False),
        (Ceiling(max=500, percent=0), 1, 9, False),
        (Ceiling(max=500, percent=33.4), 1, 3, True),
        (Ceiling(max=500, percent=100), 9, 9, True),
    ],
)
def test_both_bounds_of_a_ceiling_hold_and_work_on_small_sets(
    ceiling: Ceiling, count: int, mappings: int, passes: bool  # noqa: FBT001  a case
) -> None:  # fmt: skip
    assert (count <= ceiling_of(ceiling, mappings)) is passes


def test_a_kind_above_its_ceiling_is_held_whole_and_the_others_go_on() -> None:
    actions = sorted_actions([action("create", u, None) for u in (ADA, BOB)] + [action("release", CYD)])
    found = apply_guards(
        actions, store(guards={"create": {"max": 1}, "release": {"max": 9, "percent": 10}}), mappings=10
    )
    assert [a.clerk_user_id for a in found.actions] == [CYD]
    assert [a.clerk_user_id for a in found.withheld] == [ADA, BOB]
    assert {(h.reason, h.who_acts) for h in found.holds} == {("GuardExceeded", "operator")}
    said = "2 create actions are above the ceiling of 1; to allow these, approve the digest of the plan"
    assert found.holds[0].message == said


def test_a_held_kind_says_its_percentage() -> None:
    policy = store(guards={"release": {"max": 9, "percent": 7.5}})
    found = apply_guards((action("release"),), policy, mappings=10)
    assert found.holds[0].message.startswith(
        "1 release action is above the ceiling of 9 and 7.5 % of 10 mappings, which together allow none; "
    )
    assert closed_kinds(policy, 13) == {"release": 14} | {
        k: v for k, v in closed_kinds(store(), 13).items() if k != "release"
    }
    assert "release" not in closed_kinds(policy, 14)
    assert apply_guards((action("release"),), policy, mappings=14).holds == ()
    assert "release" not in closed_kinds(policy, 0)  # without mappings only max counts


@pytest.mark.parametrize("kind", ["create", "adopt", "update", "relink", "merge", "release"])
def test_every_kind_has_its_ceiling(kind: Kind) -> None:
    policy = store(guards={kind: {"max": 0}})
    assert apply_guards((action(kind),), policy, mappings=1000).withheld == (action(kind),)


def test_what_is_approved_has_both_updates_of_a_user_with_two_customers() -> None:
    both = (action("update", ADA, 1), action("update", ADA, 2))  # as `undo` of a re-link
    name, shop = StoreName("acme"), ShopDomain("acme.myshopify.com")
    found = ScanResult(StorePlan(store=name, shop=shop), withheld=both)
    assert with_withheld(found).plan.actions == both


# --- gathering -----------------------------------------------------------------------------------------------------


def scanned(policy: Store, *users: ClerkUserId, order: tuple[int, ...] | None = None, **kwargs: Any) -> ScanResult:
    """Ada is new, Bob has changed, Cyd is in sync."""
    gather = PlanBuilder(policy, now=NOW, **kwargs)
    cases = []
    for number, user in enumerate(users, 1):
        who = profile(user)
        there = same(who, number, policy)
        row = settled(who, there, policy)
        if user == ADA:
            cases.append((Subject(user, who, None), decided(who, None, policy)))
        elif user == BOB:
            later = profile(user, last_name="B")
            cases.append((Subject(user, later, row), decided(later, row, policy, mapped=there)))
        else:
            cases.append((Subject(user, who, row), decided(who, row, policy, mapped=there)))
    for position in order or range(len(cases)):
        gather.add(*cases[position])
    return gather.result(mappings=2, restore_rate=50, whole=True)


AMPLE = {"guards": {"update": {"max": 9}}}


def test_a_plan_counts_what_acts_what_waits_and_what_is_in_sync() -> None:
    scan_result = scanned(store(**AMPLE), ADA, BOB, CYD)
    summary = scan_result.plan.summary
    assert (summary.create, summary.update, summary.in_sync, summary.hold, summary.actions) == (1, 1, 1, 0, 2)
    assert scan_result.profiles == 3
    assert (scan_result.plan.forecast.points, scan_result.plan.forecast.seconds) == (20, 0.4)
    assert scan_result.decisions == {}


def test_what_a_guard_withholds_is_in_the_holds_and_is_remembered_in_the_row() -> None:
    scan_result = scanned(store(guards={"update": {"max": 9, "percent": 30}}), ADA, BOB, CYD)
    assert [a.clerk_user_id for a in scan_result.plan.actions] == [ADA]
    assert [(h.clerk_user_id, h.reason) for h in scan_result.plan.holds] == [(BOB, "GuardExceeded")]
    assert {r.clerk_user_id: r.reason for r in scan_result.rows}[BOB] == "GuardExceeded"
    assert scan_result.plan.summary.hold == 1


def test_approving_lets_exactly_what_was_withheld_go() -> None:
    scan_result = scanned(store(guards={"update": {"max": 0}}), ADA, BOB, CYD)
    let = with_withheld(scan_result)
    assert [a.clerk_user_id for a in let.plan.actions] == [ADA, BOB]
    assert let.plan.holds == ()
    assert let.plan.summary.update == 1
    assert with_withheld(scanned(store(**AMPLE), ADA)).plan.holds == ()


def test_guards_can_be_left_out_and_decisions_kept() -> None:
    policy = store(guards={"update": {"max": 0}})
    gather = PlanBuilder(policy, now=NOW, guards=False, keep_all=True)
    there = same(profile(BOB))
    later = profile(BOB, last_name="B")
    row = settled(profile(BOB), there)
    gather.add(Subject(BOB, later, row), decided(later, row, policy, mapped=there))
    cyd = profile(CYD)
    known = settled(cyd, same(cyd))
    gather.add(Subject(CYD, cyd, known), decided(cyd, known, policy, mapped=same(cyd)))
    scan_result = gather.result(mappings=1, restore_rate=100, whole=False)
    assert [a.clerk_user_id for a in scan_result.plan.actions] == [BOB]
    assert set(scan_result.decisions) == {BOB, CYD}
    assert not scan_result.whole


def test_who_is_not_wanted_is_not_counted_as_a_profile() -> None:
    gather = PlanBuilder(store(), now=NOW)
    gather.add(Subject(ADA, None, None), decided(None))
    unsure = profile(BOB, problems=({"field": "deleted_at", "message": "b"},))
    gather.add(Subject(BOB, unsure, mapping(BOB)), decided(unsure, mapping(BOB), mapped=customer(7)))
    assert gather.result(mappings=0, restore_rate=100, whole=True).profiles == 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_same_decisions_give_the_same_plan_in_any_order(order: tuple[int, ...]) -> None:
    for policy in (store(**AMPLE), store(guards={"update": {"max": 0}})):
        one = scanned(policy, ADA, BOB, CYD)
        other = scanned(policy, ADA, BOB, CYD, order=order)
        assert one.plan == other.plan
        assert build_plan([one.plan], created_at=NOW).digest == build_plan([other.plan], created_at=NOW).digest


# --- plan and digest -----------------------------------------------------------------------------------------------


def test_actions_are_sorted_by_kind_and_user_and_holds_by_user_and_reason() -> None:
    actions = [action("release", ADA), action("create", BOB, None), action("create", ADA, None)]
    assert [(a.kind, a.clerk_user_id) for a in sorted_actions(actions)] == [
        ("create", ADA),
        ("create", BOB),
        ("release", ADA),
    ]
    holds = [hold(BOB, None, "NoEmail", ""), hold(ADA, None, "Rejected", "", "phone"), hold(ADA, None, "NoEmail", "")]
    assert [(h.clerk_user_id, h.reason) for h in sorted_holds(holds)] == [
        (ADA, "NoEmail"),
        (ADA, "Rejected"),
        (BOB, "NoEmail"),
    ]


def test_the_digest_covers_what_was_decided_and_not_when_or_at_what_cost() -> None:
    plan = scanned(store(**AMPLE), ADA, BOB).plan
    cheap = replace(plan, forecast=forecast((), 1), error_hint="x")
    held = replace(plan, holds=(hold(ADA, None, "NoEmail", ""),))
    base = digest_of_stores([plan])
    assert base.startswith("sha256:")
    assert digest_of_stores([cheap]) == base
    assert digest_of_stores([held]) != base
    assert digest_of_stores([replace(plan, config_digest="x")]) != base


def test_a_plan_of_many_stores_is_sorted_and_totalled() -> None:
    one = scanned(store(**AMPLE), ADA, BOB).plan
    other = replace(one, store=StoreName("aaa"))
    broken = StorePlan(store=StoreName("zzz"), shop=ShopDomain("z.myshopify.com"), error="no")
    plan = build_plan([broken, one, other], created_at=NOW)
    assert [s.store for s in plan.stores] == ["aaa", "acme", "zzz"]
    assert (plan.summary.create, plan.summary.update) == (2, 2)
    assert plan.digest == build_plan([other, broken, one], created_at=NOW).digest


def test_a_hold_names_the_customer_where_one_is_known_and_who_must_act() -> None:
    assert hold(ADA, customer(7), "NoEmail", "").customer_id == gid(7)
    assert hold(ADA, mapping(ADA, 8), "NoEmail", "").customer_id == gid(8)
    assert hold(ADA, None, "NoEmail", "").customer_id is None
    assert {hold(ADA, None, reason, "").who_acts for reason in WHO_ACTS} <= {"operator", "profile", "shop", "time"}


# --- forecast ------------------------------------------------------------------------------------------------------


META = changed("metafields.clerk.a", None, "1")


@pytest.mark.parametrize(
    ("kind", "changes", "how", "points"),
    [
        ("create", (changed("email", None, "a"), changed("tags", [], ["a"])), "", 10),
        ("create", (META,), "", 20),
        ("update", (changed("email", "a", "b"), changed("note", "a", "b")), "", 10),
        ("update", (changed("tags", ["a"], ["b"]),), "", 20),
        ("update", (changed("tags", ["a"], ["a", "b"]),), "", 10),
        ("update", (META, changed("metafields.clerk.b", "1", None)), "", 20),
        ("update", (changed("backlink", None, "u"), changed("email", None, "a")), "", 20),
        ("relink", (changed("backlink", None, "u"),), "", 50),
        ("merge", (changed("backlink", None, "u"),), "", 20),
        ("release", (), "keep", 0),
        ("release", (changed("tags", [], ["clerk-left"]),), "tag", 10),
        ("release", (changed("customer", "gid", None),), "delete", 10),
        ("release", (changed("customer", "gid", None),), "erase", 10),
    ],
)
def test_an_action_costs_ten_points_a_mutation(kind: Kind, changes: Any, how: str, points: int) -> None:
    assert points_of(kind, changes, how) == points


def test_bulk_pays_where_the_paced_way_takes_longer_than_a_bulk_operation_comes_back() -> None:
    few = [action("create", f"user_{i}", None) for i in range(int(BULK_LATENCY_S))]
    many = [*few, action("create", "user_more", None)]
    assert not forecast(few, 10).bulk_worth_it
    assert forecast(many, 10).bulk_worth_it
    assert forecast([*many, action("release", ADA)], 10).bulk_points == 70
    assert not forecast([action("release", ADA)] * 999, 1).bulk_worth_it
    assert forecast([], 0).seconds == 0
