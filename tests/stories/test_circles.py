"""Addresses that pass from user to user: chains, swaps, circles, and two users who claim one address."""

from __future__ import annotations

from itertools import permutations

import pytest

from reconciler.simulator.faults import FaultKind
from tests.stories.harness import StoryHarness, locked_at, mail

PEOPLE = ("ada", "bob", "cyd")


@pytest.fixture
def three(story: StoryHarness) -> StoryHarness:
    for name in PEOPLE:
        story.user(name)
    story.user("zoe")
    story.apply()
    return story


def customers_of(story: StoryHarness) -> dict[str, str]:
    return {name: story.theirs(name).id for name in PEOPLE}


@pytest.mark.parametrize("order", list(permutations(PEOPLE))[::2])
def test_a_chain_of_three_goes_in_one_apply_whatever_the_order(
    three: StoryHarness, order: tuple[str, str, str]
) -> None:
    before = customers_of(three)
    one, two, last = order
    three.user(one, email=mail(two))
    three.user(two, email=mail(last))
    three.user(last, email=mail("new"))
    assert three.actions() == dict.fromkeys(order, "update")
    three.apply()
    assert {n: three.theirs(n).email for n in order} == {one: mail(two), two: mail(last), last: mail("new")}
    assert customers_of(three) == before
    three.settles()


@pytest.mark.parametrize("pair", [("ada", "bob"), ("cyd", "ada")])
def test_two_who_swap_keep_their_customers(three: StoryHarness, pair: tuple[str, str]) -> None:
    before = customers_of(three)
    one, other = pair
    three.user(one, email=mail(other))
    three.user(other, email=mail(one))
    three.apply()
    assert (three.theirs(one).email, three.theirs(other).email) == (mail(other), mail(one))
    assert customers_of(three) == before
    three.settles()


def circle(story: StoryHarness) -> None:
    for name, following in (("ada", "bob"), ("bob", "cyd"), ("cyd", "ada")):
        story.user(name, email=mail(following))


def check_round_and_done(story: StoryHarness, before: dict[str, str]) -> None:
    assert {n: story.theirs(n).email for n in PEOPLE} == {"ada": mail("bob"), "bob": mail("cyd"), "cyd": mail("ada")}
    assert customers_of(story) == before
    story.settles()


def test_a_circle_of_three_turns_in_one_apply(three: StoryHarness) -> None:
    before = customers_of(three)
    circle(three)
    assert three.actions() == dict.fromkeys(PEOPLE, "update")
    three.apply()
    check_round_and_done(three, before)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_circle_that_ends_in_the_middle_is_finished_by_the_next_apply(
    three: StoryHarness, n: int, kind: FaultKind
) -> None:
    before = customers_of(three)
    circle(three)

    with locked_at(three, n, kind):
        three.apply(code=1)
    three.apply()
    check_round_and_done(three, before)


def test_a_user_who_gave_up_an_address_for_a_circle_that_does_not_turn_gets_it_back(three: StoryHarness) -> None:
    before = {n: three.theirs(n) for n in PEOPLE}
    circle(three)
    with locked_at(three, 1, "lost_after"):
        three.apply(code=1)
    assert len([c for c in three.everybody().values() if c.email is None]) == 1
    for name in PEOPLE:
        three.user(name, email=mail(name))
    three.apply()
    assert {n: three.theirs(n) for n in PEOPLE} == before
    three.settles()


def test_a_circle_in_which_no_one_can_park_is_held_and_named_whole(story: StoryHarness) -> None:
    for name in PEOPLE:
        story.user(name, first_name=None)
    story.user("zoe")
    story.apply()
    before = story.everybody()
    circle(story)
    holds = story.plan()["holds"]
    assert {(h["clerk_user_id"], h["reason"]) for h in holds} == {(f"user_{n}", "EmailConflict") for n in PEOPLE}
    for hold in holds:
        assert all(f"user_{name}" in hold["message"] for name in PEOPLE)
    story.apply()
    assert story.everybody() == before
    story.settles(held={(n, "EmailConflict") for n in PEOPLE})
    story.user("cyd", email=mail("new"))
    story.apply()
    assert [story.theirs(n).email for n in PEOPLE] == [mail("bob"), mail("cyd"), mail("new")]
    story.settles()


def test_one_who_can_park_is_enough_for_the_whole_circle(story: StoryHarness) -> None:
    for name in PEOPLE:
        story.user(name, first_name="Cyd" if name == "cyd" else None)
    story.apply()
    before = customers_of(story)
    circle(story)
    story.apply()
    check_round_and_done(story, before)


def test_a_newcomer_gets_the_address_that_another_user_leaves_in_the_same_apply(three: StoryHarness) -> None:
    three.user("ada", email=mail("new"))
    three.user("dan", email=mail("ada"))
    three.apply()
    assert (three.theirs("ada").email, three.theirs("dan").email) == (mail("new"), mail("ada"))
    three.settles()


def test_the_address_of_a_deleted_user_goes_to_the_one_who_waits(three: StoryHarness) -> None:
    three.store["on_leave"] = "delete"
    three.gone("cyd")
    three.user("ada", email=mail("cyd"))
    three.apply()
    assert three.theirs("ada").email == mail("cyd")
    assert len(three.everybody()) == 3
    three.settles()


# --- two users, one address ----------------------------------------------------------------------------------------


def test_of_two_with_one_address_the_mapped_one_keeps_it(three: StoryHarness) -> None:
    three.user("dan", email=mail("ada"))
    (hold,) = three.plan()["holds"]
    assert (hold["clerk_user_id"], hold["reason"]) == ("user_dan", "EmailTaken")
    assert "user_ada" in hold["message"]
    three.apply()
    assert three.at(mail("ada")).backlink == "user_ada"
    three.settles(held={("dan", "EmailTaken")})
    three.user("ada", email=mail("new"))
    three.apply()
    assert (three.theirs("ada").email, three.theirs("dan").email) == (mail("new"), mail("ada"))
    three.settles()


def test_two_newcomers_with_one_address_are_both_held_and_name_each_other(three: StoryHarness) -> None:
    three.user("dan", email=mail("shared"))
    three.user("eli", email=mail("shared").upper())
    said = {h["clerk_user_id"]: h["message"] for h in three.plan()["holds"]}
    assert said.keys() == {"user_dan", "user_eli"}
    assert "user_eli" in said["user_dan"]
    assert "user_dan" in said["user_eli"]
    three.apply()
    assert len(three.everybody()) == 4
    three.settles(held={("dan", "EmailTaken"), ("eli", "EmailTaken")})
    three.user("eli", email=mail("eli"))
    three.apply()
    assert (three.theirs("dan").email, three.theirs("eli").email) == (mail("shared"), mail("eli"))
    three.settles()


def test_two_who_are_mapped_and_both_want_a_third_address_are_both_held(three: StoryHarness) -> None:
    three.user("ada", email=mail("shared"), last_name="King")
    three.user("bob", email=mail("shared"))
    assert three.held() == {("ada", "EmailTaken"), ("bob", "EmailTaken")}
    three.apply()
    assert (three.theirs("ada").email, three.theirs("ada").last_name) == (mail("ada"), "King")
    three.settles(held={("ada", "EmailTaken"), ("bob", "EmailTaken")})
