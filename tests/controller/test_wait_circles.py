"""Emails and phones that change owners in `run`: one user reconciled at a time, and by who is nudged after each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller.test_reconcile import acme
from tests.inprocess import Rig
from tests.matrices import seeds

USERS = tuple(f"user_{n:02}" for n in range(7))


def mail(user: str) -> str:
    return f"{user}@x.example.com"


def phone(user: str) -> str:
    return f"+161345052{user[-2:]}"


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme(fields={"phone": "enforce"})) as made:
        settle(made, USERS)
        yield made


def settle(components: Rig, users: tuple[str, ...]) -> None:
    for user in users:
        components.user(user, email=mail(user), phone=phone(user), first_name=user)
    components.requested("acme", *users, turns=len(users))


def shown(components: Rig) -> dict[str | None, tuple[str | None, str | None]]:
    return {c.backlink: (c.email, c.phone) for c in components.people("acme").values()}


def ids(components: Rig) -> dict[str | None, str]:
    return {c.backlink: c.id for c in components.people("acme").values()}


def ring(components: Rig, users: tuple[str, ...], *, emails: bool = False) -> dict[str, tuple[str, str]]:
    """Each of these wants the phone of the next, and the email if so; what all should have then."""
    wanted = {u: (mail(u), phone(u)) for u in USERS if u not in users}
    for user, following in zip(users, users[1:] + users[:1], strict=True):
        wanted[user] = (mail(following if emails else user), phone(following))
        components.user(user, email=wanted[user][0], phone=wanted[user][1])
    return wanted


@pytest.mark.matrix
@pytest.mark.parametrize("emails", [False, True])
@pytest.mark.parametrize(("size", "first"), [(2, 0), (2, 1), (3, 2), (7, 3)])
def test_a_circle_turns_by_nudges_alone_wherever_it_begins(
    components: Rig, size: int, first: int, *, emails: bool
) -> None:
    before = ids(components)
    wanted = ring(components, USERS[:size], emails=emails)
    components.requested("acme", USERS[first], turns=200)
    assert shown(components) == wanted
    assert ids(components) == before
    assert components.plan().plan.summary.actions == 0


@pytest.mark.slow
def test_a_circle_of_forty_turns_as_well(tmp_path: Path) -> None:
    users = tuple(f"user_{n:02}" for n in range(40))
    with Rig(tmp_path, acme(fields={"phone": "enforce"})) as components:
        settle(components, users)
        for user, following in zip(users, users[1:] + users[:1], strict=True):
            components.user(user, phone=phone(following))
        turns = components.requested("acme", *users, turns=400)
        assert {c.backlink: c.phone for c in components.people("acme").values()} == {
            user: phone(following) for user, following in zip(users, users[1:] + users[:1], strict=True)
        }
        assert len(turns) < 3 * len(users), "each is reconciled a few times, however long the circle is"
        assert components.plan().plan.summary.actions == 0


@pytest.mark.parametrize("seed", seeds(8, quick=3))
def test_any_order_of_emails_and_phones_is_reached_by_nudges_alone(components: Rig, seed: int) -> None:
    chance = random.Random(seed)
    before = ids(components)
    emails, phones = (chance.sample(USERS, len(USERS)) for _ in range(2))
    wanted = {u: (mail(e), phone(p)) for u, e, p in zip(USERS, emails, phones, strict=True)}
    for user, (email, number) in wanted.items():
        components.user(user, email=email, phone=number)
    components.requested("acme", *chance.sample(USERS, len(USERS)), turns=300)
    assert shown(components) == wanted
    assert ids(components) == before
    assert components.plan().plan.summary.actions == 0


@pytest.mark.matrix
@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_process_that_dies_in_a_circle_leaves_it_to_the_next_scan(
    components: Rig, at: int, first: int, *, after: bool
) -> None:
    before = ids(components)
    users = USERS[:3]
    wanted = ring(components, users, emails=True)
    with components.dying(at, after=after):
        components.requested("acme", *users, turns=60)
    components.requested("acme", *users[first:], *users[:first], turns=60)  # as at the start of `run`: everybody
    assert shown(components) == wanted
    assert ids(components) == before
    assert components.plan().plan.summary.actions == 0


def test_what_was_parked_is_given_back_by_a_scan_where_the_circle_has_ended(components: Rig) -> None:
    before = shown(components)
    one, other = USERS[:2]
    ring(components, (one, other), emails=True)
    with components.dying(1, after=True):
        components.requested("acme", one, other)
    assert (None, None) in shown(components).values()
    components.user(other, email=mail(other), phone=phone(other))
    components.requested("acme", one, other, turns=20)
    assert shown(components) == before
    components.user(one, email=mail(one), phone=phone(one))
    components.requested("acme", one)
    assert components.plan().plan.summary.actions == 0


def test_who_waits_for_a_phone_gets_it_when_its_owner_clears_it_and_the_rest_goes_before(components: Rig) -> None:
    one, other = USERS[:2]
    components.user(one, phone=phone(other), last_name="New")
    components.requested("acme", one)
    assert next(c.last_name for c in components.people("acme").values() if c.backlink == one) == "New"
    components.user(other, phone=None)
    components.requested("acme", other)
    assert (shown(components)[one][1], shown(components)[other][1]) == (phone(other), None)
    assert components.plan().plan.summary.actions == 0


def test_two_who_share_a_phone_are_not_reconciled_again_and_again(components: Rig) -> None:
    one, other = USERS[:2]
    components.user(one, phone=phone(other))
    found = components.requested("acme", one, turns=20)
    assert [(user, each.result) for user, each in found] == [(one, "waiting"), (other, "in_sync")]
    assert [(user, each.result, each.nudge) for user, each in components.requested("acme", one)] == [(one, "held", ())]


def test_a_circle_for_which_the_hours_budget_is_too_small_is_not_begun(components: Rig) -> None:
    components.rotate("acme", guards={"update": {"max": 1}})
    components.clock.sleep(3600)
    before = shown(components)
    ring(components, USERS[:2])
    found = components.requested("acme", *USERS[:2], turns=20)
    assert shown(components) == before
    assert any(each.over_budget for _, each in found)
