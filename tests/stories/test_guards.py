"""Ceilings, switches, the pause and the list of accepted drift: what is held, who lets it go, and what drift says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.harness import EU, US
from tests.stories.harness import StoryHarness, mail

NAMES = ("ada", "bob", "cyd", "dee", "eve", "fay")


@pytest.fixture
def six(story: StoryHarness) -> StoryHarness:
    for name in NAMES:
        story.user(name)
    story.apply()
    return story


# --- ceilings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ceiling", "n", "held"),
    [
        ({"max": 2}, 2, False),
        ({"max": 2}, 3, True),
        ({"max": 50, "percent": 50}, 3, False),
        ({"max": 50, "percent": 50}, 4, True),
        ({"max": 50, "percent": 40}, 3, True),
        ({"max": 0, "percent": 100}, 1, True),
        ({"max": 50, "percent": 0}, 1, True),
    ],
)
def test_a_kind_above_its_ceiling_is_held_whole_and_approval_lets_exactly_it_go(
    six: StoryHarness, ceiling: dict[str, Any], n: int, *, held: bool
) -> None:
    six.store["guards"] = {"update": ceiling}
    for name in NAMES[:n]:
        six.user(name, last_name="King")
    six.user("gil")
    plan = six("plan", "--output", "json").json
    assert plan["summary"]["update"] == (0 if held else n)
    assert plan["summary"]["create"] == 1
    six.apply()
    assert sum(six.theirs(name).last_name == "King" for name in NAMES) == (0 if held else n)
    assert six.theirs("gil").email == mail("gil")
    if held:
        six.settles(held={(name, "GuardExceeded") for name in NAMES[:n]})
        digest = six("plan", "--output", "json").json["digest"]
        six.apply("--approve", digest)
    assert sum(six.theirs(name).last_name == "King" for name in NAMES) == n
    six.settles()


def test_an_approval_is_of_the_plan_that_was_read_and_of_no_other(six: StoryHarness) -> None:
    six.store["guards"] = {"update": {"max": 1}}
    six.user("ada", last_name="King")
    six.user("bob", last_name="King")
    read = six("plan", "--output", "json").json["digest"]
    six.user("cyd", last_name="King")
    before, mutations = six.everybody(), six.mutations
    said = six("apply", "--yes", "--approve", read)
    assert said.code == 1
    assert "review the plan again" in said.err
    assert (six.everybody(), six.mutations) == (before, mutations)
    now = six("plan", "--output", "json").json["digest"]
    assert now != read
    six.apply("--approve", now)
    assert [six.theirs(n).last_name for n in NAMES[:3]] == ["King"] * 3
    six.settles()


def test_what_is_held_is_part_of_the_digest(six: StoryHarness) -> None:
    six.store["guards"] = {"update": {"max": 0}}
    six.user("ada", last_name="King")
    one = six("plan", "--output", "json").json["digest"]
    six.user("ada", last_name="Lovelace")
    assert six("plan", "--output", "json").json["digest"] != one
    six.settles(held={("ada", "GuardExceeded")})


def test_guards_hold_the_first_plan_of_a_shop_by_count_alone(story: StoryHarness) -> None:
    story.store["guards"] = {"create": {"max": 2, "percent": 1}}
    for name in NAMES[:2]:
        story.user(name)
    story.apply()
    assert len(story.everybody()) == 2
    story.settles()


def test_a_user_who_waits_for_one_that_is_held_is_held_too(six: StoryHarness) -> None:
    six.store.update(on_leave="delete", guards={"release": {"max": 0}})
    six.gone("ada")
    six.user("bob", email=mail("ada"))
    assert six.held() == {("ada", "GuardExceeded"), ("bob", "EmailTaken")}
    six.apply()
    assert six.theirs("bob").email == mail("bob")
    six.settles(held={("ada", "GuardExceeded"), ("bob", "EmailTaken")})
    six.store["guards"] = {"release": {"max": 1}}
    six.apply()
    assert six.theirs("bob").email == mail("ada")
    six.settles()


def test_a_narrowed_plan_counts_too(six: StoryHarness) -> None:
    six.store["guards"] = {"update": {"max": 0}}
    six.user("ada", last_name="King")
    assert six.held("--user", "user_ada") == {("ada", "GuardExceeded")}
    six.apply("--user", "user_ada")
    assert six.theirs("ada").last_name is None
    six.settles(held={("ada", "GuardExceeded")})


# --- switches and the pause ----------------------------------------------------------------------------------------


@pytest.fixture
def both(six: StoryHarness) -> StoryHarness:
    """Ada was edited in Shopify, Bob's profile moved, Gil is new."""
    six.staff("edit", id=six.theirs("ada").id, first_name="Adele")
    six.user("bob", first_name="Robert")
    six.user("gil")
    return six


def firsts(story: StoryHarness) -> list[str | None]:
    return [story.theirs("ada").first_name, story.theirs("bob").first_name]


def test_drift_may_be_held_while_profiles_are_rolled_out(both: StoryHarness) -> None:
    both.store["heal_drift"] = "hold"
    both.apply()
    assert firsts(both) == ["Adele", "Robert"]
    both.settles(held={("ada", "DriftHeld")})
    assert both("drift").code == 3
    both.store["heal_drift"] = "auto"
    both.apply()
    assert firsts(both) == ["Ada", "Robert"]
    both.settles()


def test_roll_out_may_be_held_while_drift_is_healed(both: StoryHarness) -> None:
    both.store["roll_out"] = "hold"
    both.apply()
    assert firsts(both) == ["Ada", "Bob"]
    both.settles(held={("bob", "RollOutHeld"), ("gil", "RollOutHeld")})
    assert both("drift").code == 2
    both.store["roll_out"] = "auto"
    both.apply()
    assert firsts(both) == ["Ada", "Robert"]
    assert both.theirs("gil").email == mail("gil")
    both.settles()


def test_a_paused_store_says_what_waits_and_writes_nothing(both: StoryHarness) -> None:
    before = both.everybody()
    both.store["paused"] = True
    assert both.held() == {(name, "StorePaused") for name in ("ada", "bob", "gil")}
    both.apply()
    assert both.everybody() == before
    assert both("drift").code == 4
    both.settles(held={(name, "StorePaused") for name in ("ada", "bob", "gil")})
    both.store["paused"] = False
    both.apply()
    assert firsts(both) == ["Ada", "Robert"]
    both.settles()


# --- drift ---------------------------------------------------------------------------------------------------------


def test_drift_tells_edits_from_intent_by_its_exit_code(six: StoryHarness) -> None:
    assert six("drift").code == 0
    six.user("bob", first_name="Robert")
    assert six("drift").code == 2
    six.staff("edit", id=six.theirs("ada").id, first_name="Adele")
    both = six("drift", "--output", "json")
    assert both.code == 4
    (store,) = both.json["stores"]
    assert [(f["clerk_user_id"], f["how"]) for f in store["drift"]] == [("user_ada", "edited")]
    assert [f["clerk_user_id"] for f in store["intent"]] == ["user_bob"]
    six.apply("--user", "user_bob")
    assert six("drift").code == 3
    six.store["auth"] = {"access_token": "wrong"}
    assert six("drift").code == 1
    six.store["auth"] = {"access_token": f"token-{US}"}
    six.apply()
    assert six("drift").code == 0
    six.settles()


def test_holds_are_neither_drift_nor_intent(six: StoryHarness) -> None:
    six.user("gil", email=None)
    six.user("hal", email=mail("ada"))
    assert six("drift").code == 0
    six.apply()
    six.settles(held={("gil", "NoEmail"), ("hal", "EmailTaken")})


def test_a_deleted_customer_is_drift_and_a_newcomer_is_intent(six: StoryHarness) -> None:
    six.staff("delete", id=six.theirs("ada").id)
    found = six("drift", "--output", "json")
    assert found.code == 3
    assert [f["how"] for f in found.json["stores"][0]["drift"]] == ["deleted"]
    six.user("gil")
    assert six("drift").code == 4
    six.apply()
    assert six("drift").code == 0
    six.settles()


def test_a_store_that_can_t_be_read_is_reported_in_its_place(six: StoryHarness) -> None:
    six.second_shop()
    six.shop(EU).status = 402
    found = six("drift", "--output", "json")
    assert found.code == 1
    assert ["is frozen" in (s["error"] or "") for s in found.json["stores"]] == [True, False]
    six.shop(EU).status = None
    six.apply()
    six.settles()


def test_each_change_says_why(six: StoryHarness) -> None:
    six.store["fields"] = {"note": "enforce"}
    six.user("ada", note="hello", last_name="King")
    six.staff("edit", id=six.theirs("ada").id, first_name="Adele")
    (action,) = six.plan()["actions"]
    assert {c["field"]: c["why"] for c in action["changes"]} == {
        "first_name": "drift", "last_name": "profile changed", "note": "config changed",
    }  # fmt: skip
    six.apply()
    six.settles()


def test_a_tag_that_staff_took_off_stays_drift_whatever_else_is_written(six: StoryHarness) -> None:
    six.store["heal_drift"] = "hold"
    six.staff("untag", id=six.theirs("ada").id, tags=["app-user"])
    six.settles(held={("ada", "DriftHeld")})
    six.user("ada", first_name="Adah")
    six.apply()
    assert (six.theirs("ada").first_name, six.theirs("ada").tags) == ("Adah", ())
    six.settles(held={("ada", "DriftHeld")})
    six.store["tags"] = ["app-user", "late"]
    six.apply("--user", "user_bob")
    assert {c["why"] for h in six.plan()["actions"] for c in h["changes"]} == {"config changed"}
    six.store.update(heal_drift="auto", tags=["app-user"])
    six.apply()
    assert six.theirs("ada").tags == ("app-user",)
    six.settles()


# --- accepted drift ------------------------------------------------------------------------------------------------


def accepted(story: StoryHarness, until: str, *fields: str) -> None:
    story.store["accept"] = [{"user": "user_ada", "fields": list(fields), "until": until, "why": "their wish"}]


def test_accepted_drift_stays_until_its_day_and_then_it_is_healed(six: StoryHarness) -> None:
    six.staff("edit", id=six.theirs("ada").id, first_name="Adele", last_name="K.")
    six.staff("edit", id=six.theirs("bob").id, first_name="Bert")
    accepted(six, "2999-12-31", "first_name")
    six.user("ada", last_name=None)
    assert six.actions() == {"bob": "update"}
    six.apply()
    assert firsts(six) == ["Adele", "Bob"]
    found = six("drift", "--output", "json")
    assert (found.code, [f["clerk_user_id"] for f in found.json["stores"][0]["accepted"]]) == (0, ["user_ada"])
    assert six("explain", "user_ada", "--output", "json").json["stores"][0]["accepted"] == ["first_name"]
    six.settles()
    accepted(six, "2020-12-31", "first_name")
    six.apply()
    assert firsts(six) == ["Ada", "Bob"]
    six.settles()


def test_an_operator_accepts_drift_until_a_day_and_ends_it_early(six: StoryHarness) -> None:
    six.staff("edit", id=six.theirs("ada").id, first_name="Adele")
    six.staff("edit", id=six.theirs("bob").id, first_name="Bert")
    for over in ("2020-12-31", "9999-12-31T23:59:59-14:00"):
        assert six("accept", "user_ada", "--until", over, "--yes").code == 64
    assert "nothing of user_cyd drifts" in six("accept", "user_cyd", "--until", "2999-12-31", "--yes").err
    said = six("accept", "user_ada", "--until", "2999-12-31", "--yes")
    assert (said.code, "first_name of user_ada until 2999-12-31 23:59 UTC" in said.err) == (0, True)
    assert six.actions() == {"bob": "update"}
    for detail in ((), ("--brief",)):
        assert "first_name: Adele, the profile has Ada" in six("plan", *detail).out
    assert "accepted until 2999-12-31 23:59 UTC: first_name." in six("explain", "user_ada").out
    six.apply()
    assert firsts(six) == ["Adele", "Bob"]
    assert "1 user in sync but for drift that is accepted for now" in six("status").out
    [found] = six("drift", "--output", "json").json["stores"]
    assert (found["summary"]["accepted"], found["summary"]["drift"]) == (1, 0)
    assert [(one["change"]["before"], one["until"]) for one in found["accepted"]] == [("Adele", "2999-12-31T23:59:59Z")]
    certificate = six("status", "--certificate", "--output", "json").json
    assert (certificate["users"] - certificate["equal"], certificate["exceptions"]) == (1, {"accepted drift": 1})
    six.settles()
    assert six("heal", "user_ada").code == 0
    assert "no drift of user_ada is accepted there" in six("heal", "user_ada").err
    six.apply()
    assert firsts(six) == ["Ada", "Bob"]
    six.settles()


def test_what_is_new_in_the_profile_goes_though_drift_of_that_field_is_accepted(six: StoryHarness) -> None:
    accepted(six, "2999-12-31T12:00:00Z", "first_name", "tags")
    six.staff("edit", id=six.theirs("ada").id, first_name="Adele")
    six.staff("untag", id=six.theirs("ada").id, tags=["app-user"])
    assert six.actions() == {}
    six.user("ada", first_name="Adah")
    six.apply()
    assert (six.theirs("ada").first_name, six.theirs("ada").tags) == ("Adah", ())
    six.settles()
