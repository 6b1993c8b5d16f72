"""Phones that pass from user to user, as e-mails do: chains, swaps, circles, both at once, and deaths in between."""

from __future__ import annotations

import random

import pytest

from reconciler.simulator.faults import FaultKind
from tests.stories.village import Village, locked_at, mail

PEOPLE = ("ada", "bob", "cyd", "dan")
PHONES = {name: f"+1613450529{n}" for n, name in enumerate(PEOPLE)}
FREE = "+16134505299"


@pytest.fixture
def four(village: Village) -> Village:
    village.store["fields"] = {"phone": "enforce"}
    for name in PEOPLE:
        village.user(name, phone=PHONES[name])
    village.apply()
    return village


def phones(village: Village) -> dict[str, str | None]:
    return {name: village.hers(name).phone for name in PEOPLE}


def ids(village: Village) -> dict[str, str]:
    return {name: village.hers(name).id for name in PEOPLE}


def wants(village: Village, **owners: str) -> dict[str, str | None]:
    """Give each of these users the phone of another in the profiles; all phones as they should be then."""
    for name, owner in owners.items():
        village.user(name, phone=PHONES.get(owner, FREE))
    return {**PHONES, **{name: PHONES.get(owner, FREE) for name, owner in owners.items()}}


@pytest.mark.parametrize(
    "owners",
    [
        {"ada": "bob", "bob": "ada"},
        {"ada": "bob", "bob": "cyd", "cyd": "ada"},
        {"ada": "dan", "dan": "cyd", "cyd": "bob", "bob": "ada"},
        {"ada": "bob", "bob": "cyd", "cyd": "nobody"},
        {"cyd": "bob", "bob": "ada", "ada": "nobody"},
    ],
    ids=["a swap", "a circle of three", "a circle of four", "a chain", "a chain the other way"],
)
def test_phones_change_hands_in_one_apply_and_everybody_keeps_the_customer(
    four: Village, owners: dict[str, str]
) -> None:
    before = ids(four)
    wanted = wants(four, **owners)
    assert four.actions() == dict.fromkeys(owners, "update")
    four.apply()
    assert (phones(four), ids(four)) == (wanted, before)
    four.settles()


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_emails_and_phones_at_once_is_reached_in_one_apply(four: Village, seed: int) -> None:
    chance = random.Random(seed)
    before = ids(four)
    emails, numbers = (chance.sample(PEOPLE, len(PEOPLE)) for _ in range(2))
    for name, email, owner in zip(PEOPLE, emails, numbers, strict=True):
        four.user(name, email=mail(email), phone=PHONES[owner])
    four.apply()
    assert {n: four.hers(n).email for n in PEOPLE} == {n: mail(e) for n, e in zip(PEOPLE, emails, strict=True)}
    assert phones(four) == {n: PHONES[o] for n, o in zip(PEOPLE, numbers, strict=True)}
    assert ids(four) == before
    four.settles()


def test_a_newcomer_gets_the_phone_that_another_user_leaves_in_the_same_apply(four: Village) -> None:
    four.user("ada", phone=FREE)
    four.user("eve", phone=PHONES["ada"])
    four.apply()
    assert (four.hers("ada").phone, four.hers("eve").phone) == (FREE, PHONES["ada"])
    four.settles()


def test_a_phone_that_is_cleared_or_goes_with_its_customer_is_written_in_the_same_apply(four: Village) -> None:
    four.store["on_leave"] = "delete"
    four.gone("bob")
    four.user("ada", phone=PHONES["bob"])
    four.user("cyd", phone=None)
    four.user("dan", phone=PHONES["cyd"])
    four.apply()
    found = {name: four.hers(name).phone for name in ("ada", "cyd", "dan")}
    assert found == {"ada": PHONES["bob"], "cyd": None, "dan": PHONES["cyd"]}
    four.settles()


def test_a_phone_that_its_owner_keeps_holds_nothing_but_itself(four: Village) -> None:
    four.user("ada", phone=PHONES["bob"], last_name="King", email=mail("new"))
    assert four.held() == {("ada", "PhoneTaken")}
    four.apply()
    ada = four.hers("ada")
    assert (ada.last_name, ada.email, ada.phone) == ("King", mail("new"), PHONES["ada"])
    four.settles(held={("ada", "PhoneTaken")})
    four.user("bob", phone=None)
    four.apply()
    assert four.hers("ada").phone == PHONES["bob"]
    four.settles()


def test_of_two_who_wait_for_one_phone_one_gets_it_and_the_other_is_held(four: Village) -> None:
    four.user("ada", phone=FREE)
    four.user("bob", phone=PHONES["ada"])
    four.user("cyd", phone=PHONES["ada"])
    four.apply()
    assert (four.hers("bob").phone, four.hers("cyd").phone) == (PHONES["ada"], PHONES["cyd"])
    four.settles(held={("cyd", "PhoneTaken")})


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_circle_of_emails_and_phones_that_ends_in_the_middle_is_finished_by_the_next_apply(
    four: Village, n: int, kind: FaultKind
) -> None:
    before = ids(four)
    ring = dict(zip(PEOPLE, PEOPLE[1:] + PEOPLE[:1], strict=True))
    for name, other in ring.items():
        four.user(name, email=mail(other), phone=PHONES[other])
    with locked_at(four, n, kind):
        four.apply(code=1)
    four.apply()
    assert phones(four) == {name: PHONES[other] for name, other in ring.items()}
    assert {name: four.hers(name).email for name in PEOPLE} == {name: mail(other) for name, other in ring.items()}
    assert ids(four) == before
    four.settles()


def test_what_was_parked_is_given_back_where_the_circle_does_not_turn_after_all(four: Village) -> None:
    before = {name: four.hers(name) for name in PEOPLE}
    for name, other in (("ada", "bob"), ("bob", "ada")):
        four.user(name, email=mail(other), phone=PHONES[other])
    with locked_at(four, 1, "lost_after"):
        four.apply(code=1)
    assert [c.phone for c in four.everybody().values() if c.email is None] == [None]
    for name in ("ada", "bob"):
        four.user(name, email=mail(name), phone=PHONES[name])
    four.apply()
    assert {name: four.hers(name) for name in PEOPLE} == before
    four.settles()


def test_users_without_a_name_swap_emails_first_and_phones_next(four: Village) -> None:
    for name in PEOPLE:
        four.user(name, first_name=None)
    four.apply()
    for name, other in (("ada", "bob"), ("bob", "ada")):
        four.user(name, email=mail(other), phone=PHONES[other])
    four.apply()
    four.apply()
    assert [(four.hers(n).email, four.hers(n).phone) for n in ("ada", "bob")] == [
        (mail("bob"), PHONES["bob"]), (mail("ada"), PHONES["ada"]),
    ]  # fmt: skip
    four.settles()


def test_a_circle_of_emails_and_phones_is_undone_in_one_go(four: Village) -> None:
    before = {name: four.hers(name) for name in PEOPLE}
    ring = dict(zip(PEOPLE, PEOPLE[1:] + PEOPLE[:1], strict=True))
    for name, other in ring.items():
        four.user(name, email=mail(other), phone=PHONES[other])
    digest = four("plan", "--output", "json").json["digest"]
    four.apply()
    assert {name: four.hers(name).email for name in PEOPLE} == {name: mail(other) for name, other in ring.items()}
    said = four("undo", "--plan", digest, "--yes", "--output", "json")
    assert said.code == 0, said.out + said.err
    assert {name: four.hers(name) for name in PEOPLE} == before
    four.apply()
    assert {name: four.hers(name) for name in PEOPLE} == before, "what was undone waits until the profile moves"
    again = four("undo", "--plan", digest, "--yes", "--output", "json")
    assert again.code == 0, again.out + again.err
    assert {name: four.hers(name) for name in PEOPLE} == before


def test_the_phone_of_one_who_left_is_free_when_another_user_adopts_the_customer_with_a_new_one(four: Village) -> None:
    four.gone("bob")
    four.user("eve", email=mail("bob"), phone=FREE)
    four.user("ada", phone=PHONES["bob"])
    four.apply()
    assert (four.hers("eve").phone, four.hers("eve").email) == (FREE, mail("bob"))
    assert four.hers("ada").phone == PHONES["bob"]
    four.settles()
