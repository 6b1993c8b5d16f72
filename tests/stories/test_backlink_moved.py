"""The config names another back-link: that is a change of the config, and the metafield that was ours before goes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stories.harness import StoryHarness, locked_at

NEW = {"namespace": "identity", "key": "clerk_id"}
OLD_NAME, NEW_NAME = "clerk.user_id", "identity.clerk_id"


@pytest.fixture
def two(story: StoryHarness) -> StoryHarness:
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    definition = {"ownerType": "CUSTOMER", "type": "id", "name": "Clerk", **NEW}
    assert not story.shop().shop.metafield_definition_create(definition)["userErrors"]
    return story


def links(story: StoryHarness) -> list[dict[str, Any]]:
    """What each customer carries of both back-links."""
    found = [{OLD_NAME: c.backlink, NEW_NAME: c.metafields.get(NEW_NAME)} for c in story.everybody().values()]
    return [{name: value for name, value in each.items() if value is not None} for each in found]


def test_a_changed_back_link_is_intent_and_the_old_one_goes(two: StoryHarness) -> None:
    two.store["backlink"] = NEW
    said = two("drift", "--output", "json")
    assert said.code == 2, said.out
    changes = [c for action in two.plan()["actions"] for c in action["changes"]]
    assert {c["why"] for c in changes} == {"config changed"}
    assert {c["field"] for c in changes} == {"backlink", f"metafields.{OLD_NAME}"}
    two.apply()
    assert sorted(each[NEW_NAME] for each in links(two)) == ["user_ada", "user_bob"]
    assert all(OLD_NAME not in each for each in links(two))
    two.settles()
    del two.store["backlink"]
    two.apply()
    assert sorted(each[OLD_NAME] for each in links(two)) == ["user_ada", "user_bob"]
    assert all(NEW_NAME not in each for each in links(two))
    two.settles()


def test_a_changed_back_link_is_held_by_roll_out_and_not_by_heal_drift(two: StoryHarness) -> None:
    two.store["backlink"] = NEW
    two.store["roll_out"] = "hold"
    plan = two.plan()
    assert plan["actions"] == []
    assert {(h["reason"], h["field"]) for h in plan["holds"]} == {("RollOutHeld", "backlink")}
    assert all(h["action"]["changes"] for h in plan["holds"])
    two.settles(held={("ada", "RollOutHeld"), ("bob", "RollOutHeld")})
    two.store["roll_out"] = "auto"
    two.store["heal_drift"] = "hold"
    assert two.actions() == {"ada": "update", "bob": "update"}
    two.apply()
    two.settles()


def test_an_old_back_link_that_holds_another_value_stays(two: StoryHarness) -> None:
    ada = two.theirs("ada").id
    two.staff("set_metafield", id=ada, namespace="clerk", key="user_id", value="somebody-else", type="id")
    two.store["backlink"] = NEW
    two.apply()
    assert sorted(each[NEW_NAME] for each in links(two)) == ["user_ada", "user_bob"]
    assert sorted(each.get(OLD_NAME, "") for each in links(two)) == ["", "somebody-else"]
    assert two.actions() == {}


def test_a_back_link_that_staff_remove_is_drift_still(two: StoryHarness) -> None:
    ada = two.theirs("ada").id
    two.staff("delete_metafield", id=ada, namespace="clerk", key="user_id")
    assert two("drift").code == 3
    two.apply()
    two.settles()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_run_that_ends_in_the_middle_is_finished_by_the_next(two: StoryHarness, n: int) -> None:
    two.store["backlink"] = NEW
    with locked_at(two, n, "lost_after"):
        two.apply(code=1)
    two.apply()
    assert sorted(each[NEW_NAME] for each in links(two)) == ["user_ada", "user_bob"]
    assert all(OLD_NAME not in each for each in links(two))
    two.settles()
