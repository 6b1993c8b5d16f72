"""Addresses that pass from one of our users to another."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model.action import Action
from reconciler.core.model.ids import UNIQUE, ClerkUserId, Unique
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import Store
from reconciler.core.model.values import text_of
from reconciler.core.model.view import Decision, Subject
from reconciler.core.plan import chains
from reconciler.core.plan.chains import Blocked
from reconciler.core.plan.circles import break_circles
from reconciler.core.plan.gather import PlanBuilder, ScanResult
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
Owners = dict[ClerkUserId, ClerkUserId]
Observed = tuple[Subject, Decision, Blocked | None]


def blocked(decision: Decision, email_free: Decision) -> Blocked | None:
    """The decision as it is, and the one that holds if the email is free."""
    return Blocked(decisions={frozenset(): decision, frozenset({"email"}): email_free}) if decision.taken else None


def observed(wants: Wants, policy: Store | None = None, **shared: Any) -> list[Observed]:
    """Each of these users has a customer with the user's own address, and now wants the address of `wants`."""
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
        free = decided(later, row, policy, mapped=there, by_backlink=there)
        found.append((Subject(user, later, row), decision, blocked(decision, free)))
    return found


def gathered(
    wants: Wants, policy: Store | None = None, order: tuple[int, ...] | None = None, **shared: Any
) -> ScanResult:
    found = observed(wants, policy, **shared)
    gather = PlanBuilder(policy or store(), now=NOW)
    for position in order or range(len(found)):
        gather.add(*found[position])
    return gather.result(mappings=len(found), restore_rate=100, whole=True)


def of(scan_result: ScanResult) -> dict[ClerkUserId, Action]:
    return {a.clerk_user_id: a for a in scan_result.plan.actions}


def address(user: ClerkUserId) -> str:
    return f"{user}@x.example.com"


FREE = Store.model_validate({"name": "acme", "shop": "acme.myshopify.com", "guards": {"update": {"max": 99}}})


def test_a_chain_goes_from_its_free_end() -> None:
    scan_result = gathered({ADA: address(BOB), BOB: address(CYD), CYD: "new@x.example.com"}, FREE)
    assert {u: a.waits_for for u, a in of(scan_result).items()} == {ADA: (BOB,), BOB: (CYD,), CYD: ()}
    assert chains.waves(of(scan_result)) == {CYD: 0, BOB: 1, ADA: 2}
    assert not any(a.park for a in scan_result.plan.actions)
    assert scan_result.plan.holds == ()


def test_a_chain_with_an_end_that_stays_is_held_whole() -> None:
    scan_result = gathered({ADA: address(BOB), BOB: address(CYD), CYD: address(CYD)}, FREE)
    assert scan_result.plan.actions == ()
    assert {(h.clerk_user_id, h.reason) for h in scan_result.plan.holds} == {(ADA, "EmailTaken"), (BOB, "EmailTaken")}
    assert {r.clerk_user_id: r.waits_for_email for r in scan_result.rows} == {
        ADA: address(BOB),
        BOB: address(CYD),
        CYD: None,
    }


@pytest.mark.parametrize("size", [2, 3])
def test_a_circle_is_broken_by_parking_one_address(size: int) -> None:
    users = THREE[:size]
    scan_result = gathered({u: address(users[(i + 1) % size]) for i, u in enumerate(users)}, FREE)
    actions = of(scan_result)
    assert [u for u, a in actions.items() if a.park] == [ADA]
    assert actions[ADA].cost_points == 20
    assert {a.cost_points for u, a in actions.items() if u != ADA} == {10}
    waves = chains.waves(actions)
    assert waves[users[-1]] == 1, "the user who takes the parked address goes in the first round after the parking"
    assert waves[ADA] == size
    assert scan_result.plan.holds == ()


def test_the_one_who_can_park_parks() -> None:
    wants = {ADA: address(BOB), BOB: address(ADA)}
    found = observed(wants, FREE)
    cases = {}
    for subject, _, case in found:
        assert case is not None
        bare = {
            fields: replace(d, customer=d.customer.model_copy(update={"first_name": None}))
            for fields, d in case.decisions.items()
            if d.customer is not None
        }
        cases[subject.user] = Blocked(decisions=bare) if subject.user == ADA else case
    moves = chains.resolve(cases, {})
    assert [u for u, d in moves.items() if d.action and d.action.park] == [BOB]


def test_a_circle_in_which_no_one_can_park_is_held_and_named() -> None:
    wants = {ADA: address(BOB), BOB: address(CYD), CYD: address(ADA)}
    scan_result = gathered(wants, FREE, first_name=None)
    assert scan_result.plan.actions == ()
    assert {(h.clerk_user_id, h.reason) for h in scan_result.plan.holds} == {(u, "EmailConflict") for u in THREE}
    assert all(f"{ADA} → {BOB} → {CYD} → {ADA}" in h.message for h in scan_result.plan.holds)


def test_a_circle_in_which_one_may_not_move_waits() -> None:
    found = observed({ADA: address(BOB), BOB: address(ADA)}, FREE)
    gather = PlanBuilder(FREE, now=NOW)
    for subject, decision, case in found:
        assert case is not None
        free, _ = case.decision_with(UNIQUE[:1])
        stays = replace(free, action=None) if subject.user == BOB else free
        gather.add(subject, decision, blocked(decision, stays))
    plan = gather.result(mappings=2, restore_rate=100, whole=True).plan
    assert plan.actions == ()
    assert {h.reason for h in plan.holds} == {"EmailTaken"}


def test_who_waits_for_somebody_in_a_circle_goes_after_it() -> None:
    dee = ClerkUserId("user_dee")
    scan_result = gathered({ADA: address(BOB), BOB: address(ADA), CYD: "c@x.example.com", dee: address(CYD)}, FREE)
    assert of(scan_result)[dee].waits_for == (CYD,)


def test_an_address_for_which_two_wait_goes_to_the_one_who_closes_a_circle_by_it() -> None:
    scan_result = gathered({ADA: address(BOB), BOB: address(CYD), CYD: address(BOB)}, FREE)
    assert {u: a.waits_for for u, a in of(scan_result).items()} == {BOB: (CYD,), CYD: (BOB,)}
    assert [u for u, a in of(scan_result).items() if a.park] == [BOB]
    assert [(h.clerk_user_id, h.reason) for h in scan_result.plan.holds] == [(ADA, "EmailTaken")]


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
    gather = PlanBuilder(few, now=NOW)
    gather.add(Subject(CYD, None, settled(profile(CYD), gone)), leaving)
    for user, email in ((ADA, address(BOB)), (BOB, address(CYD))):
        number = THREE.index(user) + 1
        old, later = profile(user), profile(user, email=email)
        there, other = same(old, number), ClerkUserId(email.partition("@")[0])
        row = settled(old, there)
        in_the_way = same(profile(other), THREE.index(other) + 1, can_delete=True)
        decision = decided(later, row, few, mapped=there, by_email=in_the_way)
        gather.add(Subject(user, later, row), decision, blocked(decision, decided(later, row, few, mapped=there)))
    scan_result = gather.result(mappings=3, restore_rate=100, whole=True)
    assert scan_result.plan.actions == ()
    assert {(h.clerk_user_id, h.reason) for h in scan_result.plan.holds} == {
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
    assert chains.freed_keys(_decision(act)) == {given} - {None}


def test_who_has_no_customer_or_no_address_gives_none_up() -> None:
    no_one = Decision(clerk_user_id=ADA, action=action("release", ADA, 7, how="delete"))
    assert chains.freed_keys(no_one) == frozenset()
    assert chains.freed_keys(_decision(action("release", ADA, 7, how="delete"), None)) == frozenset()


def test_what_takes_an_address() -> None:
    assert chains.written_keys(None) == frozenset()
    assert chains.written_keys(action("update", ADA, 7, changed("note", None, "x"))) == frozenset()
    written = action("create", ADA, None, changed("email", None, "A@x.example.com"), changed("phone", None, "+1 613"))
    assert chains.written_keys(written) == {"a@x.example.com", "+1613"}


def test_rounds_of_actions_that_wait_for_no_one_in_the_plan() -> None:
    alone = {ADA: action("update", ADA, 7, waits_for=(BOB,))}
    assert chains.waves(alone) == {ADA: 0}
    assert chains.waves({}) == {}


# --- emails and phones together -------------------------------------------------------------------------------------


PHONES = FREE.model_copy(update={"fields": FREE.fields.model_copy(update={"phone": "enforce"})})


def number(user: ClerkUserId) -> str:
    return f"+1613555{1000 + int(user.removeprefix('user_'))}"


def both(
    emails: Owners, phones: Owners, *, named: Container[ClerkUserId]
) -> dict[ClerkUserId, tuple[Subject, Blocked]]:
    """Users who have an email and a phone each, and now want those of others."""
    users = sorted(emails)
    at = {user: n for n, user in enumerate(users, 1)}
    old = {u: profile(u, phone=number(u), first_name=u if u in named else None) for u in users}
    there = {u: same(old[u], at[u], PHONES) for u in users}
    found = {}
    for user in users:
        later = old[user].model_copy(update={"email": address(emails[user]), "phone": number(phones[user])})
        row = settled(old[user], there[user], PHONES)
        view = {"mapped": there[user], "by_backlink": there[user]}
        view |= {"by_email": there[emails[user]]} if emails[user] != user else {}
        view |= {"by_phone": there[phones[user]]} if phones[user] != user else {}

        def judge(free: frozenset[Unique], who: Profile = later, row: Mapping = row, seen: Any = view) -> Decision:
            return decided(who, row, PHONES, **{k: v for k, v in seen.items() if k.removeprefix("by_") not in free})

        case = chains.alternatives_of(judge(frozenset()), judge)
        if case is not None:
            found[user] = (Subject(user, later, row), case)
    return found


PEOPLE = tuple(ClerkUserId(f"user_{n}") for n in range(6))


@given(st.permutations(PEOPLE), st.permutations(PEOPLE))
def test_any_permutation_of_emails_and_phones_is_written_without_a_collision(
    emails: list[ClerkUserId], phones: list[ClerkUserId]
) -> None:
    wants_email, wants_phone = dict(zip(PEOPLE, emails, strict=True)), dict(zip(PEOPLE, phones, strict=True))
    found = both(wants_email, wants_phone, named=PEOPLE)
    moves = chains.resolve({user: case for user, (_, case) in found.items()}, {})
    actions = {user: d.action for user, d in moves.items() if d.action is not None}
    assert {user for user in PEOPLE if wants_email[user] != user or wants_phone[user] != user} == actions.keys()
    assert not any(d.holds for d in moves.values())
    shop = {user: {"email": address(user), "phone": number(user)} for user in PEOPLE}
    for user, act in actions.items():
        for field in act.park:
            del shop[user][field]
    rounds = chains.waves(actions)
    for user in sorted(actions, key=lambda u: (rounds[u], u)):
        for change in actions[user].changes:
            assert change.after not in [v for u in PEOPLE if u != user for v in shop[u].values()], (user, change)
            shop[user][change.field] = text_of(change.after) or ""
    assert shop == {u: {"email": address(wants_email[u]), "phone": number(wants_phone[u])} for u in PEOPLE}


def test_a_swap_of_emails_and_phones_together_between_users_without_a_name_moves_the_emails_first() -> None:
    one, other = PEOPLE[:2]
    swap = {one: other, other: one}
    found = both(swap, swap, named=())
    moves = chains.resolve({user: case for user, (_, case) in found.items()}, {})
    assert {u: [c.field for c in d.action.changes] for u, d in moves.items() if d.action} == {
        one: ["email"],
        other: ["email"],
    }
    assert [d.action.park for d in moves.values() if d.action] == [("email",), ()]
    assert all(f"{one} → {other} → {one}" in d.holds[0].message for d in moves.values())


def test_thousands_who_swap_and_one_long_circle_are_resolved_in_no_time() -> None:
    users = [ClerkUserId(f"user_{n}") for n in range(3000)]
    swaps = {u: users[n ^ 1] for n, u in enumerate(users)}
    ring = {u: users[(n + 1) % len(users)] for n, u in enumerate(users)}
    waiting = {u: {swaps[u]: frozenset({address(swaps[u])}), ring[u]: frozenset({number(ring[u])})} for u in users}
    parks, circle = break_circles(waiting, lambda _user, _keys: True)
    assert circle == []
    assert len(parks) <= len(users)
