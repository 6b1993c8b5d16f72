"""Addresses that pass from one of our users to another."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from reconciler.core import chains
from reconciler.core.chains import Blocked
from reconciler.core.gather import Gathered, Swept
from reconciler.core.ids import ClerkUserId
from reconciler.core.plan import Action
from reconciler.core.store import Store
from reconciler.core.view import Decision, Subject
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
    profile,
    same,
    settled,
    store,
)

THREE = (ADA, BOB, CYD)
Wants = dict[ClerkUserId, str]


def looked(wants: Wants, policy: Store | None = None, **shared: Any) -> list[tuple[Subject, Decision, Decision | None]]:
    """Each of these users sits on her own customer and address, and now wants the address of `wants`."""
    owners = {f"{user}@x.example.com": (user, number) for number, user in enumerate(sorted(wants), 1)}
    found = []
    for number, (user, email) in enumerate(sorted(wants.items()), 1):
        old = profile(user, **shared)
        there = same(old, number)
        later = profile(user, email=email, **shared)
        other, at = owners.get(email, (user, number))
        view: dict[str, Any] = {"mapped": there, "by_backlink": there}
        if other != user:
            view["by_email"] = same(profile(other, **shared), at)
        row = settled(old, there)
        decision = decided(later, row, policy, **view)
        free = decided(later, row, policy, mapped=there, by_backlink=there) if decision.blocked_by else None
        found.append((Subject(user, later, row), decision, free))
    return found


def gathered(wants: Wants, policy: Store | None = None, order: tuple[int, ...] | None = None, **shared: Any) -> Swept:
    found = looked(wants, policy, **shared)
    gather = Gathered(policy or store(), now=NOW)
    for position in order or range(len(found)):
        gather.add(*found[position])
    return gather.swept(mappings=len(found), restore_rate=100, whole=True)


def of(swept: Swept) -> dict[ClerkUserId, Action]:
    return {a.clerk_user_id: a for a in swept.plan.actions}


def address(user: ClerkUserId) -> str:
    return f"{user}@x.example.com"


FREE = Store.model_validate({"name": "acme", "shop": "acme.myshopify.com", "guards": {"update": {"max": 99}}})


def test_a_chain_goes_from_its_free_end() -> None:
    swept = gathered({ADA: address(BOB), BOB: address(CYD), CYD: "new@x.example.com"}, FREE)
    assert {u: a.waits_for for u, a in of(swept).items()} == {ADA: BOB, BOB: CYD, CYD: None}
    assert chains.waves(of(swept)) == {CYD: 0, BOB: 1, ADA: 2}
    assert not any(a.park for a in swept.plan.actions)
    assert swept.plan.holds == ()


def test_a_chain_whose_end_stays_is_held_whole() -> None:
    swept = gathered({ADA: address(BOB), BOB: address(CYD), CYD: address(CYD)}, FREE)
    assert swept.plan.actions == ()
    assert {(h.clerk_user_id, h.reason) for h in swept.plan.holds} == {(ADA, "EmailTaken"), (BOB, "EmailTaken")}
    assert {r.clerk_user_id: r.waits_for_email for r in swept.rows} == {ADA: address(BOB), BOB: address(CYD), CYD: None}


@pytest.mark.parametrize("size", [2, 3])
def test_a_circle_is_broken_by_parking_one_address(size: int) -> None:
    users = THREE[:size]
    swept = gathered({u: address(users[(i + 1) % size]) for i, u in enumerate(users)}, FREE)
    actions = of(swept)
    assert [u for u, a in actions.items() if a.park] == [ADA]
    assert actions[ADA].cost_points == 20
    assert {a.cost_points for u, a in actions.items() if u != ADA} == {10}
    waves = chains.waves(actions)
    assert waves[users[-1]] == 1, "whoever takes the parked address goes in the first round after the parking"
    assert waves[ADA] == size
    assert swept.plan.holds == ()


def test_the_one_who_can_park_parks() -> None:
    wants = {ADA: address(BOB), BOB: address(ADA)}
    found = looked(wants, FREE)
    blocked = {}
    for subject, decision, free in found:
        assert free is not None
        assert free.customer is not None
        bare = free.customer.model_copy(update={"first_name": None})
        if_free = free.model_copy(update={"customer": bare}) if subject.user == ADA else free
        blocked[subject.user] = Blocked(as_is=decision, if_free=if_free)
    moves = chains.resolved(blocked, {})
    assert [u for u, d in moves.items() if d.action and d.action.park] == [BOB]


def test_a_circle_in_which_nobody_can_park_is_held_and_named() -> None:
    wants = {ADA: address(BOB), BOB: address(CYD), CYD: address(ADA)}
    swept = gathered(wants, FREE, first_name=None)
    assert swept.plan.actions == ()
    assert {(h.clerk_user_id, h.reason) for h in swept.plan.holds} == {(u, "EmailConflict") for u in THREE}
    assert all(f"{ADA} → {BOB} → {CYD} → {ADA}" in h.message for h in swept.plan.holds)


def test_a_circle_in_which_one_may_not_move_waits() -> None:
    found = looked({ADA: address(BOB), BOB: address(ADA)}, FREE)
    gather = Gathered(FREE, now=NOW)
    for subject, decision, free in found:
        assert free is not None
        stays = free.model_copy(update={"action": None}) if subject.user == BOB else free
        gather.add(subject, decision, stays)
    plan = gather.swept(mappings=2, restore_rate=100, whole=True).plan
    assert plan.actions == ()
    assert {h.reason for h in plan.holds} == {"EmailTaken"}


def test_who_waits_for_somebody_in_a_circle_goes_after_it() -> None:
    dee = ClerkUserId("user_dee")
    swept = gathered({ADA: address(BOB), BOB: address(ADA), CYD: "c@x.example.com", dee: address(CYD)}, FREE)
    assert of(swept)[dee].waits_for == CYD
    tail = gathered({ADA: address(BOB), BOB: address(CYD), CYD: address(BOB)}, FREE)
    assert {u: a.waits_for for u, a in of(tail).items()} == {ADA: BOB, BOB: CYD, CYD: BOB}
    assert [u for u, a in of(tail).items() if a.park] == [BOB]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_in_which_they_are_seen_does_not_matter(order: tuple[int, ...]) -> None:
    for wants in (
        {ADA: address(BOB), BOB: address(CYD), CYD: address(ADA)},
        {ADA: address(BOB), BOB: address(CYD), CYD: "new@x.example.com"},
        {ADA: address(BOB), BOB: address(ADA), CYD: address(ADA)},
    ):
        assert gathered(wants, FREE, order).plan == gathered(wants, FREE).plan


def test_who_waits_for_a_withheld_action_waits_too() -> None:
    few = store(guards={"update": {"max": 3}, "release": {"max": 0}}, on_leave="delete")
    gone = same(profile(CYD), 3, can_delete=True)
    leaving = decided(None, settled(profile(CYD), gone), few, user=CYD, mapped=gone)
    gather = Gathered(few, now=NOW)
    gather.add(Subject(CYD, None, settled(profile(CYD), gone)), leaving)
    for user, email in ((ADA, address(BOB)), (BOB, address(CYD))):
        number = THREE.index(user) + 1
        old, later = profile(user), profile(user, email=email)
        there, other = same(old, number), ClerkUserId(email.partition("@")[0])
        row = settled(old, there)
        in_the_way = same(profile(other), THREE.index(other) + 1, can_delete=True)
        decision = decided(later, row, few, mapped=there, by_email=in_the_way)
        gather.add(Subject(user, later, row), decision, decided(later, row, few, mapped=there))
    swept = gather.swept(mappings=3, restore_rate=100, whole=True)
    assert swept.plan.actions == ()
    assert {(h.clerk_user_id, h.reason) for h in swept.plan.holds} == {
        (ADA, "EmailTaken"),
        (BOB, "EmailTaken"),
        (CYD, "GuardExceeded"),
    }


# --- what an action gives and takes --------------------------------------------------------------------------------


def _decision(act: Action | None, email: str | None = "old@x.example.com") -> Decision:
    return Decision(clerk_user_id=ADA, action=act, customer=customer(7, email=email))


@pytest.mark.parametrize(
    ("act", "given"),
    [
        (None, None),
        (action("create", ADA, None, changed("email", None, "a@x.example.com")), None),
        (action("update", ADA, 7, changed("email", "Old@x.example.com", "new@x.example.com")), "old@x.example.com"),
        (action("update", ADA, 7, changed("email", "Old@x.example.com", "old@x.example.com")), None),
        (action("update", ADA, 7, changed("first_name", "a", "b")), None),
        (action("update", ADA, 7, changed("email", None, "new@x.example.com")), None),
        (action("release", ADA, 7, how="delete"), "old@x.example.com"),
        (action("release", ADA, 7, how="tag"), None),
        (action("release", ADA, 7, how="erase"), None),
        (action("merge", ADA, 9, from_customer_id=gid(7)), "old@x.example.com"),
        (action("relink", ADA, 9, from_customer_id=gid(7)), None),
    ],
)
def test_what_sets_an_address_free(act: Action | None, given: str | None) -> None:
    assert chains.gives_up(_decision(act)) == given


def test_who_has_no_customer_or_no_address_gives_none_up() -> None:
    nobody = Decision(clerk_user_id=ADA, action=action("release", ADA, 7, how="delete"))
    assert chains.gives_up(nobody) is None
    assert chains.gives_up(_decision(action("release", ADA, 7, how="delete"), None)) is None


def test_what_takes_an_address() -> None:
    assert chains.takes(None) is None
    assert chains.takes(action("update", ADA, 7, changed("note", None, "x"))) is None
    assert chains.takes(action("create", ADA, None, changed("email", None, "A@x.example.com"))) == "a@x.example.com"


def test_rounds_of_actions_that_wait_for_nobody_in_the_plan() -> None:
    alone = {ADA: action("update", ADA, 7, waits_for=BOB)}
    assert chains.waves(alone) == {ADA: 0}
    assert chains.waves({}) == {}
