"""E-mails and phones that change hands in `run`: by looks at one user at a time, and by who is nudged after each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller.test_reconcile import acme
from tests.inprocess import Rig

USERS = tuple(f"user_{n:02}" for n in range(7))


def mail(user: str) -> str:
    return f"{user}@x.example.com"


def phone(user: str) -> str:
    return f"+161345052{user[-2:]}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, acme(fields={"phone": "enforce"})) as made:
        settle(made, USERS)
        yield made


def settle(house: Rig, users: tuple[str, ...]) -> None:
    for user in users:
        house.user(user, email=mail(user), phone=phone(user), first_name=user)
    house.requested("acme", *users, turns=len(users))


def shown(house: Rig) -> dict[str | None, tuple[str | None, str | None]]:
    return {c.backlink: (c.email, c.phone) for c in house.people("acme").values()}


def ids(house: Rig) -> dict[str | None, str]:
    return {c.backlink: c.id for c in house.people("acme").values()}


def ring(house: Rig, users: tuple[str, ...], *, emails: bool = False) -> dict[str, tuple[str, str]]:
    """Each of these wants the phone of the next, and the e-mail if so; what all should have then."""
    wanted = {u: (mail(u), phone(u)) for u in USERS if u not in users}
    for user, following in zip(users, users[1:] + users[:1], strict=True):
        wanted[user] = (mail(following if emails else user), phone(following))
        house.user(user, email=wanted[user][0], phone=wanted[user][1])
    return wanted


@pytest.mark.parametrize("emails", [False, True])
@pytest.mark.parametrize(("size", "first"), [(2, 0), (2, 1), (3, 2), (7, 3)])
def test_a_circle_turns_by_nudges_alone_wherever_it_begins(house: Rig, size: int, first: int, *, emails: bool) -> None:
    before = ids(house)
    wanted = ring(house, USERS[:size], emails=emails)
    house.requested("acme", USERS[first], turns=200)
    assert shown(house) == wanted
    assert ids(house) == before
    assert house.plan().plan.summary.actions == 0


def test_a_circle_of_forty_turns_as_well(tmp_path: Path) -> None:
    users = tuple(f"user_{n:02}" for n in range(40))
    with Rig(tmp_path, acme(fields={"phone": "enforce"})) as house:
        settle(house, users)
        for user, following in zip(users, users[1:] + users[:1], strict=True):
            house.user(user, phone=phone(following))
        turns = house.requested("acme", *users, turns=400)
        assert {c.backlink: c.phone for c in house.people("acme").values()} == {
            user: phone(following) for user, following in zip(users, users[1:] + users[:1], strict=True)
        }
        assert len(turns) < 3 * len(users), "each is looked at a few times, however long the circle is"
        assert house.plan().plan.summary.actions == 0


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_emails_and_phones_is_reached_by_nudges_alone(house: Rig, seed: int) -> None:
    chance = random.Random(seed)
    before = ids(house)
    emails, phones = (chance.sample(USERS, len(USERS)) for _ in range(2))
    wanted = {u: (mail(e), phone(p)) for u, e, p in zip(USERS, emails, phones, strict=True)}
    for user, (email, number) in wanted.items():
        house.user(user, email=email, phone=number)
    house.requested("acme", *chance.sample(USERS, len(USERS)), turns=300)
    assert shown(house) == wanted
    assert ids(house) == before
    assert house.plan().plan.summary.actions == 0


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_process_that_dies_in_a_circle_leaves_it_to_the_next_look(
    house: Rig, at: int, first: int, *, after: bool
) -> None:
    before = ids(house)
    users = USERS[:3]
    wanted = ring(house, users, emails=True)
    with house.dying(at, after=after):
        house.requested("acme", *users, turns=60)
    house.requested("acme", *users[first:], *users[:first], turns=60)  # as at the start of `run`: everybody
    assert shown(house) == wanted
    assert ids(house) == before
    assert house.plan().plan.summary.actions == 0


def test_what_was_parked_is_given_back_by_a_look_where_the_circle_has_ended(house: Rig) -> None:
    before = shown(house)
    one, other = USERS[:2]
    ring(house, (one, other), emails=True)
    with house.dying(1, after=True):
        house.requested("acme", one, other)
    assert (None, None) in shown(house).values()
    house.user(other, email=mail(other), phone=phone(other))
    house.requested("acme", one, other, turns=20)
    assert shown(house) == before
    house.user(one, email=mail(one), phone=phone(one))
    house.requested("acme", one)
    assert house.plan().plan.summary.actions == 0


def test_who_waits_for_a_phone_gets_it_when_its_owner_clears_it_and_the_rest_goes_before(house: Rig) -> None:
    one, other = USERS[:2]
    house.user(one, phone=phone(other), last_name="New")
    house.requested("acme", one)
    assert next(c.last_name for c in house.people("acme").values() if c.backlink == one) == "New"
    house.user(other, phone=None)
    house.requested("acme", other)
    assert (shown(house)[one][1], shown(house)[other][1]) == (phone(other), None)
    assert house.plan().plan.summary.actions == 0


def test_two_who_share_a_phone_are_not_looked_at_again_and_again(house: Rig) -> None:
    one, other = USERS[:2]
    house.user(one, phone=phone(other))
    found = house.requested("acme", one, turns=20)
    assert [(user, each.result) for user, each in found] == [(one, "waiting"), (other, "in_sync")]
    assert [(user, each.result, each.nudge) for user, each in house.requested("acme", one)] == [(one, "held", ())]


def test_a_circle_for_which_the_hours_budget_is_too_small_is_not_begun(house: Rig) -> None:
    house.rotate("acme", guards={"update": {"max": 1}})
    house.clock.sleep(3600)
    before = shown(house)
    ring(house, USERS[:2])
    found = house.requested("acme", *USERS[:2], turns=20)
    assert shown(house) == before
    assert any(each.over_budget for _, each in found)
