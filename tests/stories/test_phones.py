"""Phones that pass from user to user, as emails do: chains, swaps, circles, both at once, and deaths in between."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from reconciler.simulator.faults import FaultKind
from tests.stories.harness import StoryHarness, locked_at, mail

PEOPLE = ("ada", "bob", "cyd", "dan")
PHONES = {name: f"+1613450529{n}" for n, name in enumerate(PEOPLE)}
FREE = "+16134505299"


@pytest.fixture
def four(story: StoryHarness) -> StoryHarness:
    story.store["fields"] = {"phone": "enforce"}
    for name in PEOPLE:
        story.user(name, phone=PHONES[name])
    story.apply()
    return story


def phones(story: StoryHarness) -> dict[str, str | None]:
    return {name: story.theirs(name).phone for name in PEOPLE}


def ids(story: StoryHarness) -> dict[str, str]:
    return {name: story.theirs(name).id for name in PEOPLE}


def wants(story: StoryHarness, **owners: str) -> dict[str, str | None]:
    """Give each of these users the phone of another in the profiles; all phones as they should be then."""
    for name, owner in owners.items():
        story.user(name, phone=PHONES.get(owner, FREE))
    return {**PHONES, **{name: PHONES.get(owner, FREE) for name, owner in owners.items()}}


@pytest.mark.parametrize(
    "owners",
    [
        {"ada": "bob", "bob": "ada"},
        {"ada": "bob", "bob": "cyd", "cyd": "ada"},
        {"ada": "dan", "dan": "cyd", "cyd": "bob", "bob": "ada"},
        {"ada": "bob", "bob": "cyd", "cyd": "no one"},
        {"cyd": "bob", "bob": "ada", "ada": "no one"},
    ],
    ids=["a swap", "a circle of three", "a circle of four", "a chain", "a chain the other way"],
)
def test_phones_change_owners_in_one_apply_and_everybody_keeps_the_customer(
    four: StoryHarness, owners: dict[str, str]
) -> None:
    before = ids(four)
    wanted = wants(four, **owners)
    assert four.actions() == dict.fromkeys(owners, "update")
    four.apply()
    assert (phones(four), ids(four)) == (wanted, before)
    four.settles()


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_emails_and_phones_at_once_is_reached_in_one_apply(four: StoryHarness, seed: int) -> None:
    chance = random.Random(seed)
    before = ids(four)
    emails, numbers = (chance.sample(PEOPLE, len(PEOPLE)) for _ in range(2))
    for name, email, owner in zip(PEOPLE, emails, numbers, strict=True):
        four.user(name, email=mail(email), phone=PHONES[owner])
    four.apply()
    assert {n: four.theirs(n).email for n in PEOPLE} == {n: mail(e) for n, e in zip(PEOPLE, emails, strict=True)}
    assert phones(four) == {n: PHONES[o] for n, o in zip(PEOPLE, numbers, strict=True)}
    assert ids(four) == before
    four.settles()


def test_a_newcomer_gets_the_phone_that_another_user_leaves_in_the_same_apply(four: StoryHarness) -> None:
    four.user("ada", phone=FREE)
    four.user("eve", phone=PHONES["ada"])
    four.apply()
    assert (four.theirs("ada").phone, four.theirs("eve").phone) == (FREE, PHONES["ada"])
    four.settles()


def test_a_phone_that_is_cleared_or_goes_with_its_customer_is_written_in_the_same_apply(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    four.gone("bob")
    four.user("ada", phone=PHONES["bob"])
    four.user("cyd", phone=None)
    four.user("dan", phone=PHONES["cyd"])
    four.apply()
    found = {name: four.theirs(name).phone for name in ("ada", "cyd", "dan")}
    assert found == {"ada": PHONES["bob"], "cyd": None, "dan": PHONES["cyd"]}
    four.settles()


def test_a_phone_that_its_owner_keeps_holds_nothing_but_itself(four: StoryHarness) -> None:
    four.user("ada", phone=PHONES["bob"], last_name="King", email=mail("new"))
    assert four.held() == {("ada", "PhoneTaken")}
    four.apply()
    ada = four.theirs("ada")
    assert (ada.last_name, ada.email, ada.phone) == ("King", mail("new"), PHONES["ada"])
    four.settles(held={("ada", "PhoneTaken")})
    four.user("bob", phone=None)
    four.apply()
    assert four.theirs("ada").phone == PHONES["bob"]
    four.settles()


def test_of_two_who_wait_for_one_phone_one_gets_it_and_the_other_is_held(four: StoryHarness) -> None:
    four.user("ada", phone=FREE)
    four.user("bob", phone=PHONES["ada"])
    four.user("cyd", phone=PHONES["ada"])
    four.apply()
    assert (four.theirs("bob").phone, four.theirs("cyd").phone) == (PHONES["ada"], PHONES["cyd"])
    four.settles(held={("cyd", "PhoneTaken")})


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_circle_of_emails_and_phones_that_ends_in_the_middle_is_finished_by_the_next_apply(
    four: StoryHarness, n: int, kind: FaultKind
) -> None:
    before = ids(four)
    ring = dict(zip(PEOPLE, PEOPLE[1:] + PEOPLE[:1], strict=True))
    for name, other in ring.items():
        four.user(name, email=mail(other), phone=PHONES[other])
    with locked_at(four, n, kind):
        four.apply(code=1)
    four.apply()
    assert phones(four) == {name: PHONES[other] for name, other in ring.items()}
    assert {name: four.theirs(name).email for name in PEOPLE} == {name: mail(other) for name, other in ring.items()}
    assert ids(four) == before
    four.settles()


def test_what_was_parked_is_given_back_where_the_circle_does_not_turn_after_all(four: StoryHarness) -> None:
    before = {name: four.theirs(name) for name in PEOPLE}
    for name, other in (("ada", "bob"), ("bob", "ada")):
        four.user(name, email=mail(other), phone=PHONES[other])
    with locked_at(four, 1, "lost_after"):
        four.apply(code=1)
    assert [c.phone for c in four.everybody().values() if c.email is None] == [None]
    for name in ("ada", "bob"):
        four.user(name, email=mail(name), phone=PHONES[name])
    four.apply()
    assert {name: four.theirs(name) for name in PEOPLE} == before
    four.settles()


def test_users_without_a_name_swap_emails_first_and_phones_next(four: StoryHarness) -> None:
    for name in PEOPLE:
        four.user(name, first_name=None)
    four.apply()
    for name, other in (("ada", "bob"), ("bob", "ada")):
        four.user(name, email=mail(other), phone=PHONES[other])
    four.apply()
    four.apply()
    assert [(four.theirs(n).email, four.theirs(n).phone) for n in ("ada", "bob")] == [
        (mail("bob"), PHONES["bob"]), (mail("ada"), PHONES["ada"]),
    ]  # fmt: skip
    four.settles()


def test_a_circle_of_emails_and_phones_is_undone_in_one_go(four: StoryHarness) -> None:
    before = {name: four.theirs(name) for name in PEOPLE}
    ring = dict(zip(PEOPLE, PEOPLE[1:] + PEOPLE[:1], strict=True))
    for name, other in ring.items():
        four.user(name, email=mail(other), phone=PHONES[other])
    digest = four("plan", "--output", "json").json["digest"]
    four.apply()
    assert {name: four.theirs(name).email for name in PEOPLE} == {name: mail(other) for name, other in ring.items()}
    said = four("undo", "--plan", digest, "--yes", "--output", "json")
    assert said.code == 0, said.out + said.err
    assert {name: four.theirs(name) for name in PEOPLE} == before
    four.apply()
    assert {name: four.theirs(name) for name in PEOPLE} == before, "what was undone waits until the profile moves"
    again = four("undo", "--plan", digest, "--yes", "--output", "json")
    assert again.code == 0, again.out + again.err
    assert {name: four.theirs(name) for name in PEOPLE} == before


def test_the_phone_of_one_who_left_is_free_when_another_user_adopts_the_customer_with_a_new_one(
    four: StoryHarness,
) -> None:
    four.gone("bob")
    four.user("eve", email=mail("bob"), phone=FREE)
    four.user("ada", phone=PHONES["bob"])
    four.apply()
    assert (four.theirs("eve").phone, four.theirs("eve").email) == (FREE, mail("bob"))
    assert four.theirs("ada").phone == PHONES["bob"]
    four.settles()


def parks_off(field: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a call takes the value of this field off its customer."""
    return lambda sent: field in sent.get("input", {}) and sent["input"][field] is None


@pytest.mark.parametrize("refused", ["one", "all"])
def test_a_value_that_shopify_does_not_take_off_is_not_asked_for_again_until_something_moves(
    four: StoryHarness, refused: str
) -> None:
    def is_refused(sent: dict[str, Any]) -> bool:
        return parks_off("phone")(sent) and (refused == "all" or four.theirs("ada").id in str(sent))

    before = dict(phones(four))
    fault = four.shop().faults.add("user_error", on="customerSet", when=is_refused, times=None)
    wanted = wants(four, ada="bob", bob="ada")
    four.apply(code=1)
    assert phones(four) == before
    assert fault.hits == 1
    four.apply(code=int(refused == "all"))
    if refused == "one":
        assert phones(four) == wanted, "the other one of the two gives way"
        four.settles()
        return
    assert fault.hits == 2
    held = {("ada", "PhoneTaken"), ("bob", "PhoneTaken")}
    assert four.held() == held
    assert "This change is not allowed" in four.plan()["holds"][0]["message"]
    four.apply()
    four.settles(held=held)
    assert fault.hits == 2
    four.user("ada", last_name="King")
    four.shop().faults.clear()
    four.apply()
    assert phones(four) == wanted
    four.settles()


def waiting(story: StoryHarness) -> set[str]:
    """Who waits for a phone, by the state."""
    with closing(sqlite3.connect(story.settings["state"]["url"].removeprefix("sqlite:///"))) as connection:
        rows = connection.execute("select clerk_user_id from reconciler_mapping where waits_for_phone is not null")
        return {user for (user,) in rows}


def spelt(number: str) -> str:
    """The same phone as another form might have stored it."""
    return f"{number[:2]} ({number[2:5]}) {number[5:8]}-{number[8:]}"


def test_of_two_updates_to_one_free_phone_the_plan_holds_the_second_and_the_rest_of_it_goes(four: StoryHarness) -> None:
    four.user("bob", phone=FREE)
    four.user("cyd", phone=spelt(FREE), last_name="King")
    plan = four.plan()
    assert [(h["clerk_user_id"], h["reason"]) for h in plan["holds"]] == [("user_cyd", "PhoneTaken")]
    assert "user_bob" in plan["holds"][0]["message"]
    four.apply()
    assert (four.theirs("bob").phone, four.theirs("cyd").phone) == (FREE, PHONES["cyd"])
    assert four.theirs("cyd").last_name == "King"
    four.settles(held={("cyd", "PhoneTaken")})
    four.user("bob", phone=None)
    four.apply()
    assert four.theirs("cyd").phone == FREE
    four.settles()


def test_of_two_updates_of_nothing_but_one_free_phone_only_the_first_is_planned(four: StoryHarness) -> None:
    four.user("bob", phone=FREE)
    four.user("cyd", phone=FREE)
    assert (four.actions(), four.held()) == ({"bob": "update"}, {("cyd", "PhoneTaken")})
    four.apply()
    four.settles(held={("cyd", "PhoneTaken")})


@pytest.mark.parametrize("way", [(), ("--bulk", "always"), ("sealed",)], ids=["singly", "by bulk", "a saved plan"])
def test_newcomers_and_a_mapped_user_with_one_free_phone_are_planned_as_they_are_applied(
    four: StoryHarness, way: tuple[str, ...]
) -> None:
    for name in ("dan", "eve", "fay"):
        four.user(name, phone=spelt(FREE), last_name="Same")
    held = {("eve", "PhoneTaken"), ("fay", "PhoneTaken")}
    assert (four.actions(), four.held()) == ({"dan": "update", "eve": "create", "fay": "create"}, held)
    if way == ("sealed",):
        assert four("plan", "--out", str(four.folder / "seen.json")).code in {0, 2}
        four.apply(str(four.folder / "seen.json"))
    else:
        four.apply(*way)
    assert [four.theirs(name).phone for name in ("dan", "eve", "fay")] == [FREE, None, None]
    assert {four.theirs(name).last_name for name in ("dan", "eve", "fay")} == {"Same"}
    assert waiting(four) == {"user_eve", "user_fay"}
    four.settles(held=held)


def test_who_keeps_the_old_phone_for_a_rival_frees_it_for_no_other_user(four: StoryHarness) -> None:
    four.user("ada", phone=FREE)
    four.user("bob", phone=FREE)
    four.user("cyd", phone=PHONES["bob"])
    assert four.actions() == {"ada": "update"}
    held = {("bob", "PhoneTaken"), ("cyd", "PhoneTaken")}
    assert four.held() == held
    four.apply()
    four.settles(held=held)


def test_a_user_who_waits_for_an_email_shares_a_free_phone_with_no_other(four: StoryHarness) -> None:
    four.user("ada", email=mail("new"))
    four.user("bob", email=mail("ada"), phone=FREE)
    four.user("cyd", email=mail("bob"), phone=FREE)
    assert four.held() == {("cyd", "PhoneTaken")}
    four.apply()
    assert [four.theirs(n).phone for n in ("bob", "cyd")] == [FREE, PHONES["cyd"]]
    four.settles(held={("cyd", "PhoneTaken")})
