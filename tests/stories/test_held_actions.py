"""A hold that withholds an action shows it: what would change, before, after and why, in every output."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stories.harness import StoryHarness, mail

NAMES = ("ada", "bob", "cyd", "dee")
OUTPUTS = ("text", "markdown", "html")


@pytest.fixture
def four(story: StoryHarness) -> StoryHarness:
    for name in NAMES:
        story.user(name, last_name="King")
    story.apply()
    return story


def withheld(plan: Any) -> dict[str, list[dict[str, Any]]]:
    """The changes that each user's holds withhold."""
    found: dict[str, list[dict[str, Any]]] = {}
    for hold in plan["holds"]:
        assert hold["action"] is not None, hold
        assert hold["action"]["clerk_user_id"] == hold["clerk_user_id"]
        found.setdefault(hold["clerk_user_id"].removeprefix("user_"), []).extend(hold["action"]["changes"])
    return found


def guard(store: dict[str, Any]) -> None:
    store["guards"] = {"update": {"max": 1}}


def pause(store: dict[str, Any]) -> None:
    store["paused"] = True


def hold_roll_out(store: dict[str, Any]) -> None:
    store["roll_out"] = "hold"


@pytest.mark.parametrize("withhold", [guard, pause, hold_roll_out], ids=lambda f: f.__name__)
def test_a_tag_that_one_line_of_config_adds_is_shown_whatever_withholds_it(four: StoryHarness, withhold: Any) -> None:
    withhold(four.store)
    four.store["tags"] = ["app-user", "club"]
    plan = four.plan()
    assert plan["actions"] == []
    expected = {"field": "tags", "before": ["app-user"], "after": ["app-user", "club"], "why": "config changed"}
    assert withheld(plan) == {name: [expected] for name in NAMES}
    for output in OUTPUTS:
        said = four("plan", "--output", output)
        assert "club" in said.out, output
        assert "config changed" in said.out, output
        assert "4 times" in said.out, output
    four.settles(held={(hold["clerk_user_id"].removeprefix("user_"), hold["reason"]) for hold in plan["holds"]})


def test_drift_that_is_held_shows_what_staff_wrote_and_what_it_would_become(four: StoryHarness) -> None:
    four.store["heal_drift"] = "hold"
    four.staff("edit", id=four.theirs("ada").id, first_name="Edited")
    plan = four.plan()
    changes = [{"field": "first_name", "before": "Edited", "after": "Ada", "why": "drift"}]
    assert withheld(plan) == {"ada": changes}
    assert plan["holds"][0]["action"]["email"] == mail("ada")
    assert plan["holds"][0]["action"]["name"] == "Edited King"
    for output in OUTPUTS:
        assert "Edited" in four("plan", "--output", output).out


def test_a_release_and_a_create_that_are_withheld_are_shown_whole(four: StoryHarness) -> None:
    four.store["paused"] = True
    four.gone("ada")
    four.user("eve", last_name="Poole")
    actions = {h["clerk_user_id"]: h["action"] for h in four.plan()["holds"]}
    assert (actions["user_ada"]["kind"], actions["user_ada"]["email"]) == ("release", mail("ada"))
    assert {c["field"]: c["after"] for c in actions["user_eve"]["changes"]}["last_name"] == "Poole"
    said = four("plan", "--all")
    assert "Poole" in said.out
    assert mail("ada") in said.out
